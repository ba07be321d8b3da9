-- 007_own_tables: a log to live with for years: users' own tables under the chain, the history of tables that change, and
-- retention: old rows leave by consensus, into files that prove themselves.
-- Built from sql/ by bin/build; change it there.
-- depends: 006_checkpoints

-- The frame of every migration but the first: one DO block, so one transaction and one checksum however it is applied.
-- Somebody else's function could stand in front of PostgreSQL's own until search_path is set, so everything before that
-- is named with its schema. sql/01_install/migrations.sql explains the rest.

do $migration$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_migration' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not _begin_migration('007_own_tables') then return; end if;

-- sql/14_own_tables/refuse.sql

-- What cannot be chained, and why
--
-- The chapter: users put tables of their own under the chain. refuse.sql says which cannot be, foreign_code.sql looks
-- for code of others, take_in.sql gives a table what it lacks and takes in its rows, chain_table.sql is what users
-- call, extend_table.sql covers columns that came later, members.sql, record_row.sql and append_row.sql write a row of
-- any such table, chained_tables.sql lists all.
--
-- chain_table refuses before it changes anything. What is refused, and why:
--
--   not an ordinary table     a view has no rows; a partition, a child or a parent would hold rows that a query of the
--                             chain's own table does not see; an unlogged table is empty after a crash
--   its name                  long names collide when a helper's name is cut at 63 bytes; export and tiles make files
--                             of that name
--   a trigger, a rule         may change a row after it was hashed, or swallow it. Another trigger may be made
--                             afterwards, if you accept it as a guard. A tracked table has triggers, too.
--   row-level security        would hide rows from verification
--   a generated column        is computed after the row was hashed
--   a type without stable text  an enum's labels can be renamed, and the text of every stored row with them
--                             (_make_hashed_type)
--   an id that is not 1 to n, a time that goes back  no chain of these rows would verify
--   code of others            (foreign_code.sql)

create function _why_not_chained(relation regclass) returns text[]
language sql stable
set search_path from current
as $function$
  -- SQLSTATE, problem, hint of the first that holds
  select array[p.code, p.problem, p.hint]
  from pg_class as c
  cross join lateral (values
    (1, '42809', 'it is ' || case c.relkind when 'v' then 'a view' when 'm' then 'a materialized view'
       when 'p' then 'a partitioned table' when 'f' then 'a foreign table' when 'S' then 'a sequence'
       when 'i' then 'an index' when 'c' then 'a type' when 'r' then null else 'no table' end,
     case c.relkind when 'p' then 'Copy its rows into an ordinary table, and chain that one.'
                    else 'Chain the ordinary table that holds the rows.' end),
    (2, '0A000', case when c.relispartition then 'it is a partition' end,
     'Detach it first: alter table … detach partition.'),
    (3, '0A000', case when exists (select from pg_inherits as i where c.oid in (i.inhrelid, i.inhparent))
                      then 'it inherits, or others inherit from it' end,
     'End that first: alter table … no inherit.'),
    (4, '0A000', case when c.reloftype <> 0 then 'it is a typed table' end,
     format('End that first: alter table %s not of.', relation)),
    (5, '0A000', case c.relpersistence when 'u' then 'it is unlogged, so a crash would empty it' end,
     format('Run alter table %s set logged.', relation)),
    (6, '55000', 'it belongs to the extension ' || quote_ident(
       (select e.extname from pg_depend as d join pg_extension as e on e.oid = d.refobjid
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_extension'::regclass
          and d.deptype = 'e')),
     'Chain a table of your own.'),
    (7, '42710', case when exists (select from only chains as h where h.table_name = c.relname)
                      then 'it is a chained table already' end,
     'Look at select * from chained_tables().'),
    (8, '42710', case when c.relowner = (select i.relowner from pg_class as i where i.oid = 'installation'::regclass)
                       and (c.relnatts = 0 or exists (
                         select from pg_trigger as t join pg_proc as f on f.oid = t.tgfoid
                         where t.tgrelid = c.oid and not t.tgisinternal and f.pronamespace = c.relnamespace
                           and f.proowner = c.relowner))
                      then 'it is a table of alpha-db itself' end,
     'Chain a table of your own.'),
    (9, '55000', 'it has the trigger ' || quote_ident(
       (select t.tgname from pg_trigger as t where t.tgrelid = c.oid and not t.tgisinternal
        order by t.tgname limit 1)),
     'Drop it: it may change a row after it was hashed, or swallow it. docs/own-tables.md says how to make one later.'),
    (10, '55000', 'it has the rule ' || quote_ident(
       (select w.rulename from pg_rewrite as w where w.ev_class = c.oid order by w.rulename limit 1)),
     'Drop it: a rule can swallow a row before any trigger sees it.'),
    (11, '55000', case when c.relrowsecurity or exists (select from pg_policy as y where y.polrelid = c.oid)
                       then 'it has row-level security' end,
     format('Drop its policies, and run alter table %s disable row level security.', relation)),
    (12, '0A000', 'its column ' || quote_ident(
       (select a.attname from pg_attribute as a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          and a.attgenerated <> '' order by a.attnum limit 1)) || ' is generated, after the row was hashed',
     'Make it an ordinary column, and let the writer compute it.')) as p(place, code, problem, hint)
  where c.oid = relation and p.problem is not null
  order by p.place limit 1;
$function$;
comment on function _why_not_chained is
  'Why a relation cannot be put under the chain, as {SQLSTATE, problem, hint}; null if nothing speaks against what it '
  'is.';
create function _why_not_its_columns(relation regclass) returns text[]
language sql stable
set search_path from current
as $function$
  with columns as (
    select a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull
    from pg_attribute as a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
  )
  select array[p.code, p.problem, p.hint]
  from (
    select 0, '0A000', 'nothing says that these will print the same in ten years: '
                       || _columns_without_stable_text((select c.relname from pg_class as c where c.oid = relation)),
           'Use text, numeric, jsonb or another plain type; for an enum, text with a CHECK.'
    union all
    select 1, '42701', 'it has a column row_hash', format('Rename it: alter table %s rename row_hash to ….', relation)
    from columns as c where c.attname = 'row_hash'
    union all
    select 2, '42804', format('its column id is %s, and the chain numbers its rows there', c.type),
           case when c.type in ('integer', 'smallint')
                then format('Run alter table %s alter id type bigint.', relation)
                else format('Rename it: alter table %s rename id to …. The chain then adds its own.', relation) end
    from columns as c where c.attname = 'id' and c.type <> 'bigint'
    union all
    select 3, '55000', 'its column id may be null', format('Run alter table %s alter id set not null.', relation)
    from columns as c where c.attname = 'id' and not c.attnotnull
    union all
    select 4, '55000', 'its column id is not unique', format('Run alter table %s add unique (id).', relation)
    from columns as c
    where c.attname = 'id'
      and not exists (select from pg_index as i
                      where i.indrelid = relation and i.indisunique and i.indisvalid and i.indimmediate
                        and i.indpred is null and i.indnkeyatts = 1 and i.indkey[0] = c.attnum)
    union all
    select 5, '42804', format('its column created_at is %s%s', c.type,
                              case when c.attnotnull then '' else ', or null' end),
           format('Make it timestamptz not null, or rename it: alter table %s rename created_at to ….', relation)
    from columns as c where c.attname = 'created_at' and (c.type <> 'timestamp with time zone' or not c.attnotnull)
    union all
    select 6, '42804', format('its column recorded_by is %s', c.type),
           format('Make it text, or rename it: alter table %s rename recorded_by to ….', relation)
    from columns as c where c.attname = 'recorded_by' and c.type <> 'text'
  ) as p(place, code, problem, hint)
  where p.problem is not null
  order by p.place limit 1;
$function$;
comment on function _why_not_its_columns is
  'Why the columns of a table do not fit a chain, as {SQLSTATE, problem, hint}; null if they do.';
create function _why_not_its_name(table_name text) returns text[]
language sql stable
set search_path from current
as $function$
  select array[p.code, p.problem, p.hint]
  from (
    select 1, '42622', format('its name has %s bytes', octet_length(table_name)),
           'Rename it: at most 38 bytes leave room for the names of its helpers.'
    where octet_length(table_name) > 38
    union all
    select 2, '42602', 'its name begins with a dot, or holds a slash, a backslash or a control character',
           'Rename it: export makes a file of that name.'
    where table_name ~ E'^[.]|[/\\\\[:cntrl:]\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]'
    union all
    select 3, '42710', format('%s %s is there, and the chain would make one of that name', n.kind, quote_ident(n.name)),
           'Rename one of the two.'
    from (values ('relation', 'lock_' || table_name), ('relation', 'writer_' || table_name),
                 ('relation', 'tail_' || table_name), ('type', 'hashed_' || table_name),
                 ('function', '_chain_' || table_name)) as n(kind, name)
    where case n.kind when 'relation' then to_regclass(quote_ident(n.name)) is not null
                      when 'type' then to_regtype(quote_ident(n.name)) is not null
                      else exists (select from pg_proc as f where f.proname = n.name
                                   and f.pronamespace = quote_ident(current_schema())::regnamespace) end
  ) as p(place, code, problem, hint)
  order by p.place limit 1;
$function$;
comment on function _why_not_its_name is
  'Why the name of a table does not fit a chain, as {SQLSTATE, problem, hint}; null if it does.';
create function _refuse_to_chain(table_name text, refusal text[]) returns void
language plpgsql
set search_path from current
as $function$
begin
  if refusal is not null then
    raise exception '% cannot be chained: %', quote_ident(table_name), refusal[2]
      using errcode = refusal[1], hint = refusal[3], table = table_name;
  end if;
end
$function$;
comment on function _refuse_to_chain is
  'Raises what one of the functions that begin with _why_not found; nothing if it is null.';

-- sql/14_own_tables/foreign_code.sql

-- Code of others in a table of alpha_owner
--
-- A chained table belongs to alpha_owner. PostgreSQL runs some of a table's code as its owner, whoever caused it: the
-- expressions of an index when the table is rewritten, reindexed or analyzed, those of a statistics object, the
-- operators by which a foreign key compares. And the chain trigger, which runs as the owner, checks a domain when it
-- assigns to a column. So everything that a table's checks, defaults, indexes and domains call must belong to
-- PostgreSQL itself, to a superuser or to alpha_owner: otherwise the owner of a function in a CHECK could become the
-- owner of the log.
--
-- pg_depend names what an expression uses, and leaves out what PostgreSQL brought along.

create function _foreign_code(relation regclass) returns table (kind text, identity text, owner_name text)
language sql stable
set search_path from current
as $function$
  with recursive domains (oid) as (
    select t.oid from pg_attribute as a join pg_type as t on t.oid = a.atttypid and t.typtype = 'd'
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
    union
    select b.oid from domains as d join pg_type as t on t.oid = d.oid join pg_type as b on b.oid = t.typbasetype
    where b.typtype = 'd'
  ), parts (classid, objid) as (
    select 'pg_class'::regclass::oid, relation::oid
    union all
    select 'pg_class'::regclass, i.indexrelid from pg_index as i where i.indrelid = relation
    union all
    select 'pg_constraint'::regclass, k.oid
    from pg_constraint as k
    where relation in (k.conrelid, k.confrelid) or k.contypid in (select d.oid from domains as d)
    union all
    select 'pg_attrdef'::regclass, d.oid from pg_attrdef as d where d.adrelid = relation
    union all
    select 'pg_statistic_ext'::regclass, x.oid from pg_statistic_ext as x where x.stxrelid = relation
    union all
    select 'pg_type'::regclass, d.oid from domains as d
  ), used (classid, objid, owner) as (
    select d.refclassid, d.refobjid, coalesce(f.proowner, t.typowner, o.oprowner, c.opcowner, y.opfowner, l.collowner)
    from parts as p
    join pg_depend as d on d.classid = p.classid and d.objid = p.objid
    left join pg_proc as f on d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid
    left join pg_type as t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
    left join pg_operator as o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
    left join pg_opclass as c on d.refclassid = 'pg_opclass'::regclass and c.oid = d.refobjid
    left join pg_opfamily as y on d.refclassid = 'pg_opfamily'::regclass and y.oid = d.refobjid
    left join pg_collation as l on d.refclassid = 'pg_collation'::regclass and l.oid = d.refobjid
  )
  select i.type, i.identity, pg_get_userbyid(u.owner)::text
  from (select distinct n.* from used as n) as u
  cross join lateral pg_identify_object(u.classid, u.objid, 0) as i
  where u.owner <> (select c.relowner from pg_class as c where c.oid = 'installation'::regclass)
    and not exists (select from pg_roles as r where r.oid = u.owner and r.rolsuper)
  order by i.type, i.identity;
$function$;
comment on function _foreign_code is
  'What a table''s checks, defaults, indexes, foreign keys and domains use that belongs neither to PostgreSQL, a '
  'superuser nor the owner role, with its owner.';
create function _why_not_its_code(relation regclass) returns text[]
language sql stable
set search_path from current
as $function$
  select array['42501', format('it uses the %s %s of %s, which would run with the rights of %s', f.kind, f.identity,
                               quote_ident(f.owner_name), quote_ident(_owner_role())),
               format('Read it. If it is safe, run alter %s %s owner to %I.', f.kind, f.identity, _owner_role())]
  from _foreign_code(relation) as f limit 1;
$function$;
comment on function _why_not_its_code is
  'Names code of others that would run with the owner role''s rights, as {SQLSTATE, problem, hint}; null if there is '
  'none.';
-- Who may make a trigger on a table runs code as whoever writes it, and who may refer to it can keep its rows.
create function _revoke_changes(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  grantee  text;
begin
  for grantee in
    select distinct case when g.grantee = 'PUBLIC' then 'public' else quote_ident(g.grantee) end
    from pg_class as c
    cross join lateral (select c.relacl as acl
                        union all
                        select a.attacl from pg_attribute as a where a.attrelid = c.oid and a.attacl is not null) as r
    cross join lateral _grants_text(r.acl, c.relowner) as g
    where c.oid = quote_ident(table_name)::regclass
  loop
    execute format('revoke update, delete, truncate, references, trigger on %I from %s cascade', table_name, grantee);
    if current_setting('server_version_num')::integer >= 170000 then
      execute format('revoke maintain on %I from %s cascade', table_name, grantee);
    end if;
  end loop;
end
$function$;
comment on function _revoke_changes is
  'Takes from everybody but the owner what a chained table refuses anyway, and the right to make a trigger on it.';

-- sql/14_own_tables/take_in.sql

-- Taking in a table's rows
--
-- A table that becomes a chain gets the columns that it lacks: id, created_at, recorded_by, row_hash. Its rows then
-- stand in the chain as if they had been written now, in this order:
--
--   with an id column      by id, which must count 1, 2, 3 without a gap
--   without                by created_at, if there is one, and by primary key. id numbers them so.
--
-- created_at and recorded_by, where they are new, hold when the table was chained and which login did that. The first
-- entry in chain_columns says from_id = n + 1: so everybody can see that rows 1 to n were taken in, and did not come
-- one by one.
--
-- A hash needs the one before it. So this is a loop over the rows in their order, which prints each row once, and
-- writes the hashes in bundles: an UPDATE by ctid needs no look-up. A million rows take some 20 s; the old versions of
-- the rows stay until VACUUM.

create function _add_chain_columns(table_name text) returns boolean
language plpgsql
set search_path from current
as $function$
declare
  relation    regclass := quote_ident(table_name)::regclass;
  has_id      boolean;
  is_filled   boolean;
  key         text;
begin
  select exists (select from pg_attribute as a where a.attrelid = relation and a.attname = 'id'
                 and not a.attisdropped) into has_id;
  if not has_id then
    select i.indexrelid::regclass::text into key from pg_index as i where i.indrelid = relation and i.indisprimary;
    execute format('select exists (select from only %I)', table_name) into is_filled;
    if key is null and is_filled then
      perform _refuse_to_chain(table_name, array[
        '55000', 'it holds rows and has neither an id nor a primary key, so nobody knows which came first',
        format('Number them yourself: alter table %s add id bigserial primary key takes them as they lie in the file.',
               relation)]);
    end if;
    execute format('alter table %I add column id bigint', table_name);
    execute format('comment on column %I.id is %L', table_name, 'Position in the chain.');
  end if;
  -- A constant, so that PostgreSQL need not rewrite the table.
  if not exists (select from pg_attribute as a where a.attrelid = relation and a.attname = 'created_at'
                 and not a.attisdropped) then
    execute _fill($alter$
      alter table {table:I} add column created_at timestamptz not null default {now:L};
      alter table {table:I} alter column created_at drop default;
      comment on column {table:I}.created_at is 'When the row was recorded; of a row that was taken in, when that was.';
      $alter$, 'table', table_name, 'now', clock_timestamp()::text);
  end if;
  if not exists (select from pg_attribute as a where a.attrelid = relation and a.attname = 'recorded_by'
                 and not a.attisdropped) then
    execute _fill($alter$
      alter table {table:I} add column recorded_by text not null default {login:L};
      alter table {table:I} alter column recorded_by drop default;
      comment on column {table:I}.recorded_by is
        'The login that recorded the row; of a row that was taken in, the one that did that.';
      $alter$, 'table', table_name, 'login', session_user::text);
  end if;
  execute format('alter table %I add column row_hash char(64)', table_name);
  execute format('comment on column %I.row_hash is %L', table_name, 'SHA-256 of the previous row_hash and this row.');
  return has_id;
end
$function$;
comment on function _add_chain_columns is
  'Adds what a table lacks to be a chain; whether it had an id before. Raises 55000 if its rows have no order.';
create function _rows_to_take_in_sql(table_name text, has_id boolean) returns text
language sql stable
set search_path from current
as $function$
  -- The columns go by number until the row is printed, because any name may be one of theirs.
  select _fill($query$
    select n.place, n.number, n.created_at, convert_to(row_to_json(e.*)::text, 'UTF8') as row_bytes
    from (select t.ctid as place, {number:s} as number, t.created_at, {numbered:s} from only {table:I} as t) as n
    cross join lateral (select {named:s}) as e
    order by n.number
    $query$,
    'table', table_name,
    'number', case when has_id then 't.id' else format(
      'row_number() over (order by %s)',
      (select concat_ws(', ', 't.created_at', string_agg(format('t.%I', a.attname), ', ' order by k.place))
       from pg_index as i
       cross join lateral unnest(i.indkey::smallint[]) with ordinality as k(attnum, place)
       join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
       where i.indrelid = quote_ident(table_name)::regclass and i.indisprimary)) end,
    'numbered', string_agg(format('t.%I as c%s', h.column_name, h.place), ', ' order by h.place),
    'named', string_agg(format('n.%I as %I', case when h.column_name = 'id' then 'number'
                                                  else 'c' || h.place end, h.column_name), ', ' order by h.place))
  from _hashed_columns(table_name) as h;
$function$;
comment on function _rows_to_take_in_sql is
  'Text of the query for the rows of a table that becomes a chain: where each lies, its number, and its row_data.';
create function _take_in_rows(table_name text, has_id boolean) returns bigint
language plpgsql
set search_path from current
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
-- so that a bundle is found by ctid
set enable_hashjoin = off set enable_mergejoin = off
as $function$
declare
  bundle     constant integer := 10000;
  place      tid;
  number     bigint;
  recorded   timestamptz;
  row_bytes  bytea;
  link       bytea := decode(chain_genesis(table_name), 'hex');
  row_count  bigint := 0;
  latest     timestamptz := '-infinity';
  places     tid[] := '{}';
  numbers    bigint[] := '{}';
  hashes     text[] := '{}';
  storing    text := _fill($query$
    update only {table:I} as t set row_hash = h.row_hash {number:s}
    from unnest($1, $2, $3) as h(place, number, row_hash) where t.ctid = h.place$query$,
    'table', table_name, 'number', case when has_id then '' else ', id = h.number' end);
begin
  for place, number, recorded, row_bytes in execute _rows_to_take_in_sql(table_name, has_id) loop
    row_count := row_count + 1;
    if number <> row_count then
      perform _refuse_to_chain(table_name, array[
        '55000', format('its ids are not 1, 2, 3 without a gap: row %s has the id %s', row_count, number),
        format('Rename the column, and the chain adds its own: alter table %I rename id to ….', table_name)]);
    elsif not isfinite(recorded) or recorded < latest then
      perform _refuse_to_chain(table_name, array[
        '55000', format('created_at of row %s is earlier than that of the row before it, or no time', row_count),
        format('Rename the column, and the chain adds its own: alter table %I rename created_at to ….', table_name)]);
    end if;
    latest := recorded;
    link := sha256(link || row_bytes);
    places := places || place;
    numbers := numbers || number;
    hashes := hashes || encode(link, 'hex');
    if cardinality(places) = bundle then
      execute storing using places, numbers, hashes;
      places := '{}';
      numbers := '{}';
      hashes := '{}';
      if row_count % 100000 = 0 then
        raise notice '% rows of % are in the chain', row_count, table_name;
      end if;
    end if;
  end loop;
  execute storing using places, numbers, hashes;
  if _ahead_of_clock(latest) is not null then
    perform _refuse_to_chain(table_name, array[
      '55000', 'created_at: ' || _ahead_of_clock(latest),
      format('Rename the column, and the chain adds its own: alter table %I rename created_at to ….', table_name)]);
  end if;
  return row_count;
end
$function$;
comment on function _take_in_rows is
  'Links the rows that a table holds into its chain, in the order of their numbers; returns how many they are. Raises '
  '55000 for a gap in the ids or a time that goes back.';
create function _complete_chain_columns(table_name text, has_id boolean) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute format('alter table %I alter column row_hash set not null', table_name);
  if not has_id then
    execute format('alter table %I alter column id set not null, add %s (id)', table_name,
                   case when exists (select from pg_index as i where i.indrelid = quote_ident(table_name)::regclass
                                     and i.indisprimary) then 'unique' else 'primary key' end);
  end if;
end
$function$;
comment on function _complete_chain_columns is
  'Makes the columns of a new chain not null, and an id that it added its key.';

-- sql/14_own_tables/chain_table.sql

-- Putting a table under the chain
--
-- Before the first statement that changes anything, chain_table has the lock of the migrations and of the table, and
-- has compared the guards: like a migration, it records them as they are at its end, so it must not bless what anybody
-- changed before. All of it is one transaction: refused or cancelled, nothing is left of it.
--
-- The first part runs with its caller's rights, because only the owner of a table may give it away. The second,
-- _chain_own_table, runs as alpha_owner, so that nothing of the table ever runs with the rights of a superuser.

create function _own_relation(table_name text) returns regclass
language plpgsql stable
set search_path from current
as $function$
declare
  home      text := current_schema();
  relation  regclass := to_regclass(quote_ident(home) || '.' || quote_ident(table_name));
  other     regclass;
begin
  if relation is null then
    other := case when table_name ~ '^[^"]+$' then to_regclass(table_name) end;
    raise exception 'there is no table % in schema %', coalesce(quote_ident(table_name), 'NULL'), quote_ident(home)
      using errcode = '42P01', table = coalesce(table_name, 'NULL'),
            hint = coalesce(
              (select format('Move %s here: alter table %s set schema %I.', other, other, home)
               from pg_class as c where c.oid = other and c.relnamespace <> quote_ident(home)::regnamespace),
              (select format('Write the name as it is stored: %s.', quote_literal(c.relname))
               from pg_class as c where c.relnamespace = quote_ident(home)::regnamespace and c.relkind in ('r', 'p')
                 and lower(c.relname) = lower(table_name) limit 1),
              'Write the name as it is stored, without its schema.');
  end if;
  return relation;
end
$function$;
comment on function _own_relation is
  'The relation of this name in the schema of the installation; raises 42P01, with a hint where it may be, if there is '
  'none.';
create function _chain_own_table(table_name text, open_in_lockdown boolean) returns bigint
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  has_id     boolean;
  row_count  bigint;
  counter    text;
begin
  has_id := _add_chain_columns(table_name);
  row_count := _take_in_rows(table_name, has_id);
  perform _complete_chain_columns(table_name, has_id);
  perform _chain_attach(table_name, open_in_lockdown => open_in_lockdown, is_internal => false, is_own => true);
  perform _protect_table(table_name, 'AUD-013', 'AUD-014');
  perform _count_attempts(c.code, table_name, 'INSERT') from unnest(array['AUD-001', 'AUD-010']) as c(code);
  perform _revoke_changes(table_name);
  perform _grant('select, insert on', array[table_name], '{app_trading}');
  perform _grant('select on', array[table_name], '{app_auditor, app_risk}');
  for counter in
    select s.relname
    from pg_depend as d join pg_class as s on s.oid = d.objid and s.relkind = 'S'
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype = 'a'
      and d.refobjid = quote_ident(table_name)::regclass and d.refobjsubid > 0
      and s.relnamespace = quote_ident(current_schema())::regnamespace
  loop
    perform _grant('usage on sequence', array[counter], '{app_trading}');
  end loop;
  execute format('analyze %I', table_name);
  perform record_guards(concat('chain_table ', table_name, case when row_count > 0 then
    format(': rows 1 to %s were there before, and were taken in', row_count) end));
  return row_count;
end
$function$;
comment on function _chain_own_table is
  'The part of chain_table that runs as the owner role: columns, rows, triggers, grants, guards.';
create function chain_table(table_name text, open_in_lockdown boolean default false) returns bigint
language plpgsql
set search_path from current
as $function$
declare
  relation   regclass := _own_relation(table_name);
  reason     text := coalesce(current_setting('alpha.maintenance', true), '');
  problem    text;
  row_count  bigint;
begin
  if open_in_lockdown is null then
    raise exception 'open_in_lockdown is true or false, not NULL' using errcode = '22023';
  elsif current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'chain_table needs a transaction that sees what others have committed'
      using errcode = '25000', hint = 'Run it in a READ COMMITTED transaction.';
  end if;
  perform _refuse_to_chain(table_name, _why_not_chained(relation));
  if not pg_has_role(current_user, (select c.relowner from pg_class as c where c.oid = relation), 'usage') then
    raise exception '% belongs to %', relation,
      (select quote_ident(pg_get_userbyid(c.relowner)) from pg_class as c where c.oid = relation)
      using errcode = '42501', table = table_name,
            hint = format('Have a superuser run: alter table %s owner to %I. Then call chain_table again.', relation,
                          current_user);
  end if;
  lock table only lock_migrations in share update exclusive mode;
  execute format('lock table only %I in access exclusive mode', table_name);
  if quote_ident(table_name)::regclass <> relation then
    raise exception '% was made again meanwhile', relation using errcode = '40001', hint = 'Call chain_table again.';
  end if;
  -- Again, because nothing can change any more.
  perform _refuse_to_chain(table_name, _why_not_chained(relation)),
          _refuse_to_chain(table_name, _why_not_its_name(table_name)),
          _refuse_to_chain(table_name, _why_not_its_columns(relation)),
          _refuse_to_chain(table_name, _why_not_its_code(relation));
  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from verify_guards() as g limit 1;
  if found then
    raise exception 'AUD-011: % cannot be chained, because the guards are not as installed: %', relation, problem
      using errcode = 'AUD11',
            hint = 'List the changes: select * from verify_guards(). '
                   'Undo them, or accept them: select record_guards(''reason'').';
  end if;
  perform set_config('alpha.maintenance', 'chain_table ' || table_name, true);  -- for the DDL guard
  execute format('alter table %I owner to %I', table_name, _owner_role());
  row_count := _chain_own_table(table_name, open_in_lockdown);
  perform set_config('alpha.maintenance', reason, true);
  return row_count;
end
$function$;
comment on function chain_table is
  'Puts a table of this schema under the chain: append-only, hashed, verified like the audit log. Adds id, created_at, '
  'recorded_by and row_hash where they are missing, and gives the table to the owner role. Returns how many rows were '
  'there and were taken in. Only a member of the owner role who owns the table may call it, or a superuser.';

-- sql/14_own_tables/extend_table.sql

-- A column that came later
--
-- The table's DBA adds a column with ALTER TABLE, and calls extend_table in the same transaction. Rows from then on are
-- hashed with it; what the older ones hold there is recorded (chain_extend). Like widen_column it records the guards
-- itself, so only the facts of the new columns may differ before, and nothing else may after it.

create function extend_table(table_name text) returns text[]
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  relation  regclass;
  added     text[];
  problem   text;
begin
  if not (_chain_or_error(table_name)).is_own then
    raise exception '% is a table of alpha-db itself', quote_ident(table_name)
      using errcode = '42809', table = table_name, hint = 'Name a table that chain_table put under the chain.';
  end if;
  lock table only lock_migrations in share update exclusive mode;
  perform _require_chain(table_name);
  execute format('lock table only %I in share row exclusive mode', table_name);
  relation := quote_ident(table_name)::regclass;
  added := array(
    select h.column_name from _hashed_columns(table_name) as h
    where h.column_name <> all ((select c.column_names from only chain_columns as c
                                 where c.table_name = extend_table.table_name order by c.id desc limit 1)::text[])
    order by h.place);
  perform _refuse_to_chain(table_name, _why_not_its_code(relation));
  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from verify_guards() as g
  where not (g.object_kind = 'column' and g.problem = 'extra'
             and g.object_name in (select extend_table.table_name || '.' || a.name from unnest(added) as a(name)))
  limit 1;
  if found then
    raise exception 'AUD-011: % was not extended, because the guards are not as installed: %', relation, problem
      using errcode = 'AUD11',
            hint = 'List the changes: select * from verify_guards(). '
                   'Undo them, or accept them: select record_guards(''reason'').';
  end if;
  if added <> '{}' then
    perform chain_extend(table_name);
    perform record_guards(format('extend_table %s: %s', table_name, array_to_string(added, ', ')));
  end if;
  return added;
end
$function$;
comment on function extend_table is
  'Covers the columns that were added to a table of the users: newer rows are hashed with them, older ones stay '
  'verifiable. Accepts these columns as guards, and returns their names. Only the owner may.';

-- sql/14_own_tables/members.sql

-- What record_row is given, and what it finds
--
-- A row is given as a JSON object, a member for each column. Numbers are exact in jsonb, and are compared with what the
-- column makes of them: a number that the column would round is refused (AUD-001).

create function _require_own_table(table_name text) returns void
language plpgsql stable security definer
set search_path from current
as $function$
declare
  chain  chains := _chain_or_error(table_name);
begin
  if not chain.is_own then
    raise exception '% has functions of its own', table_name
      using errcode = '22023',
            hint = case when chain.is_internal then 'alpha-db itself writes it.' else
              format('Call %s.', case table_name when 'webhook_deliveries' then 'record_webhook or append_webhook'
                                                 when 'signals'            then 'record_signal or append_signal'
                                                 when 'ai_debates'         then 'record_ai_debate or append_ai_debate'
                                                 when 'order_execution'    then 'record_order or append_order'
                                                 when 'order_events'  then 'record_order_event or append_order_event'
                                                 else 'record_decision or append_decision' end) end;
  end if;
end
$function$;
comment on function _require_own_table is
  'Raises 42P01 for a table that is not chained, and 22023 for one of alpha-db itself, with the functions that write '
  'it.';
create function _given_members(table_name text, content jsonb) returns jsonb
language plpgsql stable
set search_path from current
as $function$
declare
  columns  text[];
  wrong    text;
  members  jsonb;
begin
  if jsonb_typeof(content) is distinct from 'object' then
    raise exception 'the row is %, not a JSON object', coalesce('a JSON ' || jsonb_typeof(content), 'NULL')
      using errcode = '22023', hint = 'Give a member for each column: {"symbol": "BTCZAR"}.';
  end if;
  columns := array(select a.attname::text from pg_attribute as a
                   where a.attrelid = quote_ident(table_name)::regclass and a.attnum > 0 and not a.attisdropped
                     and a.attname not in ('id', 'created_at', 'row_hash', 'recorded_by')
                   order by a.attnum);
  select g.name into wrong from jsonb_object_keys(content) as g(name) where g.name <> all (columns)
  order by g.name limit 1;
  if wrong in ('id', 'created_at', 'row_hash', 'recorded_by') then
    raise exception '% of % is not given, but assigned', wrong, quote_ident(table_name)
      using errcode = '22023', hint = 'Leave it out.', table = table_name, column = wrong;
  elsif wrong is not null then
    raise exception '% has no column %', quote_ident(table_name), quote_ident(wrong)
      using errcode = '22023', hint = format('Its columns are: %s.', array_to_string(columns, ', ')),
            table = table_name, column = wrong;
  end if;
  select coalesce(jsonb_object_agg(g.name, g.value), '{}') into members
  from jsonb_each(content) as g(name, value) where g.value <> 'null';
  perform _refuse_too_long(table_name, array_agg(g.name), array_agg(g.value #>> '{}'))
  from jsonb_each(members) as g(name, value) where jsonb_typeof(g.value) = 'string' having count(*) > 0;
  return members;
end
$function$;
comment on function _given_members is
  'The members of a row that are not null. Raises 22023 for what is no object, for a member that is assigned or is no '
  'column, and AUD-012 for a text that is too long.';
create function _refuse_inexact(table_name text, column_name text, given jsonb, stored jsonb) returns void
language plpgsql security definer
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-001', format('%s of %s cannot hold %s exactly', column_name, table_name, left(given::text, 60)),
    format('The column would hold %s.', left(stored::text, 60)),
    'Round the number before you send it, or keep it as text: the database never drops a digit silently.',
    table_name, 'INSERT', column_name => column_name);
end
$function$;
comment on function _refuse_inexact is 'Raises AUD-001, because a column would round a number of a row.';
create function _require_exact(table_name text, members jsonb, stored jsonb) returns void
language sql volatile
set search_path from current
as $function$
  -- In a value of any depth, numbers are compared as numbers. A string may be given for a number.
  select _refuse_inexact(table_name, m.name, m.value, stored -> m.name)
  from jsonb_each(members) as m(name, value)
  cross join lateral (values (jsonpath 'strict $.**?(@.type() == "number")')) as p(numbers)
  cross join lateral (values (jsonb_path_query_array(m.value, p.numbers),
                              jsonb_path_query_array(stored -> m.name, p.numbers))) as n(given, kept)
  where n.given <> '[]' and n.kept <> '[]' and n.given <> n.kept
     or case when jsonb_typeof(m.value) = 'string' and jsonb_typeof(stored -> m.name) = 'number'
             then (m.value #>> '{}')::numeric <> (stored ->> m.name)::numeric end
  limit 1;
$function$;
comment on function _require_exact is
  'Raises AUD-001 if a column holds another number than the one that was given for it.';
create function _find_by_key(table_name text, sent jsonb, out key_name text, out stored jsonb)
language plpgsql volatile
set search_path from current
set enable_seqscan = off
as $function$
declare
  key  record;
begin
  for key in
    select string_agg(a.attname, ', ' order by k.place) as names,
           string_agg(format('t.%1$I = r.%1$I', a.attname), ' and ' order by k.place)
             filter (where a.attname is not null) as condition
    from pg_index as i
    cross join lateral unnest(i.indkey::smallint[]) with ordinality as k(attnum, place)
    left join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum and k.attnum > 0
    where i.indrelid = quote_ident(table_name)::regclass and i.indisunique and i.indisvalid and i.indpred is null
      and k.place <= i.indnkeyatts
    group by i.indexrelid
    having bool_and(a.attname is not null and a.attname <> 'id')
    order by i.indexrelid
  loop
    execute format('select to_jsonb(t.*) from only %1$I as t, jsonb_populate_record(null::%1$I, $1) as r'
                   ' where %2$s limit 1', table_name, key.condition)
      into stored using sent;
    if stored is not null then
      key_name := key.names;
      return;
    end if;
  end loop;
end
$function$;
comment on function _find_by_key is
  'The row of a table that has one of its unique keys in common with another row, and the columns of that key; null if '
  'there is none.';

-- sql/14_own_tables/record_row.sql

-- Writing a row of any own table
--
-- For clients that want what record_signal gives: exact numbers, refusals that say why, retries that find the row that
-- is there. An ordinary INSERT or COPY enters the chain as well. This one is dynamic SQL, and looks into the catalogues
-- at each row, so it costs more than INSERT.
--
-- A retry is found by any unique key of the table that has no expression and no condition. Content is what the writer
-- gives: a member that it leaves out is not compared.

create function record_row(table_name text, content jsonb) returns jsonb
language plpgsql
set search_path from current
set extra_float_digits = 1
as $function$
declare
  members  jsonb;
  sent     jsonb;
  names    text;
  retried  record;
  written  jsonb;
begin
  perform _require_own_table(table_name);
  members := _given_members(table_name, content);
  execute format('select to_jsonb(r.*) from jsonb_populate_record(null::%I, $1) as r', table_name)
    into sent using members;
  sent := coalesce((select jsonb_object_agg(s.key, s.value) from jsonb_each(sent) as s where members ? s.key), '{}');
  perform _require_exact(table_name, members, sent);
  -- First, because in a lockdown the retry of a row that is there is no new row.
  retried := _find_by_key(table_name, sent);
  if retried.stored is null then
    names := (select string_agg(quote_ident(m.name), ', ') from jsonb_object_keys(members) as m(name));
    execute format('insert into %I as t %s on conflict do nothing'
                   ' returning jsonb_build_object(''id'', t.id, ''row_hash'', t.row_hash, ''is_new'', true)',
                   table_name,
                   case when names is null then 'default values' else format(
                     '(%1$s) select %1$s from jsonb_populate_record(null::%2$I, $1)', names, table_name) end)
      into written using members;
    if written is not null then
      return written;
    end if;
    retried := _find_by_key(table_name, sent);
  end if;
  if retried.stored is null then
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
      perform _refuse_unseen(table_name, 'a key of this row');
    end if;
    raise exception 'another row of % has a key of this one', quote_ident(table_name)
      using errcode = '23505', table = table_name,
            hint = 'A default, or an index with an expression or a condition, made the key. Give the row another one.';
  end if;
  perform _accept_retry(
    table_name, retried.key_name,
    -- the values of a key of several columns, under their names
    jsonb_build_object(retried.key_name, (
      select string_agg(retried.stored ->> k.name, ', ' order by k.place)
      from string_to_table(retried.key_name, ', ') with ordinality as k(name, place))) || retried.stored,
    sent);
  return jsonb_build_object('id', retried.stored -> 'id', 'row_hash', retried.stored -> 'row_hash', 'is_new', false);
end
$function$;
comment on function record_row is
  'Writes a row of a table that chain_table put under the chain, from a JSON object with a member for each column, and '
  'returns {id, row_hash, is_new}. A retry by a unique key returns the row that is there. Raises AUD-001, AUD-009, '
  'AUD-010, AUD-012, 22023, 42P01.';

-- sql/14_own_tables/append_row.sql

-- The same, durable without holding the chain (09_write/append.sql explains how).

perform _create_append('record_row', $template$
create procedure append_row(
  table_name     text,
  content        jsonb,
  inout result   jsonb  default null
)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  result := {home:I}.record_row(table_name, content);
{end:s}
end
$procedure$;
$template$);
comment on procedure append_row is
  'Writes a row of any own table as record_row does, and returns {id, row_hash, is_new} once it is on disk, without '
  'holding the chain while it waits. Raises 2D000 inside a transaction.';
-- What a writer calls, and what that calls with the writer's rights.
perform _grant('execute on routine', '{record_row, append_row, _require_own_table, _given_members, _refuse_inexact,
                                      _require_exact, _find_by_key}', '{app_trading}');

-- sql/14_own_tables/chained_tables.sql

-- The list of all chained tables

create function chained_tables()
returns table (
  table_name        text,
  kind              text,
  last_id           bigint,
  not_covered       text[],
  open_in_lockdown  boolean,
  keep              interval
)
language plpgsql stable
set search_path from current
as $function$
#variable_conflict use_column
begin
  return query
    select c.table_name, case when c.is_own then 'own' when c.is_internal then 'internal' else 'audit log' end,
           case when s.error_code is null then coalesce(s.last_id, 0) end,
           array(select a.attname::text
                 from pg_attribute as a
                 where a.attrelid = to_regclass(quote_ident(c.table_name)) and a.attnum > 0 and not a.attisdropped
                   and a.attname <> 'row_hash'
                   and a.attname <> all (coalesce((select e.column_names from only chain_columns as e
                                                   where e.table_name = c.table_name order by e.id desc limit 1), '{}'))
                 order by a.attnum),
           c.open_in_lockdown, p.keep
    from only chains as c
    join chain_status() as s on s.table_name = c.table_name
    left join only retention_policies as p on p.table_name = c.table_name
    order by c.position;
end
$function$;
comment on function chained_tables is
  'Every chained table: whether it is your own, its last row, the columns that its chain does not cover yet, whether a '
  'lockdown leaves it open, and how long its rows are kept. last_id is null if the table cannot be read.';
-- A table that holds rows is evidence. An empty one is no chain any more afterwards, and stays the owner role's.
create function _release_own_tables() returns void
language plpgsql
set search_path from current
as $function$
declare
  own     record;
  filled  boolean;
begin
  for own in select c.table_name from only chains as c where c.is_own order by c.position desc loop
    execute format('lock table only %I in access exclusive mode', own.table_name);
    execute format('select exists (select from only %I)', own.table_name) into filled;
    if filled then
      raise exception 'alpha-db: 007_own_tables is not rolled back, because % holds rows', quote_ident(own.table_name)
        using errcode = '55000',
              hint = 'An audit log is not thrown away by a rollback. '
                     'To delete it on purpose, export it and drop the schema.';
    end if;
    perform _chain_detach(own.table_name), _forget_attempts(own.table_name);
    raise notice 'alpha-db: % is no chained table any more. It belongs to %.', quote_ident(own.table_name),
      quote_ident(_owner_role());
  end loop;
end
$function$;
comment on function _release_own_tables is
  'Undoes chain_table for every own table that is empty; raises 55000 if one holds rows. The rollback of 007 calls it.';
perform _grant('execute on routine', '{chained_tables}', '{app_auditor}');

-- sql/15_history/needed.sql

-- Which part of the history is still needed

create function _history_needed_from() returns bigint
language sql stable
set search_path from current
as $function$
  select null::bigint;
$function$;
comment on function _history_needed_from is
  'The lowest row of table_changes that the history of a tracked table still needs; null if none does.';

-- sql/16_retention/policies.sql

-- Retention policies: how long the rows of a table are kept before they may be archived
--
-- A policy removes nothing. It says what retention_plan proposes and what growth() reports as overdue. Rows leave only
-- by an approved proposal (propose.sql).

create table retention_policies (
  table_name  text      not null,
  keep        interval  not null,
  constraint retention_policies_pkey primary key (table_name),
  constraint retention_policies_keep_is_positive check (extract(epoch from keep) > 0)
);
comment on table  retention_policies            is
  'How long the rows of a chained table are kept before they may be archived. Removes nothing.';
comment on column retention_policies.table_name is 'The chained table.';
comment on column retention_policies.keep       is 'Rows that are older than this may be archived.';
perform _protect_register('retention_policies');
create function set_retention_policy(table_name text, keep interval) returns void
language plpgsql security definer  -- so that a superuser may call it
set search_path from current
as $function$
begin
  perform _chain_or_error(table_name);
  if keep is null then
    delete from only retention_policies as p where p.table_name = set_retention_policy.table_name;
    return;
  elsif keep <= interval '0' then
    raise exception 'rows are kept for a positive time, not for %', keep
      using errcode = '22023', hint = 'Give an interval such as ''7 years'', or null for no policy.';
  end if;
  insert into retention_policies as p (table_name, keep) values (set_retention_policy.table_name,
                                                                 set_retention_policy.keep)
  on conflict on constraint retention_policies_pkey do update set keep = excluded.keep;
end
$function$;
comment on function set_retention_policy is
  'Sets how long the rows of a chained table are kept before they may be archived; null takes the policy away. Only '
  'the owner may, with alpha.maintenance set. Raises 42P01 for no chained table, 22023 for no positive time.';
perform _grant('select on', '{retention_policies}', '{app_auditor}');

-- sql/16_retention/archive.sql

-- Archived segments: the oldest rows of a chain, which agents agreed to keep in a file instead
--
-- A log that can only grow is not kept for years. So its oldest rows may leave, as a contiguous prefix of their chain:
--
--   1. retention_plan() says which rows may go (plan.sql).
--   2. The client writes them into a segment, a file that proves itself, and proposes its SHA-256 with the hash of its
--      last row and the root of the log up to there: a proposal of kind "archive". It loosens, so two must approve it.
--   3. The last approval records the segment here. No row has gone yet.
--   4. prune_archived() removes the rows in blocks of 256, and records in chain_starts how far it is (prune.sql).
--
-- Verification starts behind the removed rows, from the hash of the last one (04_chain/starts.sql). It believes no
-- table: _archive_proposal derives the approval from signatures. Anyone who removes rows without it leaves a damaged
-- chain.
--
-- A legal hold keeps rows from an id on, whatever was approved (holds.sql).

create table archived_segments (
  id               bigserial    not null,
  table_name       text         not null,
  first_id         bigint       not null,
  through_id       bigint       not null,
  last_hash        char(64)     not null,
  last_created_at  timestamptz  not null,
  root             char(64)     not null,
  segment_sha256   char(64)     not null,
  proposal_id      uuid         not null,
  row_hash         char(64)     not null,
  created_at       timestamptz  not null,
  recorded_by      text         not null,
  constraint archived_segments_pkey primary key (id),
  constraint archived_segments_table_name_through_id_key unique (table_name, through_id),
  constraint archived_segments_is_whole_blocks check (first_id % 256 = 1 and through_id % 256 = 0
                                                      and through_id > first_id)
);
comment on table  archived_segments                 is
  'Segments of chains that an approved proposal archived: their rows may be removed here. Append-only, hash-chained.';
comment on column archived_segments.id              is 'Position in the chain.';
comment on column archived_segments.table_name      is 'The chained table.';
comment on column archived_segments.first_id        is 'First row of the segment.';
comment on column archived_segments.through_id      is 'Last row of the segment.';
comment on column archived_segments.last_hash       is 'row_hash of its last row.';
comment on column archived_segments.last_created_at is 'created_at of its last row.';
comment on column archived_segments.root            is 'Root of the table''s log when it had through_id rows, in hex.';
comment on column archived_segments.segment_sha256  is 'SHA-256 of the file that keeps the rows, in hex.';
comment on column archived_segments.proposal_id     is 'The approved proposal.';
comment on column archived_segments.row_hash        is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column archived_segments.created_at      is 'When it was approved.';
comment on column archived_segments.recorded_by     is 'The login that completed the approval.';
create function _archive_items(payload jsonb)
returns table (table_name text, through_id bigint, last_hash text, root text, segment_sha256 text)
language sql immutable
set search_path from current
as $function$
  select i.value ->> 'table', (i.value ->> 'through_id')::bigint, i.value ->> 'row_hash', i.value ->> 'root',
         i.value ->> 'segment_sha256'
  from jsonb_array_elements(case when payload ? 'segments' then payload -> 'segments'
                                 else jsonb_build_array(payload) end) with ordinality as i(value, place)
  order by i.place;
$function$;
comment on function _archive_items is
  'The segments that the payload of an archive proposal names: itself for one, its member segments for several.';
create function _block_end(id bigint) returns bigint
language sql immutable
set search_path from current
as $function$
  select id / 256 * 256;
$function$;
comment on function _block_end is 'The last row of the last whole block of 256 that ends at an id or before it.';
create function _last_segment_end(table_name text) returns bigint
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce(max(s.through_id), 0) from only archived_segments as s
  where s.table_name = _last_segment_end.table_name;
$function$;
comment on function _last_segment_end is 'Up to which id the rows of a table are archived, removed or not; 0 for none.';
create function _record_segments(proposal_id uuid, payload jsonb) returns void
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  item        record;
  last_time   timestamptz;
begin
  for item in select i.* from _archive_items(payload) as i loop
    execute format('select t.created_at from only %I as t where t.id = $1', item.table_name)
      into last_time using item.through_id;
    insert into archived_segments (table_name, first_id, through_id, last_hash, last_created_at, root, segment_sha256,
                                   proposal_id)
    values (item.table_name, _last_segment_end(item.table_name) + 1, item.through_id, item.last_hash, last_time,
            item.root, item.segment_sha256, _record_segments.proposal_id);
  end loop;
end
$function$;
comment on function _record_segments is
  'Writes the rows of archived_segments that an applied proposal makes. Called by _apply_proposal.';
create function _validate_segment() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if not exists (
      select from _last_applied() as l cross join lateral _archive_items(l.payload) as i
      where l.proposal_id = new.proposal_id and l.kind = 'archive'
        and (i.table_name, i.through_id, i.last_hash, i.root, i.segment_sha256)
            = (new.table_name, new.through_id, new.last_hash::text, new.root::text, new.segment_sha256::text)
        and new.first_id = _last_segment_end(new.table_name) + 1) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'The proposal that it names is not the last one applied, or says something else.');
  end if;
  return new;
end
$function$;
comment on function _validate_segment is
  'Row trigger of archived_segments: refuses (RSK-002) a segment that no approved proposal archived. Argument: table.';
create trigger _500_validate before insert on archived_segments
  for each row execute function _validate_segment('archived_segments');
comment on trigger _500_validate on archived_segments is
  'Refuses a segment that no approved proposal archived (RSK-002).';
perform _protect_table('archived_segments', 'RSK-002', 'RSK-002'), _owner_only('archived_segments', 'RSK-002'),
       _chain_attach('archived_segments');
-- Replaces the placeholder in 04_chain/starts.sql.
create or replace function _archive_proposal(table_name text, through_id bigint, row_hash text) returns uuid
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  segment    archived_segments;
  last_hash  text := _archive_proposal.row_hash;
begin
  select * into segment from only archived_segments as s
  where s.table_name = _archive_proposal.table_name and s.through_id >= _archive_proposal.through_id
  order by s.through_id limit 1;
  if segment.through_id > through_id then
    -- Some of its rows are still there: the last one must be that which the agents saw.
    execute format('select t.row_hash::text from only %I as t where t.id = $1', table_name)
      into last_hash using segment.through_id;
  end if;
  if segment.last_hash::text is distinct from last_hash then
    return null;
  end if;
  -- Not the table but the signatures say what was applied.
  return (
    select r.proposal_id
    from only risk_change_log as c
    cross join lateral _replay_consensus(true, c.version) as r
    cross join lateral _archive_items(r.payload) as i
    where c.proposal_id = segment.proposal_id and r.version = c.version and r.problem is null and r.kind = 'archive'
      and i.table_name = segment.table_name and i.through_id = segment.through_id
      and i.last_hash = segment.last_hash::text);
end
$function$;
comment on function _archive_proposal is
  'The proposal, signed by its proposer and enough other agents, that archived the rows of a chain up to an id with '
  'this hash. Null if there is none.';
-- Replaces the placeholder in 12_consensus/problems.sql.
create or replace function _segment_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
set row_security = off
as $function$
  with due as (
    select c.version, c.proposal_id, i.*
    from unnest(changes) as c cross join lateral _archive_items(c.payload) as i
    where c.kind = 'archive' and c.problem is null)
  select 'archived_segments', s.id,
         case when s.id is null then format('the segment of %s that version %s archived is not there',
                                            d.table_name, d.version)
              else 'no applied proposal archived it as it stands' end
  from due as d
  full join only archived_segments as s
    on (s.proposal_id, s.table_name, s.through_id, s.last_hash::text, s.root::text, s.segment_sha256::text)
     = (d.proposal_id, d.table_name, d.through_id, d.last_hash, d.root, d.segment_sha256)
  where s.id is null or d.version is null
    -- From the first entry that does not hold, nothing is known of what should stand here.
    and not exists (select from unnest(changes) as c where c.problem is not null);
$function$;
comment on function _segment_problems is
  'Segments that no applied proposal archived, and archived ones that are missing.';

-- sql/16_retention/holds.sql

-- Legal holds: rows that stay, whatever was approved
--
-- A hold is an applied proposal and nothing else: it has no table, its entry in risk_change_log is what holds. It keeps
-- the rows of a table from an id on, those that were archived and not removed yet, too, until an applied "unhold" names
-- it. To hold needs one approval, to end a hold two.

create function legal_holds()
returns table (table_name text, from_id bigint, proposal_id uuid, reason text, held_since timestamptz)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select p.payload ->> 'table', (p.payload ->> 'from_id')::bigint, p.proposal_id, p.reason, c.created_at
  from only risk_change_log as c
  join only proposals as p on p.proposal_id = c.proposal_id
  where c.kind::text = 'hold'::text
    and not exists (select from only risk_change_log as e join only proposals as u on u.proposal_id = e.proposal_id
                    where e.kind::text = 'unhold'::text and u.payload ->> 'hold' = c.proposal_id::text and e.id > c.id)
  order by c.id;
$function$;
comment on function legal_holds is
  'The legal holds that stand: table, first row that stays, the proposal that made it, why, and since when.';
create function _held_from(table_name text) returns bigint
language sql stable
set search_path from current
as $function$
  select min(h.from_id) from legal_holds() as h where h.table_name = _held_from.table_name;
$function$;
comment on function _held_from is 'The first row of a table that a legal hold keeps; null if none does.';
-- What the payloads say; 12_consensus/payloads.sql calls these.

create function _check_row_id(member text, value jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  if jsonb_typeof(value) is distinct from 'number' or value #>> '{}' !~ '^[1-9][0-9]{0,17}$' then
    perform _refuse_consensus(
      'RSK-001', format('%s is not the id of a row', member), format('It is %s.', left(value::text, 60)),
      'Give a whole number, 1 or more.');
  end if;
end
$function$;
comment on function _check_row_id is 'Raises RSK-001 unless a member is a number that an id can be.';
create function _check_retained_table(value jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  refused text;
begin
  select case when c.table_name is null then 'There is no such chained table.'
              when c.is_internal and c.table_name <> 'table_changes' then 'alpha-db needs its own tables whole.' end
    into refused
  from (select 1) as one left join only chains as c on to_jsonb(c.table_name) = value;
  if refused is not null then
    perform _refuse_consensus(
      'RSK-001', format('%s is no table of which rows may be archived', left(coalesce(value::text, 'null'), 100)),
      refused, 'Name one of those that retention_plan() lists.');
  end if;
end
$function$;
comment on function _check_retained_table is
  'Raises RSK-001 unless a member names a chained table whose rows may be archived.';
create function _check_hold(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _check_members('hold', payload, '{table, from_id}');
  perform _check_retained_table(payload -> 'table');
  perform _check_row_id('from_id', payload -> 'from_id');
end
$function$;
comment on function _check_hold is 'Raises RSK-001 unless a payload names a table and its first row that must stay.';
create function _check_unhold(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  hold uuid;
begin
  perform _check_members('unhold', payload, '{hold}');
  hold := _check_uuid('hold', payload -> 'hold');
  if not exists (select from legal_holds() as h where h.proposal_id = hold) then
    perform _refuse_consensus(
      'RSK-001', 'there is no such legal hold', format('Proposal %s.', hold),
      'Name one of those that legal_holds() lists.');
  end if;
end
$function$;
comment on function _check_unhold is 'Raises RSK-001 unless a payload names a legal hold that stands.';

-- sql/16_retention/references.sql

-- What still refers to rows that are to go
--
-- A row may only go if no row that stays refers to it. The foreign keys of the catalogues are asked, so tables of users
-- count as well. Rows that are archived themselves do not: they may go first. In plans and proposals, "archived" is a
-- map of what shall be archived, {table: through_id}.

create function _rows_stay_from(table_name text, archived jsonb) returns bigint
language sql stable
set search_path from current
as $function$
  select greatest(s.id, (archived ->> table_name)::bigint, 0) + 1 from _chain_start(table_name) as s;
$function$;
comment on function _rows_stay_from is
  'The first row of a chained table that stays when these segments are archived, {table: through_id}.';
create function _lowest_reference(
  table_name text, after_id bigint, through_id bigint, archived jsonb, out id bigint, out referrer text)
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  key      record;
  lowest   bigint;
begin
  for key in
    select c.conrelid::regclass::text as referrer, n.table_name as chained,
           (select string_agg(format('p.%I = c.%I', f.attname, a.attname), ' and ' order by k.place)
            from unnest(c.conkey, c.confkey) with ordinality as k(from_column, to_column, place)
            join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = k.from_column
            join pg_attribute as f on f.attrelid = c.confrelid and f.attnum = k.to_column) as condition
    from pg_constraint as c
    join pg_class as r on r.oid = c.conrelid
    left join only chains as n on n.table_name = r.relname
                              and r.relnamespace = quote_ident(current_schema())::regnamespace
    where c.contype = 'f' and c.confrelid = quote_ident(_lowest_reference.table_name)::regclass
    order by 1
  loop
    execute _fill($query$
      select min(p.id) from only {table:I} as p
      where p.id > $1 and p.id <= $2
        and exists (select from {referrer:s} as c where {condition:s} {stays:s})
      $query$, 'table', table_name, 'referrer', key.referrer, 'condition', key.condition,
      'stays', case when key.chained is not null
                    then format('and c.id >= %s', _rows_stay_from(key.chained, archived)) else '' end)
      into lowest using after_id, through_id;
    if lowest < id or id is null and lowest is not null then
      id := lowest;
      referrer := key.referrer;
    end if;
  end loop;
end
$function$;
comment on function _lowest_reference is
  'The lowest row of a range, after after_id up to through_id, that a row which stays refers to, and the table of that '
  'row; nulls if none does. archived: what shall be archived besides, {table: through_id}.';

-- sql/16_retention/propose.sql

-- When rows may be archived
--
-- The payload of a proposal of kind "archive" names a segment, {table, through_id, row_hash, root, segment_sha256}, or
-- several of different tables, {segments: [ … ]}, because an applied proposal makes all others stale. What it must look
-- like is checked once (RSK-001); whether the rows may go is checked when it is proposed, and again when the last
-- approval applies it (AUD-016).

create function _check_segment(item jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  member text;
begin
  perform _check_members('archive', item, '{table, through_id, row_hash, root, segment_sha256}');
  perform _check_retained_table(item -> 'table');
  perform _check_row_id('through_id', item -> 'through_id');
  if (item ->> 'through_id')::bigint % 256 > 0 then
    perform _refuse_consensus(
      'RSK-001', 'through_id is not the end of a block', format('It is %s.', item ->> 'through_id'),
      'Give a multiple of 256, as retention_plan() does.');
  end if;
  foreach member in array array['row_hash', 'root', 'segment_sha256'] loop
    if jsonb_typeof(item -> member) <> 'string' or item ->> member !~ '^[0-9a-f]{64}$' then
      perform _refuse_consensus(
        'RSK-001', format('%s is not a SHA-256 in hex', member), format('It is %s.', left(item ->> member, 80)),
        'Give 64 digits from 0 to 9 and a to f.');
    end if;
  end loop;
end
$function$;
comment on function _check_segment is 'Raises RSK-001 unless an item of a payload names a segment.';
create function _check_archive(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  if not payload ? 'segments' then
    perform _check_segment(payload);
    return;
  end if;
  perform _check_members('archive', payload, '{segments}');
  if jsonb_typeof(payload -> 'segments') <> 'array' or jsonb_array_length(payload -> 'segments') = 0 then
    perform _refuse_consensus(
      'RSK-001', 'segments is not a list of segments', format('It is %s.', left(payload ->> 'segments', 200)),
      'Give an array of objects {table, through_id, row_hash, root, segment_sha256}.');
  end if;
  perform _check_segment(s.value) from jsonb_array_elements(payload -> 'segments') as s;
  if (select count(*) > count(distinct s.table_name) from _archive_items(payload) as s) then
    perform _refuse_consensus(
      'RSK-001', 'a table stands twice among the segments', format('They are %s.', left(payload ->> 'segments', 200)),
      'Name each table once, with the last row that shall go.');
  end if;
end
$function$;
comment on function _check_archive is
  'Raises RSK-001 unless a payload names one segment, or several of different tables.';
create function _refuse_retention(message text, detail text, hint text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse('AUD-016', message, detail, hint, 'retention', 'PRUNE');
end
$function$;
comment on function _refuse_retention is 'Raises AUD-016. Never returns.';
perform _count_attempts('AUD-016', 'retention', 'PRUNE');
create function _refuse_held(table_name text, through_id bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  hold record;
begin
  select h.* into hold from legal_holds() as h
  where h.table_name = _refuse_held.table_name and h.from_id <= through_id order by h.from_id limit 1;
  if found then
    perform _refuse_retention(
      format('%s is on legal hold from row %s on', table_name, hold.from_id),
      format('Proposal %s: %s', hold.proposal_id, left(hold.reason, 200)),
      'Archive rows before it, or propose to end the hold: alpha-db retention release.');
  end if;
end
$function$;
comment on function _refuse_held is 'Raises AUD-016 if a legal hold keeps one of the rows 1 to through_id of a table.';
create function _refuse_other_rows(table_name text, through_id bigint, row_hash text, root text) returns void
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  archived_to  constant bigint := _last_segment_end(table_name);
  tail_id      bigint;
  stored       text;
begin
  execute format('select (select max(t.id) from only %1$I as t),'
                 ' (select t.row_hash::text from only %1$I as t where t.id = $1)', table_name)
    into tail_id, stored using through_id;
  if through_id <= archived_to then
    perform _refuse_retention(
      format('rows 1 to %s of %s are archived already', archived_to, table_name),
      format('The proposal goes to row %s.', through_id), 'Look at them: select * from archived_segments.');
  elsif tail_id is null or through_id >= tail_id then
    perform _refuse_retention(
      format('the last row of %s must stay', table_name),
      format('It is row %s; the proposal goes to row %s.', coalesce(tail_id::text, 'none'), through_id),
      'Ask retention_plan() how far rows may go.');
  elsif stored is distinct from row_hash then
    perform _refuse_retention(
      format('row %s of %s has another hash', through_id, table_name),
      format('It has %s, the proposal says %s.', coalesce(stored, 'none, because it is missing'), row_hash),
      format('Verify the table: select * from verify_chain_integrity(%L).', table_name));
  elsif encode(log_root(table_name, through_id), 'hex') <> root then
    perform _refuse_retention(
      format('the log of %s had another root at %s rows', table_name, through_id),
      format('It had %s, the proposal says %s.', encode(log_root(table_name, through_id), 'hex'), root),
      format('Give select encode(log_root(%L, %s), ''hex'').', table_name, through_id));
  end if;
end
$function$;
comment on function _refuse_other_rows is
  'Raises AUD-016 unless a segment is the oldest rows of a table, ends before its last row, and is what the rows are.';
-- It calls _history_needed_from (15_history).
create function _refuse_archive(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  archived  constant jsonb := (select jsonb_object_agg(i.table_name, i.through_id) from _archive_items(payload) as i);
  item      record;
  referred  record;
begin
  for item in select i.* from _archive_items(payload) as i loop
    perform _refuse_other_rows(item.table_name, item.through_id, item.last_hash, item.root);
    perform _refuse_held(item.table_name, item.through_id);
    if item.table_name = 'table_changes' and item.through_id >= _history_needed_from() then
      perform _refuse_retention(
        format('the history of a tracked table begins with row %s of table_changes', _history_needed_from()),
        format('The proposal goes to row %s.', item.through_id),
        'Begin its history anew: select snapshot_table(…).');
    end if;
    select r.* into referred
    from _lowest_reference(item.table_name, (_chain_start(item.table_name)).id, item.through_id, archived) as r;
    if referred.id is not null then
      perform _refuse_retention(
        format('row %s of %s is still referred to by %s', referred.id, item.table_name, referred.referrer),
        format('The proposal goes to row %s.', item.through_id),
        'Archive the rows that refer to it as well, or fewer rows: retention_plan() says how many.');
    end if;
  end loop;
end
$function$;
comment on function _refuse_archive is
  'Raises AUD-016 unless all rows of the segments of a payload may go: right, not on hold, and not referred to by rows '
  'that stay.';

-- sql/16_retention/prune.sql

-- Removing the rows of approved segments
--
-- prune_archived() is a procedure, so that each batch is a transaction of its own: it may be killed and called again at
-- any moment. A batch is some blocks of 256 rows. In one transaction it
--
--   1. looks whether the rows may go: approved, right, not on hold, no lockdown, and nothing that stays refers to them;
--   2. completes the stored nodes over the approved rows, and compares their root with the approved one;
--   3. writes the new start into chain_starts, whose trigger looks at the approval again;
--   4. deletes the rows.
--
-- Nothing here takes the lock of a chain, so writers do not wait. Only who would refer to one of the rows does, and is
-- refused then. Prunings take turns.

create function _validate_chain_start() returns trigger
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  stored text;
begin
  perform _chain_or_error(new.table_name);
  execute format('select t.row_hash::text from only %I as t where t.id = $1', new.table_name)
    into stored using new.id;
  if new.id <= (_chain_start(new.table_name)).id or stored is distinct from new.row_hash::text
     or new.id >= _held_from(new.table_name)
     or not exists (select from only archived_segments as s
                    where s.table_name = new.table_name and s.through_id >= new.id) then
    perform _refuse(
      'AUD-011', format('a start of %s was refused, because its rows may not be removed', new.table_name),
      format('Row %s is not archived, is on hold, or has another hash.', new.id),
      'Remove archived rows by call prune_archived(…).', tg_argv[0], tg_op);
  end if;
  return new;
end
$function$;
comment on function _validate_chain_start is
  'Row trigger of chain_starts: refuses (AUD-011) a start before which not all rows are archived and free. Argument: '
  'table.';
create trigger _500_validate before insert on chain_starts
  for each row execute function _validate_chain_start('chain_starts');
comment on trigger _500_validate on chain_starts is
  'Refuses a start before which not all rows are archived (AUD-011).';
create function _next_to_prune(table_name text, after_id bigint, is_first boolean) returns archived_segments
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  segment archived_segments;
begin
  select * into segment from only archived_segments as s
  where s.table_name = _next_to_prune.table_name and s.through_id > after_id order by s.through_id limit 1;
  if not found then
    if after_id = 0 then
      perform _refuse_retention(
        format('no proposal to archive rows of %s was approved', table_name), 'Its rows stay.',
        'Propose it: alpha-db retention propose, then alpha-db risk approve.');
    end if;
    return null;
  end if;
  if (is_first or after_id < segment.first_id)
     and _archive_proposal(table_name, segment.through_id, segment.last_hash::text) is null then
    perform _refuse_retention(
      format('the approval of the segment to row %s of %s does not hold', segment.through_id, table_name),
      'Signatures, or the hash of its last row, are not what was approved.',
      'Verify: select * from verify_chain_integrity().');
  end if;
  return segment;
end
$function$;
comment on function _next_to_prune is
  'The first approved segment with rows after an id, its signatures checked if is_first; null if all are removed. '
  'Raises AUD-016 if none was ever approved, or the approval does not hold.';
create function _refuse_referred(table_name text, after_id bigint, through_id bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  referred record;
begin
  select r.* into referred from _lowest_reference(table_name, after_id, through_id, '{}') as r;
  if referred.id is not null then
    perform _refuse_retention(
      format('row %s of %s is still referred to by %s', referred.id, table_name, referred.referrer),
      'Rows that refer to others go first.',
      format('If they are archived, remove them first: call prune_archived(''%s'').', referred.referrer));
  end if;
end
$function$;
comment on function _refuse_referred is 'Raises AUD-016 if a row that is there refers to one of these.';
create function _require_root(segment archived_segments) returns void
language plpgsql
set search_path from current
as $function$
begin
  lock table only log_nodes in share update exclusive mode;  -- as seal_log does
  perform _seal_table(segment.table_name, segment.through_id);
  if encode(log_root(segment.table_name, segment.through_id), 'hex') <> segment.root::text then
    perform _refuse_retention(
      format('the log of %s has another root at %s rows than was approved', segment.table_name, segment.through_id),
      format('Proposal %s.', segment.proposal_id),
      format('Look: select * from find_log_damage(%L).', segment.table_name));
  end if;
end
$function$;
comment on function _require_root is
  'Stores the nodes over a segment that are not stored yet; raises AUD-016 if they do not give the approved root.';
create function _prune_rows(table_name text, after_id bigint, through_id bigint) returns void
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  deleted bigint;
begin
  -- Locked first: what refers to one of them is either seen below, or waits and then finds it gone.
  execute format('select count(*) from (select from only %I as t where t.id > $1 and t.id <= $2 for update) as r',
                 table_name) using after_id, through_id;
  perform _refuse_referred(table_name, after_id, through_id);
  delete from only log_nodes as n
  where n.table_name = _prune_rows.table_name and (n.index + 1) << n.level <= through_id
    and (n.index + 1) << n.level > after_id and _is_stray_node(to_jsonb(n));
  execute format('insert into chain_starts (table_name, id, row_hash, created_at)'
                 ' select $1, t.id, t.row_hash, t.created_at from only %I as t where t.id = $2', table_name)
    using table_name, through_id;
  execute format('delete from only %I as t where t.id > $1 and t.id <= $2', table_name) using after_id, through_id;
  get diagnostics deleted = row_count;
  if deleted <> through_id - after_id then
    perform _refuse_retention(
      format('rows %s to %s of %s are not all there', after_id + 1, through_id, table_name),
      format('%s are.', deleted), format('Verify: select * from verify_chain_integrity(%L).', table_name));
  end if;
end
$function$;
comment on function _prune_rows is
  'Removes the rows after after_id up to through_id, and records that the chain starts behind them. Raises AUD-016 if '
  'one is missing or still referred to.';
create function _prune_batch(
  table_name text, batch integer, is_first boolean default true,
  out deleted bigint, out start_id bigint, out through_id bigint)
language plpgsql security definer
set search_path from current
set row_security = off
-- Few rows at a time, each found by an index, whatever the statistics say.
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $function$
declare
  segment archived_segments;
begin
  if batch is null or batch < 256 then
    raise exception 'rows are removed in blocks of 256, not % at a time', coalesce(batch::text, 'NULL')
      using errcode = '22023', hint = 'Give 256 or more.';
  end if;
  perform _chain_or_error(table_name);
  if (select s.is_locked from lockdown_status() as s) then
    perform _refuse_retention('in a lockdown nothing leaves the log', 'The damage must be looked at first.',
                              'Look at the damage: select * from lockdown_status().');
  end if;
  lock table only chain_starts in share update exclusive mode;  -- prunings take turns
  start_id := (_chain_start(table_name)).id;
  through_id := _last_segment_end(table_name);
  segment := _next_to_prune(table_name, start_id, is_first);
  deleted := 0;
  if segment.through_id is null then
    return;
  end if;
  deleted := least(_block_end(batch), segment.through_id - start_id, _block_end(_held_from(table_name) - 1) - start_id);
  if deleted <= 0 then
    perform _refuse_held(table_name, start_id + 256);
  end if;
  perform _require_root(segment);
  perform _prune_rows(table_name, start_id, start_id + deleted);
  start_id := start_id + deleted;
end
$function$;
comment on function _prune_batch is
  'Removes the next rows of an approved segment, at most batch of them; is_first has the signatures checked. deleted '
  'is 0 when all are gone. start_id is the last row that is removed, through_id the last one that is archived.';
-- A procedure that commits can pin no search_path: each name in it is qualified.
create function _create_at_home(template text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute _fill(template, 'home', current_schema());
end
$function$;
comment on function _create_at_home is
  'Creates what a template says, with {home:I} filled in: the schema of this installation.';
perform _create_at_home($template$
create procedure prune_archived(table_name text, batch integer default 1024, inout result jsonb default null)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
  part     pg_catalog.record;
  deleted  pg_catalog.int8 := 0;
begin
  commit;  -- inside a transaction no batch could end
  loop
    set transaction isolation level read committed;
    select p.* into part
    from {home:I}._prune_batch(table_name, batch, deleted operator(pg_catalog.=) 0) as p;
    commit;
    deleted := deleted operator(pg_catalog.+) part.deleted;
    exit when part.deleted operator(pg_catalog.=) 0;
  end loop;
  result := pg_catalog.jsonb_build_object('table', table_name, 'deleted', deleted, 'start_id', part.start_id,
                                          'through_id', part.through_id);
end
$procedure$;
$template$);
comment on procedure prune_archived is
  'Removes the rows of a table that approved proposals archived, batch rows (256 or more) in each transaction, until '
  'all are gone. result is {table, deleted, start_id, through_id}: how many rows went, the last row that is removed, '
  'the last one that is archived. Raises AUD-016, 42P01, 22023, and 2D000 inside a transaction.';
perform _grant('select on', '{archived_segments}', '{app_auditor, app_risk}');
perform _grant('execute on routine', '{prune_archived, _prune_batch}', '{app_auditor}');
perform _grant('execute on routine', '{legal_holds}', '{app_auditor, app_risk}');

-- sql/16_retention/plan.sql

-- Which rows may go: what a proposal of kind "archive" could name today
--
-- For each table it begins with the last row that is old enough, and takes back what a hold, the history of a tracked
-- table, or a row that stays needs. The row that stays may be of a table whose own end was taken back, so this is
-- repeated until nothing changes. Ends are rounded down to whole blocks of 256.

create function _last_id_before(table_name text, moment timestamptz) returns bigint
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  low     bigint;  -- before the moment, or the start
  high    bigint;  -- not before it, or behind the end
  middle  bigint;
  is_old  boolean;
begin
  -- Times never decrease and ids have no gaps, so some 30 looks at the primary key find it.
  low := (_chain_start(table_name)).id;
  execute format('select coalesce(max(t.id), $1) + 1 from only %I as t', table_name) into high using low;
  while high - low > 1 loop
    middle := low + (high - low) / 2;
    execute format('select t.created_at < $2 from only %I as t where t.id = $1', table_name)
      into is_old using middle, moment;
    if is_old then
      low := middle;
    else
      high := middle;
    end if;
  end loop;
  return low;
end
$function$;
comment on function _last_id_before is
  'The last row of a chain that is older than a moment; the start of the chain if none is.';
create function _archivable_by_age(before timestamptz, table_name text)
returns table (name text, archived_to bigint, through_id bigint, limited_by text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select c.table_name, _last_segment_end(c.table_name),
         case when i.old is not null
              then _block_end(least(i.old, coalesce(i.tail, 1) - 1, i.held_from - 1, i.needed_from - 1)) end,
         case when i.old is null then 'no policy, and no date was given'
              when i.held_from - 1 <= least(i.old, i.tail - 1) then format('legal hold from row %s on', i.held_from)
              when i.needed_from - 1 <= least(i.old, i.tail - 1)
                then format('the history of a tracked table begins with row %s', i.needed_from)
              when i.tail - 1 < i.old then 'the last row stays'
              else 'age' end
  from only chains as c
  left join only retention_policies as p on p.table_name = c.table_name
  cross join lateral (
    select case when coalesce(before, now() - p.keep) is not null
                then _last_id_before(c.table_name, coalesce(before, now() - p.keep)) end as old,
           (select s.last_id from chain_status() as s where s.table_name = c.table_name) as tail,
           _held_from(c.table_name) as held_from,
           case when c.table_name = 'table_changes' then _history_needed_from() end as needed_from) as i
  where (not c.is_internal or c.table_name = 'table_changes')
    and (_archivable_by_age.table_name is null or c.table_name = _archivable_by_age.table_name)
  order by c.position;
$function$;
comment on function _archivable_by_age is
  'Up to which row each table could go by its age, its holds and the histories that begin in it, and which of them '
  'limits it; references are not looked at.';
-- Longer than 60 lines, because the three steps share their maps.
create function retention_plan(before timestamptz default null, table_name text default null)
returns table (planned_table text, first_id bigint, through_id bigint, last_created_at timestamptz, row_count bigint,
               bytes bigint, limited_by text)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  plan       jsonb;   -- {table: {archived_to, limited_by}}
  ends       jsonb;   -- {table: through_id}
  unsettled  text[];  -- tables whose end must be looked at
  item       record;
  referred   record;
begin
  if before > now() then
    raise exception 'rows are archived when they are old, not before they are: % has not come', before
      using errcode = '22023', hint = 'Give a time in the past.';
  end if;
  perform _chain_or_error(table_name) where table_name is not null;
  select jsonb_object_agg(a.name, jsonb_build_object('archived_to', a.archived_to, 'limited_by', a.limited_by)),
         jsonb_object_agg(a.name, greatest(a.through_id, a.archived_to))
    into plan, ends
  from _archivable_by_age(before, retention_plan.table_name) as a;
  unsettled := array(select e.key from jsonb_each(ends) as e);
  while unsettled <> '{}' loop
    -- Tables come before those that refer to them, so the last one first: most are looked at once.
    select c.table_name, (ends ->> c.table_name)::bigint as through_id into item
    from only chains as c where c.table_name = any (unsettled) order by c.position desc limit 1;
    unsettled := array_remove(unsettled, item.table_name);
    select r.* into referred
    from _lowest_reference(item.table_name, (plan -> item.table_name ->> 'archived_to')::bigint, item.through_id,
                           ends) as r;
    if referred.id is not null then
      ends := ends || jsonb_build_object(item.table_name, _block_end(referred.id - 1));
      plan := jsonb_set(plan, array[item.table_name, 'limited_by'], to_jsonb(
        format('%s still refers to row %s', referred.referrer, referred.id)));
      -- More of its own rows stay, and so may what they refer to.
      unsettled := array(select u.name from unnest(unsettled) as u(name)
                         union
                         select c.table_name from only chains as c join pg_constraint as k
                           on k.contype = 'f' and k.confrelid = to_regclass(quote_ident(c.table_name))
                             and k.conrelid = to_regclass(quote_ident(item.table_name))
                         where plan ? c.table_name);
    end if;
  end loop;
  for item in
    select c.table_name, (plan -> c.table_name ->> 'archived_to')::bigint as archived_to,
           (ends ->> c.table_name)::bigint as ends_at
    from only chains as c where plan ? c.table_name order by c.position
  loop
    planned_table := item.table_name;
    first_id := item.archived_to + 1;
    row_count := greatest(item.ends_at - item.archived_to, 0);
    through_id := case when row_count > 0 then item.ends_at end;
    limited_by := plan -> item.table_name ->> 'limited_by';
    execute format('select (select t.created_at from only %1$I as t where t.id = $1), pg_table_size($2) * $3'
                   ' / greatest((select max(t.id) from only %1$I as t) - $4, 1)', item.table_name)
      into last_created_at, bytes
      using through_id, to_regclass(quote_ident(item.table_name)), row_count, (_chain_start(item.table_name)).id;
    return next;
  end loop;
end
$function$;
comment on function retention_plan is
  'For each table whose rows may be archived, or one: the rows first_id to through_id that are older than before, or '
  'than its policy keeps them, and to which nothing refers that stays; about how many bytes they take; and what keeps '
  'the next row. through_id is null if none may go. Raises 22023 for a time that has not come.';
perform _grant('execute on routine', '{retention_plan}', '{app_auditor, app_risk}');

-- sql/16_retention/growth.sql

-- How the log grows: how many rows each table has and how large it is, how fast that grows, and what is overdue
--
-- Nothing is counted. Ids have no gap and created_at never decreases, so the first row since a moment is found by
-- halving, in some twenty look-ups by the primary key, and the difference of two ids is a number of rows.
--
-- growth() never fails because of one table: what is gone, locked or unreadable is said in that table's row.

create function _growth_of(table_name text, recent interval)
returns table (rows_stored bigint, bytes bigint, oldest_id bigint, oldest_created_at timestamptz, last_id bigint,
               rows_a_day double precision, bytes_a_day bigint, keep interval, rows_overdue bigint)
language plpgsql stable
set search_path from current
set enable_seqscan = off set jit = off set row_security = off
as $function$
declare
  since  timestamptz := now() - recent;
  days   numeric;
begin
  bytes := pg_total_relation_size(format('%I.%I', current_schema(), table_name)::regclass);
  keep := (select p.keep from only retention_policies as p where p.table_name = _growth_of.table_name);
  -- Behind the start: after pruning, the index still begins with entries of rows that are gone.
  execute format('select t.id, t.created_at from only %I as t where t.id > $1 order by t.id limit 1', table_name)
    into oldest_id, oldest_created_at using (_chain_start(table_name)).id;
  execute format('select t.id from only %I as t order by t.id desc limit 1', table_name) into last_id;
  rows_stored := coalesce(last_id - oldest_id + 1, 0);
  if rows_stored = 0 then
    rows_a_day := 0;
    bytes_a_day := 0;
    rows_overdue := case when keep is not null then 0 end;
  else
    -- A table that is younger than the period has grown in less time. No rate is told of less than a day.
    days := greatest(1, extract(epoch from now() - greatest(since, oldest_created_at)) / 86400);
    rows_a_day := round((last_id - greatest(_last_id_before(table_name, since), oldest_id - 1)) / days, 2);
    bytes_a_day := round(rows_a_day * bytes / rows_stored);
    if keep is not null then
      rows_overdue := greatest(_last_id_before(table_name, now() - keep) - oldest_id + 1, 0);
    end if;
  end if;
  return next;
end
$function$;
comment on function _growth_of is 'How one chained table grows, which must be there.';
create function _growth_of_chains(recent interval)
returns table (table_name text, rows_stored bigint, bytes bigint, oldest_id bigint, oldest_created_at timestamptz,
               last_id bigint, rows_a_day double precision, bytes_a_day bigint, keep interval, rows_overdue bigint,
               error_code text, problem text)
language plpgsql stable
set search_path from current
set row_security = off
set lock_timeout = '100ms'  -- a figure is not worth a wait
as $function$
declare
  chain  record;
begin
  perform _require_register();
  for chain in select c.table_name from only chains as c order by c.position loop
    begin
      problem := _missing_part(chain.table_name);
      if problem is null then
        return query
          select chain.table_name, g.*, null::text, null::text from _growth_of(chain.table_name, recent) as g;
        continue;
      end if;
      error_code := 'AUD-009';
    exception when others then
      error_code := sqlstate;
      problem := 'could not be read: ' || sqlerrm;
    end;
    table_name := chain.table_name;
    return next;  -- of such a table there is nothing but the problem
  end loop;
end
$function$;
comment on function _growth_of_chains is 'The rows of growth() but the last: one for each chained table.';
create function growth(recent interval default '30 days')
returns table (
  table_name         text,
  rows_stored        bigint,
  bytes              bigint,
  oldest_id          bigint,
  oldest_created_at  timestamptz,
  last_id            bigint,
  rows_a_day         double precision,
  bytes_a_day        bigint,
  keep               interval,
  rows_overdue       bigint,
  error_code         text,
  problem            text
)
language plpgsql stable
set search_path from current
as $function$
begin
  if recent is null or recent < interval '1 day' then
    raise exception 'a rate is told of a day or more, not of %', coalesce(recent::text, 'NULL')
      using errcode = '22023', hint = 'Give an interval such as ''30 days''.';
  end if;
  return query
    with tables as materialized (select t.* from _growth_of_chains(recent) as t)
    select t.* from tables as t
    union all
    select null, sum(t.rows_stored)::bigint, sum(t.bytes)::bigint, null, min(t.oldest_created_at), null,
           sum(t.rows_a_day), sum(t.bytes_a_day)::bigint, null, sum(t.rows_overdue)::bigint, null, null
    from tables as t;
end
$function$;
comment on function growth is
  'How each chained table grows: rows and bytes (with indexes) that it has, and gets a day in the recent period; its '
  'oldest row; rows that are older than its retention policy allows. The last row, without a name, is their sum. '
  'problem says why a table has no figures. Raises 22023 for a period of less than a day.';
perform _grant('execute on routine', '{growth, _growth_of_chains, _growth_of, _last_id_before}', '{app_auditor}');

-- sql/16_retention/headroom.sql

-- What runs out: ids, sequences, and the time in which PostgreSQL has to freeze rows
--
-- PostgreSQL reuses transaction ids, so a row must be frozen before the id of its transaction comes round again. Rows
-- of the log never change: freezing them once, soon after they were written, is enough (04_chain/attach.sql).

create function _sequences_used()
returns table (name text, table_name text, used bigint, usable bigint)
language sql volatile security definer
set search_path from current
as $function$
  -- The unlogged ones hold a transaction's id and a hint, which is no count; a standby cannot read them.
  select c.relname::text, t.relname::text, u.used, q.seqmax
  from _guard_home() as home
  join pg_class as c on c.relnamespace = home.oid and c.relowner = home.owner and c.relpersistence = 'p'
  join pg_sequence as q on q.seqrelid = c.oid and q.seqincrement > 0 and not q.seqcycle
  left join pg_depend as d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
                          and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
  left join pg_class as t on t.oid = d.refobjid
  cross join lateral (select pg_sequence_last_value(c.oid) as used) as u
  where u.used > 0;
$function$;
comment on function _sequences_used is
  'How far each sequence of this installation has counted that was ever used, how far it can, and the table that it '
  'belongs to.';
create function _storage_setting(options text[], name text) returns text
language sql stable
set search_path from current
as $function$
  select coalesce((select o.option_value from pg_options_to_table(options) as o
                   where o.option_name = _storage_setting.name),
                  current_setting(name, true));
$function$;
comment on function _storage_setting is
  'What a table''s storage parameter says, otherwise the server''s setting of that name; null without either.';
create function _ids_left()
returns table (kind text, name text, used bigint, usable bigint, a_day double precision)
language sql volatile
set search_path from current
as $function$
  with
  growing as materialized (select g.* from growth() as g where g.table_name is not null),
  since as (select greatest(1, extract(epoch from now() - i.installed_at) / 86400) as days from only installation as i)
  select 'ids', g.table_name, coalesce(g.last_id, 0),
         case a.atttypid when 'smallint'::regtype then 32767
                         when 'integer'::regtype then 2147483647
                         else 9223372036854775807 end,
         g.rows_a_day
  from growing as g
  join pg_attribute as a on a.attrelid = to_regclass(format('%I.%I', current_schema(), g.table_name))
                        and a.attname = 'id'
  where g.problem is null
  union all
  -- A sequence that belongs to a table counts its rows; of any other there is only what it has counted in all.
  select 'sequence', s.name, s.used, s.usable, coalesce(g.rows_a_day, round(s.used / since.days, 2)::float8)
  from _sequences_used() as s
  cross join since
  left join growing as g on g.table_name = s.table_name;
$function$;
comment on function _ids_left is 'The rows of headroom() of ids and sequences.';
create function _freezing_due()
returns table (kind text, name text, used bigint, due bigint, usable bigint, problem text)
language sql stable
set search_path from current
as $function$
  with
  places as (
    select c.table_name as name, r.reloptions, greatest(age(r.relfrozenxid), age(t.relfrozenxid)) as age,
           greatest(mxid_age(r.relminmxid), mxid_age(t.relminmxid)) as multixact_age
    from only chains as c
    join pg_class as r on r.oid = to_regclass(format('%I.%I', current_schema(), c.table_name)) and r.relkind = 'r'
    left join pg_class as t on t.oid = r.reltoastrelid
    union all
    -- When the oldest database of a server may write no more, none may.
    (select 'database ' || d.datname, null, age(d.datfrozenxid), mxid_age(d.datminmxid)
     from pg_database as d order by age(d.datfrozenxid) desc limit 1)
  )
  select k.kind, p.name, k.age, d.due, 2144483647,  -- three million before it would come round: PostgreSQL stops there
         case when k.age > d.due then
           format('rows were not frozen in time: %s old, and %s is %s', k.age, k.setting, d.due) end
  from places as p
  cross join lateral (values ('transaction ids', p.age, 'autovacuum_freeze_max_age'),
                             ('multixact ids', p.multixact_age, 'autovacuum_multixact_freeze_max_age'))
                     as k(kind, age, setting)
  cross join lateral (select least(_storage_setting(p.reloptions, k.setting)::bigint,
                                   current_setting(k.setting)::bigint) as due) as d;
$function$;
comment on function _freezing_due is 'The rows of headroom() that say how old unfrozen rows are.';
create function _vacuum_due()
returns table (kind text, name text, used bigint, due bigint, problem text)
language sql stable
set search_path from current
as $function$
  select 'autovacuum', 'server', null, null, 'autovacuum is off: rows are frozen only when there is no other way'
  where not (current_setting('autovacuum')::boolean and current_setting('track_counts')::boolean)
  union all
  select 'inserts until a vacuum', c.table_name, pg_stat_get_ins_since_vacuum(r.oid), d.due,
         case when not coalesce(_storage_setting(r.reloptions, 'autovacuum_enabled')::boolean, true)
              then 'autovacuum is off for it'
              when d.threshold < 0 then 'inserts never start a vacuum of it: autovacuum_vacuum_insert_threshold is -1'
              when d.due > 10000000 then format('a vacuum comes only after %s inserts', d.due) end
  from only chains as c
  join pg_class as r on r.oid = to_regclass(format('%I.%I', current_schema(), c.table_name)) and r.relkind = 'r'
  cross join lateral (
    select t.threshold, (t.threshold + t.factor * greatest(r.reltuples, 0))::bigint as due
    from (select _storage_setting(r.reloptions, 'autovacuum_vacuum_insert_threshold')::bigint,
                 _storage_setting(r.reloptions, 'autovacuum_vacuum_insert_scale_factor')::float8)
         as t(threshold, factor)) as d;
$function$;
comment on function _vacuum_due is 'The rows of headroom() that say when the next vacuum freezes what was inserted.';
create function headroom()
returns table (kind text, name text, used bigint, due bigint, usable bigint, a_day double precision,
               days_left double precision, problem text)
language sql volatile
set search_path from current
as $function$
  select i.kind, i.name, i.used, null::bigint, i.usable, i.a_day, d.days,
         case when d.days < 90 then format('runs out at the present rate; days left: %s', d.days)
              when i.used > 0.9 * i.usable then format('%s of %s are used', i.used, i.usable) end
  from _ids_left() as i
  cross join lateral (select floor((i.usable - i.used) / nullif(i.a_day, 0)) as days) as d
  union all
  select f.kind, f.name, f.used, f.due, f.usable, null, null, f.problem from _freezing_due() as f
  union all
  select v.kind, v.name, v.used, v.due, null, null, null, v.problem from _vacuum_due() as v;
$function$;
comment on function headroom is
  'What runs out: ids of chained tables, sequences, ages of transaction and multixact ids, inserts until the next '
  'vacuum. used of usable; PostgreSQL acts by itself at due. problem says where somebody has to act: less than 90 '
  'days are left, more than nine tenths are used, rows were not frozen in time, autovacuum is off or comes late.';
perform _grant('execute on routine', '{headroom, _ids_left, _sequences_used, _storage_setting, _freezing_due,
                                      _vacuum_due}',
              '{app_auditor}');

perform _finish_migration('007_own_tables');
end
$migration$;
