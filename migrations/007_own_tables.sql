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
--   not an ordinary table     a view has no rows; a hypertable of TimescaleDB or a table that Citus distributed keeps
--                             them elsewhere; a partition, a child or a parent would hold rows that a query of the
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
    (3, '0A000', 'it is ' || (select k.what from _kept_elsewhere() as k where k.oid = c.oid limit 1),
     'Copy its rows into an ordinary table, and chain that one.'),
    (4, '0A000', case when exists (select from pg_inherits as i where c.oid in (i.inhrelid, i.inhparent))
                      then 'it inherits, or others inherit from it' end,
     'End that first: alter table … no inherit.'),
    (5, '0A000', case when c.reloftype <> 0 then 'it is a typed table' end,
     format('End that first: alter table %s not of.', relation)),
    (6, '0A000', case c.relpersistence when 'u' then 'it is unlogged, so a crash would empty it' end,
     format('Run alter table %s set logged.', relation)),
    (7, '55000', 'it belongs to the extension ' || quote_ident(
       (select e.extname from pg_depend as d join pg_extension as e on e.oid = d.refobjid
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_extension'::regclass
          and d.deptype = 'e')),
     'Chain a table of your own.'),
    (8, '42710', case when exists (select from only chains as h where h.table_name = c.relname)
                      then 'it is a chained table already' end,
     'Look at select * from chained_tables().'),
    (9, '42710', case when c.relowner = (select i.relowner from pg_class as i where i.oid = 'installation'::regclass)
                       and (c.relnatts = 0 or exists (
                         select from pg_trigger as t join pg_proc as f on f.oid = t.tgfoid
                         where t.tgrelid = c.oid and not t.tgisinternal and f.pronamespace = c.relnamespace
                           and f.proowner = c.relowner))
                      then 'it is a table of alpha-db itself' end,
     'Chain a table of your own.'),
    (10, '42710', case when exists (select from pg_trigger as t
                                   where t.tgrelid = c.oid and t.tgname = '_000_alpha_history')
                      then 'it is tracked' end,
     format('End its history: select untrack_table(%L).', relation)),
    (11, '55000', 'it has the trigger ' || quote_ident(
       (select t.tgname from pg_trigger as t where t.tgrelid = c.oid and not t.tgisinternal
        order by t.tgname limit 1)),
     'Drop it: it may change a row after it was hashed, or swallow it. docs/own-tables.md says how to make one later.'),
    (12, '55000', 'it has the rule ' || quote_ident(
       (select w.rulename from pg_rewrite as w where w.ev_class = c.oid order by w.rulename limit 1)),
     'Drop it: a rule can swallow a row before any trigger sees it.'),
    (13, '55000', case when c.relrowsecurity or exists (select from pg_policy as y where y.polrelid = c.oid)
                       then 'it has row-level security' end,
     format('Drop its policies, and run alter table %s disable row level security.', relation)),
    (14, '0A000', 'its column ' || quote_ident(
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
  if (select c.relrowsecurity from pg_class as c where c.oid = quote_ident('lock_' || table_name)::regclass) then
    -- An event trigger switches it on for each new table. Migrations take that back, too: _take_back_additions.
    execute format('alter table %I disable row level security', 'lock_' || table_name);
  end if;
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
  perform _require_primary('chain_table');
  if open_in_lockdown is null then
    raise exception 'open_in_lockdown is true or false, not NULL' using errcode = '22023';
  elsif current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'chain_table needs a transaction that sees what others have committed'
      using errcode = '25000', hint = 'Run it in a READ COMMITTED transaction.';
  end if;
  perform _refuse_citus(), _refuse_to_chain(table_name, _why_not_chained(relation));
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
  perform _require_primary('extend_table');
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

-- sql/15_history/changes.sql

-- The history of tables that change
--
-- The audit log takes only new rows. Other tables change: positions, balances, settings. track_table keeps a *history*
-- of such a table: each change of it is a row of table_changes, which is append-only and chained like the log. So the
-- history can be read (table_history, table_as_of), and compared with the table (verify_tracked). Anyone who changes
-- the table without its triggers contradicts the history, and anyone who changes the history breaks the chain.
--
-- The chapter: this table; how a row is printed (printing.sql); the triggers of a tracked table (trigger.sql); which
-- tables are tracked, and what the history says of them (replay.sql); comparing (verify.sql); track_table and
-- untrack_table (track.sql); reading (read.sql).
--
-- What a history consists of
--
--   TRACK      begins it, and says what is tracked: key, columns, excluded columns. Older entries of the table no
--              longer matter for what it holds: track_table may be called again, for a fresh beginning.
--   SNAPSHOT   one for each row that was there then
--   INSERT, UPDATE, DELETE   one for each row that changed. An UPDATE that changes the key is two: the row leaves its
--              old key, and comes under the new one. An UPDATE that changes no value is none.
--   TRUNCATE   the table was emptied
--   UNTRACK    ends it
--
-- Identity. A history belongs to a name, schema.table, not to an oid: so it survives a dump. A table that is renamed or
-- moved keeps its triggers, which then refuse each change (AUD-015), until it gets its name back or untrack_table ends
-- the history. So no other table can write into it.
--
-- Transactions. The first statement that changes a tracked table takes the chain's lock before it touches a row, and
-- the transaction keeps it until it ends. So the entries of a transaction stand together, and transactions in the order
-- in which they became visible. Otherwise one transaction would hold the chain and wait for a row, and another hold
-- that row and wait for the chain.

create table table_changes (
  id                bigserial     not null,
  table_name        varchar(300)  not null,
  operation         varchar(10)   not null,
  key               jsonb         null,
  other_key         jsonb         null,
  old_row           jsonb         null,
  new_row           jsonb         null,
  changed_columns   text[]        null,
  acting_role       varchar(64)   not null,
  application_name  varchar(64)   not null,
  client_address    inet          null,
  transaction_id    bigint        not null,
  row_hash          char(64)      not null,
  created_at        timestamptz   not null,
  recorded_by       text          not null,
  constraint table_changes_pkey primary key (id),
  constraint table_changes_operation_is_known check (operation::text = any (array[
    'TRACK'::text, 'SNAPSHOT'::text, 'INSERT'::text, 'UPDATE'::text, 'DELETE'::text, 'TRUNCATE'::text,
    'UNTRACK'::text])),
  constraint table_changes_key_fits_operation check ((key is null) = (operation::text = any (array[
    'TRACK'::text, 'TRUNCATE'::text, 'UNTRACK'::text])))
);
comment on table  table_changes                  is
  'The history of the tracked tables: each change of a row of theirs. Append-only and chained.';
comment on column table_changes.id               is 'Position in the chain.';
comment on column table_changes.table_name       is 'The tracked table, as schema.table.';
comment on column table_changes.operation        is
  'TRACK, SNAPSHOT (a row that was there then), INSERT, UPDATE, DELETE, TRUNCATE or UNTRACK.';
comment on column table_changes.key              is
  'The primary key of the row, each value as text. Null for an entry about the table.';
comment on column table_changes.other_key        is
  'For an UPDATE that changed the key: the key to which the row left, or from which it came.';
comment on column table_changes.old_row          is
  'The row as it left, each value as text; of an excluded column its SHA-256. Null if none left.';
comment on column table_changes.new_row          is
  'The row as it came, each value as text; of an excluded column its SHA-256. Null if none came. For TRACK: key, '
  'exclude, columns, and in how many places a table that was tracked before did not hold what its history said.';
comment on column table_changes.changed_columns  is 'For an UPDATE: the columns that it changed.';
comment on column table_changes.acting_role      is 'The role that SET ROLE chose, or the login.';
comment on column table_changes.application_name is 'What the client calls itself.';
comment on column table_changes.client_address   is 'The client''s address; null for a local socket.';
comment on column table_changes.transaction_id   is 'The transaction; entries of one stand together.';
comment on column table_changes.row_hash         is 'SHA-256 of the previous row_hash and this row.';
comment on column table_changes.created_at       is 'When the entry was made; never before the one before it.';
comment on column table_changes.recorded_by      is 'The login that changed the row.';
-- By a hash, because a key may be longer than an index entry.
create index table_changes_key_idx on table_changes (table_name, jsonb_hash(key), id);
create index table_changes_beginning_idx on table_changes (table_name, id)
where operation::text = any (array['TRACK'::text, 'TRUNCATE'::text, 'UNTRACK'::text]);
comment on index table_changes_key_idx is 'Finds the history of a row.';
comment on index table_changes_beginning_idx is 'Finds what a replay begins with.';
perform _chain_attach('table_changes'), _protect_table('table_changes', 'AUD-013', 'AUD-014'),
       _owner_only('table_changes', 'AUD-011');
-- An entry may hold a row twice, as it was and as it is: as long as a chain can take.
update only chains as c set row_limit = 134217728 where c.table_name = 'table_changes';
perform _chain_generate('table_changes');
perform _count_attempts('AUD-012', 'table_changes', 'INSERT'), _count_attempts('AUD-015', 'table_changes', o.name)
from unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) as o(name);
perform _grant('select on', '{table_changes}', '{app_auditor}');

-- sql/15_history/printing.sql

-- How a row of a tracked table is printed
--
-- As jsonb with each value as its text, so that nothing of it is lost: 1.50 stays 1.50, and a cast to the column's type
-- gives the value back. Of an excluded column it is the SHA-256 of that text. NULL is null.
--
-- The text must not depend on settings, and no code of the table's owner may run while it is made, because it is made
-- with the rights of alpha_owner. So a type of PostgreSQL's own is cast, and everything else goes through its output
-- function, which format() calls: a cast may be anybody's function. Times are printed as JSON has them, in UTC, which
-- needs no setting.

create function _qualified_name(schema_name text, table_name text) returns text
language sql immutable strict
set search_path from current
as $function$
  -- Not quote_ident, whose answer changes with a setting, and with the keywords of a newer PostgreSQL.
  select string_agg(case when p.name ~ '^[a-z_][a-z0-9_]*$' then p.name
                         else '"' || replace(p.name, '"', '""') || '"' end, '.' order by p.place)
  from (values (1, schema_name), (2, table_name)) as p(place, name);
$function$;
comment on function _qualified_name is 'The name under which a table''s history is kept: schema.table.';
create function _printed_columns(relation regclass)
returns table (column_name text, type_name text, is_plain boolean, place bigint)
language sql stable
set search_path from current
set quote_all_identifiers = off
as $function$
  with recursive columns as (
    -- A virtual column is computed when it is read: it has no value of its own.
    select a.attnum, a.attname, a.atttypid
    from pg_attribute as a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
  ), unwrapped as (
    select c.attnum, c.atttypid as type_oid from columns as c
    union all
    select u.attnum, t.typbasetype
    from unwrapped as u join pg_type as t on t.oid = u.type_oid and t.typtype = 'd'
  )
  select c.attname::text, format_type(t.oid, null),
         t.typnamespace = 'pg_catalog'::regnamespace
         and t.typname in ('int2', 'int4', 'int8', 'numeric', 'bool', 'text', 'varchar', 'uuid', 'json', 'jsonb',
                           'date', 'timestamp', 'timestamptz'),
         row_number() over (order by c.attnum)
  from columns as c
  join unwrapped as u on u.attnum = c.attnum
  join pg_type as t on t.oid = u.type_oid and t.typtype <> 'd'
  order by c.attnum;
$function$;
comment on function _printed_columns is
  'The columns that a history records: the type below all domains, and whether its text depends on no setting.';
create function _has_columns(relation regclass, known_columns text[]) returns boolean
language sql immutable  -- although it reads catalogues: as _has_known_types, with the same reason
set search_path from current
as $function$
  select array(select p.column_name || ' ' || p.type_name from _printed_columns(relation) as p order by p.place)
         = known_columns;
$function$;
comment on function _has_columns is 'Whether a tracked table still has the columns that its trigger was made for.';
create function _row_sql(relation regclass, variable text, exclude text[]) returns text
language sql stable
set search_path from current
as $function$
  select format('jsonb_object(%L::text[], array[%s]::text[])', array_agg(p.column_name order by p.place),
                string_agg(case when p.column_name = any (exclude) then format('_sha256_text(%s)', t.printed)
                                else t.printed end, ', ' order by p.place))
  from _printed_columns(relation) as p
  cross join lateral (select format('%s.%I', variable, p.column_name) as value) as v
  cross join lateral (select case
    when not p.is_plain then format($$case when num_nonnulls(%1$s) = 1 then format('%%s', %1$s) end$$, v.value)
    when p.type_name = 'timestamp with time zone' then format($$_utc_json(%s) #>> '{}'$$, v.value)
    when p.type_name ~ '^(date|timestamp)' then format($$to_json(%s) #>> '{}'$$, v.value)
    else v.value || '::text' end as printed) as t;
$function$;
comment on function _row_sql is
  'Text of the expression that prints a row. Where a column is not plain, run it with the settings of _print_row.';
create function _sha256_text(value text) returns text
language sql immutable strict
set search_path from current
as $function$
  select 'sha256:' || encode(sha256(convert_to(value, 'UTF8')), 'hex');
$function$;
comment on function _sha256_text is 'What is recorded of an excluded column: the SHA-256 of its text.';
create function _print_row(value anyelement, relation regclass, exclude text[]) returns jsonb
language plpgsql stable
set search_path from current
set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'postgres' set bytea_output = 'hex'
set extra_float_digits = 1 set lc_monetary = 'C'
as $function$
declare
  printed  jsonb;
begin
  execute 'select ' || _row_sql(relation, '($1)', exclude) into printed using value;
  return printed;
end
$function$;
comment on function _print_row is
  'A row of a table, printed for its history; slower than the expression that _row_sql gives, because it is planned '
  'each time.';

-- sql/15_history/trigger.sql

-- The triggers of a tracked table
--
--   _000_alpha_history           after each row: records it
--   _000_alpha_history_lock      before a statement: takes the chain's lock, before the statement touches a row
--   _000_alpha_history_truncate  before a TRUNCATE: records it
--
-- All are ENABLE ALWAYS. Their names sort first, so that a change that another AFTER trigger makes comes later. Nobody
-- but alpha_owner may execute their functions, and PostgreSQL asks for that right when a trigger is made: so nobody can
-- attach them to a table of his own. The row trigger's function is written for the table, because a function that fits
-- any table would need dynamic SQL for each row; it does only until the next track_table, once a column was added.

create function _take_history_lock() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  lock table only lock_table_changes in share update exclusive mode;
  return null;
end
$function$;
comment on function _take_history_lock is
  'Statement trigger of a tracked table: takes the lock of the history''s chain, before a row is locked.';
create function _refuse_renamed(recorded_name text, relation_name text, operation text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-015', format('%s was renamed or moved, so its history does not go on', recorded_name),
    format('The table is %s now.', relation_name),
    format('Rename it back; or call untrack_table(%L), and track_table for the new name.', recorded_name),
    'table_changes', operation);
end
$function$;
comment on function _refuse_renamed is 'Raises AUD-015: a tracked table has another name than its history.';
create function _refuse_unchained(recorded_name text, operation text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-015', format('%s is tracked, so nothing may change it as a replica', recorded_name),
    'session_replication_role is replica, so the history could not be chained.',
    format('Set session_replication_role to origin. On a subscriber, call untrack_table(%L).', recorded_name),
    'table_changes', operation);
end
$function$;
comment on function _refuse_unchained is
  'Raises AUD-015: a tracked table would change while session_replication_role is replica.';
create function _record_change(
  table_name text, operation text, old_key jsonb, new_key jsonb, old_row jsonb, new_row jsonb
) returns void
language plpgsql
set search_path from current
as $function$
declare
  role_name  text := coalesce(nullif(current_setting('role'), 'none'), session_user);
  changed    text[];
begin
  if current_setting('session_replication_role') = 'replica' then
    perform _refuse_unchained(table_name, operation);
  end if;
  if operation = 'UPDATE' then
    if old_row = new_row then
      return;
    end if;
    changed := array(select n.key from jsonb_each(new_row) as n where n.value is distinct from old_row -> n.key);
    if old_key <> new_key then
      insert into table_changes (table_name, operation, key, other_key, old_row, changed_columns, acting_role,
                                 application_name, client_address, transaction_id)
      values (_record_change.table_name, _record_change.operation, old_key, new_key, _record_change.old_row, changed,
              role_name, current_setting('application_name'), inet_client_addr(), txid_current());
      insert into table_changes (table_name, operation, key, other_key, new_row, changed_columns, acting_role,
                                 application_name, client_address, transaction_id)
      values (_record_change.table_name, _record_change.operation, new_key, old_key, _record_change.new_row, changed,
              role_name, current_setting('application_name'), inet_client_addr(), txid_current());
      return;
    end if;
  end if;
  insert into table_changes (table_name, operation, key, old_row, new_row, changed_columns, acting_role,
                             application_name, client_address, transaction_id)
  values (_record_change.table_name, _record_change.operation, coalesce(new_key, old_key), _record_change.old_row,
          _record_change.new_row, changed, role_name, current_setting('application_name'), inet_client_addr(),
          txid_current());
end
$function$;
comment on function _record_change is
  'Records a change in table_changes. The caller runs as the owner. Raises AUD-015 while session_replication_role is '
  'replica, when the entry could not be chained.';
create function _record_truncate() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if _qualified_name(tg_table_schema, tg_table_name) <> tg_argv[0] then
    perform _refuse_renamed(tg_argv[0], _qualified_name(tg_table_schema, tg_table_name), tg_op);
  end if;
  perform _record_change(tg_argv[0], tg_op, null, null, null, null);
  return null;
end
$function$;
comment on function _record_truncate is 'Statement trigger of a tracked table: records a TRUNCATE. Argument: the name.';
create function _history_function(table_name text) returns text
language sql immutable strict
set search_path from current
as $function$
  -- The name of a table may be as long as that of a function.
  select '_history_' || left(encode(sha256(convert_to(table_name, 'UTF8')), 'hex'), 16);
$function$;
comment on function _history_function is 'Name of the row trigger''s function of a tracked table.';
create function _history_generate(
  table_name text, relation regclass, key_columns text[], exclude text[]
) returns void
language plpgsql
set search_path from current
as $function$
declare
  name   record;
  shape  record;
begin
  select n.nspname, c.relname into name
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation;
  select array_agg(p.column_name || ' ' || p.type_name order by p.place)::text as columns,
         case when bool_and(p.is_plain) then '' else
           E'set timezone = ''UTC'' set datestyle = ''ISO'' set intervalstyle = ''postgres''\n'
           'set bytea_output = ''hex'' set extra_float_digits = 1 set lc_monetary = ''C''\n' end as settings,
         (select format('jsonb_build_object(%s)',
                        string_agg(format('%1$L, old_row -> %1$L', k.name), ', ' order by k.place))
          from unnest(key_columns) with ordinality as k(name, place)) as old_key,
         (select format('jsonb_build_object(%s)',
                        string_agg(format('%1$L, new_row -> %1$L', k.name), ', ' order by k.place))
          from unnest(key_columns) with ordinality as k(name, place)) as new_key
    into shape
  from _printed_columns(relation) as p;
  execute _fill($template$
create or replace function {function:I}() returns trigger
language plpgsql security definer
set search_path = {home:I}, pg_temp
{settings:s}as {quote:s}
declare
  old_row  jsonb;
  new_row  jsonb;
begin
  if tg_table_schema <> {schema:L} or tg_table_name <> {table:L} then
    perform _refuse_renamed({name:L}, _qualified_name(tg_table_schema, tg_table_name), tg_op);
  end if;
  if _has_columns({relation:L}::regclass, {columns:L}) then
    if tg_op <> 'INSERT' then
      old_row := {old_row:s};
    end if;
    if tg_op <> 'DELETE' then
      new_row := {new_row:s};
    end if;
  else
    if tg_op <> 'INSERT' then
      old_row := _print_row(old, tg_relid, {exclude:L});
    end if;
    if tg_op <> 'DELETE' then
      new_row := _print_row(new, tg_relid, {exclude:L});
    end if;
  end if;
  perform _record_change({name:L}, tg_op,
                         case when old_row is not null then {old_key:s} end,
                         case when new_row is not null then {new_key:s} end, old_row, new_row);
  return null;
end
{quote:s};
comment on function {function:I}() is {comment:L};
revoke all on function {function:I}() from public
$template$,
    -- Nobody can give a column a name that ends the function's text.
    'quote', format('$q%s$', replace(gen_random_uuid()::text, '-', '')),
    'function', _history_function(table_name), 'home', current_schema(), 'settings', shape.settings,
    'schema', name.nspname, 'table', name.relname, 'name', table_name,
    'relation', format('%I.%I', name.nspname, name.relname), 'columns', shape.columns, 'exclude', exclude::text,
    'old_row', _row_sql(relation, 'old', exclude), 'new_row', _row_sql(relation, 'new', exclude),
    'old_key', shape.old_key, 'new_key', shape.new_key,
    'comment', format('Row trigger of %s: records each change in table_changes. Made by _history_generate.',
                      table_name));
end
$function$;
comment on function _history_generate is
  'Writes the function of the row trigger of a tracked table, for the columns that it has now.';

-- sql/15_history/replay.sql

-- Which tables are tracked, and what their history says that they hold
--
-- No register says what is tracked: the last TRACK or UNTRACK entry does.
--
-- What a table holds follows from its entries since it was tracked last, or emptied: each says which row left a key,
-- and which one came. A key holds a row if more came than left. Which one? Normally the last that came. But a deferred
-- primary key lets two rows share a key until the transaction ends, and then it is the one that did not leave again. So
-- rows are counted, and the order of the entries matters only where that is not enough. This is one query, with no loop
-- over rows.
--
-- A row that left without having come was changed behind the triggers' back before. The count shows that, too.

create type tracked_table as (
  table_name   text,
  since        bigint,
  key_columns  text[],
  exclude      text[],
  columns      jsonb
);
comment on type tracked_table is 'A table that is tracked, as its last TRACK entry says.';
comment on column tracked_table.table_name  is 'The name under which its history is kept.';
comment on column tracked_table.since       is 'The entry that says so: older ones do not matter for what it holds.';
comment on column tracked_table.key_columns is 'The columns of its primary key.';
comment on column tracked_table.exclude     is 'The columns of which only the SHA-256 is recorded.';
comment on column tracked_table.columns     is 'Its columns then: {column: type}.';
create function _tracked_tables() returns setof tracked_table
language sql stable
set search_path from current
set row_security = off
as $function$
  select t.table_name, t.id,
         array(select k.value from jsonb_array_elements_text(t.new_row -> 'key') with ordinality as k(value, place)
               order by k.place),
         array(select e.value from jsonb_array_elements_text(t.new_row -> 'exclude') as e),
         t.new_row -> 'columns'
  from (select distinct on (c.table_name) c.table_name::text, c.id, c.operation, c.new_row
        from only table_changes as c
        where c.operation in ('TRACK', 'UNTRACK')
        order by c.table_name, c.id desc) as t
  where t.operation = 'TRACK'
  order by t.table_name collate "C";
$function$;
comment on function _tracked_tables is 'The tables that are tracked now.';
create function _history_needed_from() returns bigint
language sql stable
set search_path from current
as $function$
  select min(t.since) from _tracked_tables() as t;
$function$;
comment on function _history_needed_from is
  'The first entry of table_changes that a tracked table still needs; null if none is tracked. Retention asks it.';
create function _history_name(name text) returns text
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  parts    text[];
  matches  text[];
begin
  begin
    parts := parse_ident(name);
  exception when invalid_parameter_value then
    parts := null;
  end;
  if cardinality(parts) = 2 then
    matches := array(select _qualified_name(parts[1], parts[2])
                   where exists (select from only table_changes as c
                                 where c.table_name = _qualified_name(parts[1], parts[2])));
  elsif cardinality(parts) = 1 then
    matches := array(select distinct c.table_name::text from only table_changes as c
                   where c.operation in ('TRACK', 'TRUNCATE', 'UNTRACK')
                     and (parse_ident(c.table_name))[2] = parts[1]);
  end if;
  if cardinality(matches) is distinct from 1 then
    raise exception '% has no history', coalesce(name, 'NULL')
      using errcode = '42P01', table = coalesce(name, 'NULL'),
            hint = coalesce(
              'Name one of these, with its schema: '
              || (select string_agg(t.table_name, ', ') from _tracked_tables() as t) || '.',
              'No table is tracked. Begin with select track_table(''schema.table'').');
  end if;
  return matches[1];
end
$function$;
comment on function _history_name is
  'The name under which table_changes has a table, which may be gone; raises 42P01 if it has no history. A name '
  'without a schema does if only one fits.';
create function _tracked_or_error(name text) returns text
language plpgsql stable
set search_path from current
as $function$
declare
  known  text := _history_name(name);
begin
  if not exists (select from _tracked_tables() as t where t.table_name = known) then
    raise exception '% is not tracked any more', known
      using errcode = '42P01', table = known,
            hint = 'Begin again with select track_table(…). Its history can still be read.';
  end if;
  return known;
end
$function$;
comment on function _tracked_or_error is 'As _history_name; raises 42P01 for a table that is not tracked now, too.';
create function _replayed(table_name text, after_id bigint, through_id bigint, without text[])
returns table (key jsonb, entry_id bigint, row_data jsonb, is_there boolean, is_contradicted boolean)
language sql stable
set search_path from current
set row_security = off
as $function$
  with entries as (
    select c.id, c.key, m.sign, jsonb_strip_nulls(m.row_data) - without as row_data
    from only table_changes as c
    cross join lateral (values (1, c.new_row), (-1, c.old_row)) as m(sign, row_data)
    where c.table_name = _replayed.table_name and c.id > after_id and c.id <= through_id
      and c.key is not null and m.row_data is not null
  ), contents as (
    select e.key, e.row_data, sum(e.sign) as net, max(e.id) filter (where e.sign = 1) as entry_id, max(e.id) as last_id
    from entries as e
    group by e.key, e.row_data
  )
  select distinct on (c.key) c.key, coalesce(c.entry_id, c.last_id), c.row_data, sum(c.net) over k > 0,
         sum(c.net) over k not in (0, 1) or min(c.net) over k < 0
  from contents as c
  window k as (partition by c.key)
  order by c.key, c.net > 0 desc, c.entry_id desc nulls last;
$function$;
comment on function _replayed is
  'What a table held after an entry of table_changes, by those between: for each key the entry by which its row came, '
  'the row without nulls and without some columns, whether the key holds a row, and whether entries contradict each '
  'other.';
create function _complete_entry(moment timestamptz) returns bigint
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  low      bigint;
  high     bigint;
  probe    record;
  writer   bigint;
begin
  select coalesce(min(c.id), 1) - 1, coalesce(max(c.id), 0) into low, high from only table_changes as c;
  while low < high loop  -- the last entry up to that moment: times never decrease
    select c.id, c.created_at into probe from only table_changes as c
    where c.id >= (low + high + 1) / 2 order by c.id limit 1;
    if probe.created_at <= moment then
      low := probe.id;
    else
      high := (low + high + 1) / 2 - 1;
    end if;
  end loop;
  -- Not in the middle of a transaction.
  select c.transaction_id into writer from only table_changes as c where c.id = low;
  select c.transaction_id into probe from only table_changes as c where c.id > low order by c.id limit 1;
  if writer = probe.transaction_id then
    select coalesce(max(c.id), 0) into low from only table_changes as c where c.id < low and c.transaction_id <> writer;
  end if;
  return low;
end
$function$;
comment on function _complete_entry is
  'The last entry of table_changes by a transaction all of whose entries are from that moment or earlier.';

-- sql/15_history/verify.sql

-- Does a tracked table hold what its history says?
--
-- verify_tracked replays the history and compares. History and table are read by one query, so in one snapshot. A
-- change and its entry are committed together, so it sees both or neither, whatever writers do. Before that it takes
-- the lock of a reader on the table, because TRUNCATE and ALTER TABLE do not respect older snapshots; from then on they
-- wait. In REPEATABLE READ the snapshot is older than that lock, so there it compares only if nobody has written a
-- history since.
--
-- The table is read with "tablesample", all of it. A view cannot be, so a view that the table's owner puts in its place
-- at the last moment gives an error (0A000), and runs none of its code with the rights of alpha_owner.
--
-- It looks at the table's columns, its key and its triggers, too. What the triggers' functions say is a guard.

create function _tracking_problems(
  table_name text, relation regclass, key_columns text[], columns jsonb
) returns table (problem text, detail text)
language sql stable
set search_path from current
as $function$
  select 'trigger_changed',
         format('the trigger %s %s', w.tgname, case
           when t.oid is null then 'is gone'
           when t.tgenabled = 'D' then 'is disabled'
           when t.tgenabled <> 'A' then 'is not ENABLE ALWAYS'
           else 'is not the one that track_table made' end)
  from (values ('_000_alpha_history', 29, _history_function(_tracking_problems.table_name), ''),
               ('_000_alpha_history_lock', 30, '_take_history_lock', ''),
               ('_000_alpha_history_truncate', 34, '_record_truncate', _tracking_problems.table_name))
       as w(tgname, tgtype, function_name, argument)
  left join pg_trigger as t on t.tgrelid = relation and t.tgname = w.tgname
  where t.oid is null
     or t.tgenabled <> 'A' or t.tgtype <> w.tgtype or t.tgqual is not null or t.tgattr::text <> '' or t.tgdeferrable
     or t.tgfoid is distinct from to_regprocedure(format('%I.%I()', current_schema(), w.function_name))
     or t.tgargs <> case when w.argument = '' then '' else convert_to(w.argument, 'UTF8') || decode('00', 'hex') end
  union all
  select 'key_changed', format('the primary key is (%s); it was (%s)', array_to_string(k.present, ', '),
                               array_to_string(key_columns, ', '))
  from (select array(select a.attname::text
                     from pg_index as x
                     cross join unnest(x.indkey) with ordinality as k(number, place)
                     join pg_attribute as a on a.attrelid = x.indrelid and a.attnum = k.number
                     where x.indrelid = relation and x.indisprimary and k.place <= x.indnkeyatts
                     order by k.place) as present) as k
  where k.present <> key_columns
  union all
  select 'column_changed',
         case when p.column_name is null then format('the column %s is gone', c.key)
              else format('the column %s is of type %s; it was %s', c.key, p.type_name, c.value) end
  from jsonb_each_text(columns) as c
  left join _printed_columns(relation) as p on p.column_name = c.key
  where p.type_name is distinct from c.value;
$function$;
comment on function _tracking_problems is
  'What is wrong with a tracked table besides its rows: triggers, key, columns. A column that was added is not.';
create function _verify_tracked_table(tracked tracked_table) returns table (
  table_name text, problem text, key jsonb, recorded jsonb, present jsonb, detail text
)
language plpgsql volatile
set search_path from current
set row_security = off
set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'postgres' set bytea_output = 'hex'
set extra_float_digits = 1 set lc_monetary = 'C'
as $function$
#variable_conflict use_column
declare
  relation  regclass := to_regclass(tracked.table_name);
  place     record;
  lost      text[];
begin
  select n.nspname, c.relname into place
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = relation and c.relkind = 'r';
  if not found then
    return query select tracked.table_name, 'table_gone', null::jsonb, null::jsonb, null::jsonb,
                        'the table was dropped, renamed or moved to another schema';
    return;
  end if;
  return query select tracked.table_name, p.problem, null::jsonb, null::jsonb, null::jsonb, p.detail
               from _tracking_problems(tracked.table_name, relation, tracked.key_columns, tracked.columns) as p;
  if found and not has_table_privilege(relation, 'select') then
    return;  -- another table, perhaps
  end if;
  execute format('lock table only %I.%I in access share mode', place.nspname, place.relname);
  if current_setting('transaction_isolation') <> 'read committed'
     -- A standby cannot read the mark, and a crash or a promotion sets it back. What is compared agrees in a snapshot
     -- unless the table was truncated or rewritten since: then its file is another one than that snapshot's pg_class
     -- has.
     and coalesce(not _snapshot_sees(pg_sequence_last_value('writer_table_changes'::regclass)),
                  pg_relation_filenode(relation) is distinct from
                  (select c.relfilenode from pg_class as c where c.oid = relation)) then
    raise exception 'a history has grown since this transaction''s snapshot'
      using errcode = '40001', hint = 'Compare in READ COMMITTED, or run the transaction again.';
  end if;
  lost := array(select c.key from jsonb_object_keys(tracked.columns) as c(key)
                where c.key not in (select p.column_name from _printed_columns(relation) as p));
  if lost && tracked.key_columns then
    return;  -- no row has a key that could be compared
  end if;
  return query execute _fill($query$
    with
    recorded as materialized (
      select r.key, r.entry_id, r.row_data, r.is_there, r.is_contradicted
      from _replayed($1, (select max(c.id) from only table_changes as c
                          where c.table_name = $1 and c.operation in ('TRACK', 'TRUNCATE', 'UNTRACK')),
                     9223372036854775807, $2) as r
    ), present as materialized (
      select (select jsonb_object_agg(k.name, t.printed -> k.name) from unnest($3) as k(name)) as key,
             jsonb_strip_nulls(t.printed) as row_data
      from (select {printed:s} as printed from only {schema:I}.{table:I} as t tablesample system (100) offset 0) as t
    )
    select $1, d.problem, coalesce(r.key, p.key), case when r.is_there then r.row_data end, p.row_data,
           case d.problem
             when 'missing_row' then format('entry %s says that it is there', r.entry_id)
             when 'extra_row' then 'no entry says that it came'
             when 'changed_row' then format('it is not as entry %s says', r.entry_id)
             else 'entries contradict each other: it was changed before without an entry' end
    from recorded as r
    full join present as p on p.key = r.key
    cross join lateral (select case
      when p.key is null and r.is_there then 'missing_row'
      when p.key is not null and r.is_there is not true then 'extra_row'
      when p.row_data <> r.row_data then 'changed_row'
      when r.is_contradicted then 'unrecorded_change' end as problem) as d
    where d.problem is not null
    order by coalesce(r.key, p.key)
    $query$, 'printed', _row_sql(relation, 't', tracked.exclude), 'schema', place.nspname, 'table', place.relname)
    using tracked.table_name, lost, tracked.key_columns;
end
$function$;
comment on function _verify_tracked_table is
  'Compares one tracked table, a row of _tracked_tables, with its history; columns as in verify_tracked. Raises 40001 '
  'if it cannot in this transaction''s snapshot.';
create function verify_tracked("table" text default null)
returns table (table_name text, problem text, key jsonb, recorded jsonb, present jsonb, detail text)
language plpgsql volatile security definer
set search_path from current
as $function$
#variable_conflict use_column
declare
  name     text;
  tracked  tracked_table;
begin
  if "table" is not null then
    name := _tracked_or_error("table");
  end if;
  for tracked in select t.* from _tracked_tables() as t where name is null or t.table_name = name loop
    return query select v.* from _verify_tracked_table(tracked) as v;
  end loop;
end
$function$;
comment on function verify_tracked is
  'Compares tracked tables, or one, with their history: a row for each difference, so none if they hold what it says. '
  'problem is missing_row, extra_row, changed_row, unrecorded_change, trigger_changed, key_changed, column_changed or '
  'table_gone. Raises 42P01 for a table that is not tracked, and 42501 for one that may not be read.';
create function _compare_with_histories(result chain_verdict) returns chain_verdict
language plpgsql volatile
set search_path from current
set lock_timeout = '5s'  -- the owner of a table must not hold up the verdicts on all chains
as $function$
declare
  tracked     tracked_table;
  differs     record;
  mismatch    text;
  unreadable  text;
begin
  -- Each for itself: one that cannot be read must not hide another that differs.
  for tracked in select t.* from _tracked_tables() as t loop
    begin
      select count(*) as number,
             (array_agg(concat_ws(' ', v.problem, v.key::text) || ': ' || v.detail))[1] as first into differs
      from _verify_tracked_table(tracked) as v;
      if differs.number > 0 then
        mismatch := concat_ws('; ', mismatch, format('%s differs from its history in %s places, first %s',
                                               tracked.table_name, differs.number, differs.first));
      end if;
    exception when others then
      unreadable := concat_ws('; ', unreadable, format('%s could not be compared with its history: %s (%s)',
                                                       tracked.table_name, sqlerrm, sqlstate));
    end;
  end loop;
  if mismatch is not null then
    return _with_verdict(result, 'history_mismatch', concat_ws('; ', mismatch, unreadable), 'AUD-015');
  elsif unreadable is not null then
    return _with_verdict(result, 'not_run', unreadable);
  end if;
  return result;
end
$function$;
comment on function _compare_with_histories is
  'Turns a good verdict on table_changes into history_mismatch (AUD-015) if a tracked table does not hold what its '
  'history says, and into not_run if one cannot be compared.';
perform _grant('execute on routine', '{verify_tracked}', '{app_auditor}');

-- sql/15_history/track.sql

-- Beginning and ending the history of a table
--
-- track_table and untrack_table run with the caller's rights, because only the owner of a table may give it triggers,
-- and alpha_owner is not that. What needs the rights of alpha_owner (the trigger's function, the entries) is in
-- functions that nobody else may execute. So both may only be called by a login that owns the table and is a member of
-- alpha_owner, or by a superuser.
--
-- A tracked table gets a function of its own, which is a guard. So both compare the guards before, and record them
-- after, as a migration does.

create function _refuse_untrackable(relation regclass) returns void
language plpgsql stable
set search_path from current
as $function$
declare
  item    record;
  reason  text;
  cure    text := 'Track an ordinary table with a primary key.';
begin
  select c.oid, c.relkind, c.relpersistence, c.relowner, c.relrowsecurity, n.nspname, c.relname,
         _qualified_name(n.nspname, c.relname) as name,
         (select e.extname from pg_depend as d join pg_extension as e on e.oid = d.refobjid
          where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_extension'::regclass
            and d.deptype = 'e' limit 1) as extension,
         (select k.what from _kept_elsewhere() as k where k.oid = c.oid limit 1) as kept_as
    into item
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation;
  if not found then
    raise exception 'there is no such table'
      using errcode = '42P01', table = coalesce(relation::text, 'NULL'),
            hint = 'Name one with its schema: ''schema.table''.';
  end if;
  case
    when item.nspname in ('pg_catalog', 'information_schema', 'pg_toast') then
      reason := 'is a table of PostgreSQL itself';
    when item.relkind = 'p' then
      reason := 'is partitioned';
      cure := 'Track each of its partitions: rows are stored there, and each can be emptied or detached by itself.';
    when item.relkind <> 'r' then
      reason := 'is ' || case item.relkind when 'v' then 'a view' when 'm' then 'a materialized view'
                                            when 'f' then 'a foreign table' else 'no table' end;
      cure := 'Track the table that the rows are stored in.';
    when item.relpersistence = 't' then
      reason := 'is temporary, and ends with its session';
    when item.relpersistence = 'u' then
      reason := 'is unlogged: a crash would empty it';
      cure := format('alter table %s set logged', item.name);
    when item.extension is not null then
      reason := format('belongs to the extension %s', item.extension);
    when item.kept_as is not null then
      reason := 'is ' || item.kept_as;
      cure := 'Track an ordinary table: the rows of this one change without its triggers.';
    when item.relowner = (select c.relowner from pg_class as c where c.oid = 'table_changes'::regclass) then
      reason := 'belongs to alpha-db';
      cure := 'Its own chain is its history: select * from chain_rows(…).';
    when item.relrowsecurity then
      reason := 'has row-level security, which would hide rows from the comparison';
      cure := format('alter table %s disable row level security', item.name);
    when not exists (select from pg_index as x where x.indrelid = relation and x.indisprimary and x.indisvalid) then
      reason := 'has no primary key';
      cure := 'A history says which row changed. Give the table a primary key.';
    when exists (select from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
                 join pg_namespace as n on n.oid = p.pronamespace
                 where t.tgrelid = relation and t.tgname = '_000_alpha_history' and n.nspname <> current_schema()) then
      reason := 'is tracked by the installation of another schema';
      cure := 'Let one installation keep its history.';
    else
      return;
  end case;
  raise exception '% % and cannot be tracked', item.name, reason
    using errcode = '42809', table = item.name, hint = cure;
end
$function$;
comment on function _refuse_untrackable is 'Raises 42809, with a reason and a hint, for what cannot be tracked.';
create function _begin_tracking(
  table_name text, relation regclass, key_columns text[], exclude text[]
) returns text[]
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  excluded  text[] := coalesce(exclude, (select t.exclude from _tracked_tables() as t
                                         where t.table_name = _begin_tracking.table_name), '{}');
  missing   text;
  previous  text := coalesce(current_setting('alpha.maintenance', true), '');
begin
  lock table only lock_migrations in share update exclusive mode;
  perform _require_guards(format('%s cannot be tracked', table_name));
  select e.name into missing from unnest(excluded) as e(name)
  where e.name is null or e.name not in (select p.column_name from _printed_columns(relation) as p);
  if found then
    raise exception '% has no column % to exclude', table_name, coalesce(quote_ident(missing), 'NULL')
      using errcode = '42703', table = table_name, hint = 'Give the names of columns as they are: array[''pin''].';
  elsif excluded && key_columns then
    raise exception 'a column of the key of % cannot be excluded', table_name
      using errcode = '22023', table = table_name,
            hint = 'The history names each row by its key. Give the table a key without a secret.';
  end if;
  -- A reason for the DDL guard, which records it.
  perform set_config('alpha.maintenance', format('track_table: %s', table_name), true);
  perform _history_generate(table_name, relation, key_columns, excluded);
  perform set_config('alpha.maintenance', previous, true);
  return excluded;
end
$function$;
comment on function _begin_tracking is
  'Makes the row trigger''s function of a table that track_table begins to track, and returns the columns that are '
  'excluded.';
create function _take_snapshot(
  table_name text, relation regclass, key_columns text[], exclude text[], differences bigint
) returns bigint
language plpgsql security definer
set search_path from current
set row_security = off
set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'postgres' set bytea_output = 'hex'
set extra_float_digits = 1 set lc_monetary = 'C'
as $function$
declare
  row_count  bigint;
  role_name  text := coalesce(nullif(current_setting('role'), 'none'), session_user);
begin
  insert into table_changes (table_name, operation, new_row, acting_role, application_name, client_address,
                             transaction_id)
  select _take_snapshot.table_name, 'TRACK',
         jsonb_build_object('key', key_columns, 'exclude', exclude, 'differences', differences,
                            'columns', (select jsonb_object_agg(p.column_name, p.type_name)
                                        from _printed_columns(relation) as p)),
         role_name, current_setting('application_name'), inet_client_addr(), txid_current();
  execute _fill($insert$
    insert into table_changes (table_name, operation, key, new_row, acting_role, application_name, client_address,
                               transaction_id)
    select {name:L}, 'SNAPSHOT', (select jsonb_object_agg(k.name, s.printed -> k.name) from unnest($1) as k(name)),
           s.printed, $2, current_setting('application_name'), inet_client_addr(), txid_current()
    from (select {printed:s} as printed from only {relation:s} as t tablesample system (100) offset 0) as s
    $insert$, 'name', table_name, 'printed', _row_sql(relation, 't', exclude), 'relation', relation::text)
    using key_columns, role_name;
  get diagnostics row_count = row_count;
  perform record_guards(format('track_table: %s', table_name));
  return row_count;
end
$function$;
comment on function _take_snapshot is
  'Records that a table is tracked, and each row that is there; returns how many. Records the guards, too.';
create function track_table("table" regclass, exclude text[] default null) returns bigint
language plpgsql
set search_path from current
as $function$
#variable_conflict use_column
declare
  relation     regclass := "table";
  item         record;
  excluded     text[];
  differences  bigint;
begin
  perform _refuse_citus(), _refuse_untrackable(relation), _require_primary('track_table');
  select n.nspname, c.relname, _qualified_name(n.nspname, c.relname) as name,
         format('%I.%I', n.nspname, c.relname) as sql,
         array(select a.attname::text
               from pg_index as x
               cross join unnest(x.indkey) with ordinality as k(number, place)
               join pg_attribute as a on a.attrelid = x.indrelid and a.attnum = k.number
               where x.indrelid = c.oid and x.indisprimary and k.place <= x.indnkeyatts order by k.place) as key
    into item
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation;
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'track_table runs in READ COMMITTED only'
      using errcode = '25001', table = item.name, detail = 'An older snapshot might not show rows that are there.',
            hint = 'Begin with: begin isolation level read committed.';
  end if;
  execute format('grant select on table %I.%I to %I', item.nspname, item.relname, _owner_role());
  if not has_schema_privilege(_owner_role(), item.nspname, 'usage') then
    execute format('grant usage on schema %I to %I', item.nspname, _owner_role());
  end if;
  if not has_schema_privilege(_owner_role(), item.nspname, 'usage') then
    raise exception '% may not use the schema %', _owner_role(), item.nspname
      using errcode = '42501', hint = format('Let its owner run: grant usage on schema %I to %I', item.nspname,
                                             _owner_role());
  end if;
  -- No writer until the end of the transaction: what is taken in is what the triggers then follow.
  execute format('lock table only %I.%I in share row exclusive mode', item.nspname, item.relname);
  if to_regclass(item.sql) is distinct from relation then
    raise exception '% was renamed meanwhile', item.name using errcode = '40001', hint = 'Call track_table again.';
  end if;
  differences := (select count(*) from verify_tracked(item.name)
                  where exists (select from _tracked_tables() as t where t.table_name = item.name));
  excluded := _begin_tracking(item.name, relation, item.key, exclude);
  execute _fill($create$
    create or replace trigger _000_alpha_history after insert or update or delete on {table:s}
      for each row execute function {home:I}.{function:I}();
    create or replace trigger _000_alpha_history_lock before insert or update or delete on {table:s}
      for each statement execute function {home:I}._take_history_lock();
    create or replace trigger _000_alpha_history_truncate before truncate on {table:s}
      for each statement execute function {home:I}._record_truncate({name:L});
    comment on trigger _000_alpha_history on {table:s} is
      'Records each change in the history that alpha-db keeps of this table.';
    comment on trigger _000_alpha_history_lock on {table:s} is
      'Lets one transaction at a time write the history, before it locks rows.';
    comment on trigger _000_alpha_history_truncate on {table:s} is
      'Records TRUNCATE in the history that alpha-db keeps of this table.';
    alter table only {table:s} enable always trigger _000_alpha_history,
      enable always trigger _000_alpha_history_lock, enable always trigger _000_alpha_history_truncate;
    $create$, 'table', item.sql, 'home', current_schema(), 'function', _history_function(item.name),
    'name', item.name);
  return _take_snapshot(item.name, relation, item.key, excluded, differences);
end
$function$;
comment on function track_table is
  'Keeps a history of a table from now on, in table_changes; returns how many rows it has now. Called again, it makes '
  'a fresh beginning, with the same excluded columns if none are given. Needs a member of alpha_owner who owns the '
  'table.';
create function _end_tracking(table_name text) returns void
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  previous  text := coalesce(current_setting('alpha.maintenance', true), '');
begin
  insert into table_changes (table_name, operation, acting_role, application_name, client_address, transaction_id)
  values (_end_tracking.table_name, 'UNTRACK', coalesce(nullif(current_setting('role'), 'none'), session_user),
          current_setting('application_name'), inet_client_addr(), txid_current());
  perform set_config('alpha.maintenance', format('untrack_table: %s', table_name), true);
  execute format('drop function %I()', _history_function(table_name));
  perform set_config('alpha.maintenance', previous, true);
  perform record_guards(format('untrack_table: %s', table_name));
end
$function$;
comment on function _end_tracking is
  'Records that a table is no longer tracked, drops its trigger''s function, and records the guards.';
create function _require_guards(complaint text) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  problem  text;
begin
  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from verify_guards() as g limit 1;
  if found then
    raise exception 'AUD-011: %, because the guards are not as installed: %', complaint, problem
      using errcode = 'AUD11',
            hint = 'List the changes: select * from verify_guards(). '
                   'Undo them, or accept them: select record_guards(''reason'').';
  end if;
end
$function$;
comment on function _require_guards is 'Raises AUD-011 with a complaint if a guard is not as recorded.';
create function untrack_table("table" text) returns void
language plpgsql
set search_path from current
as $function$
declare
  name   text := _tracked_or_error("table");
  place  record;
begin
  perform _require_primary('untrack_table');
  lock table only lock_migrations in share update exclusive mode;
  perform _require_guards(format('%s cannot be untracked', name));
  -- Wherever they are, if the table has another name now; none if it is gone.
  for place in
    select n.nspname, c.relname, t.tgname
    from pg_trigger as t
    join pg_class as c on c.oid = t.tgrelid
    join pg_namespace as n on n.oid = c.relnamespace
    where t.tgname ~ '^_000_alpha_history'
      and t.tgrelid in (select r.tgrelid from pg_trigger as r
                        where r.tgfoid = to_regprocedure(format('%I.%I()', current_schema(), _history_function(name)))
                        union all select to_regclass(name))
      and exists (select from pg_proc as p
                  where p.oid = t.tgfoid and p.pronamespace = quote_ident(current_schema())::regnamespace)
  loop
    execute format('drop trigger %I on %I.%I', place.tgname, place.nspname, place.relname);
  end loop;
  if to_regclass(name) is not null then
    execute format('revoke select on table %I.%I from %I', (parse_ident(name))[1], (parse_ident(name))[2],
                   _owner_role());
  end if;
  perform _end_tracking(name);
end
$function$;
comment on function untrack_table is
  'Ends the history of a table, which stays readable. Takes the name under which it is kept, because the table may be '
  'gone. Needs a member of alpha_owner who owns the table.';

-- sql/15_history/read.sql

-- Reading a history: one row's, or the whole table as it was

create function table_history("table" text, key text)
returns table (
  id bigint, operation text, old_row jsonb, new_row jsonb, changed_columns text[], other_key jsonb, recorded_by text,
  acting_role text, application_name text, client_address inet, transaction_id bigint, created_at timestamptz
)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
#variable_conflict use_column
declare
  name         text := _history_name("table");
  key_columns  text[];
  wanted       jsonb;
begin
  -- As the last entry says: a table whose key changes begins a history again.
  select array(select jsonb_object_keys(c.key) order by 1) into key_columns from only table_changes as c
  where c.table_name = name and c.key is not null order by c.id desc limit 1;
  if cardinality(key_columns) = 1 and key !~ '^[[:space:]]*[{]' then
    wanted := jsonb_build_object(key_columns[1], key);
  else
    begin
      select jsonb_object_agg(e.key, e.value) into wanted from jsonb_each_text(key::jsonb) as e;
    exception when others then
      wanted := null;
    end;
    if key_columns is not null
       and array(select jsonb_object_keys(wanted) order by 1) is distinct from key_columns then
      raise exception 'the key of % is (%)', name, array_to_string(key_columns, ', ')
        using errcode = '22023', table = name,
              hint = format('Give it as an object, each value as the history prints it: ''%s''.',
                            (select jsonb_object_agg(k.name, '…') from unnest(key_columns) as k(name)));
    end if;
  end if;
  return query
    select c.id, c.operation::text, c.old_row, c.new_row, c.changed_columns, c.other_key, c.recorded_by,
           c.acting_role::text, c.application_name::text, c.client_address, c.transaction_id, c.created_at
    from only table_changes as c
    where c.table_name = name and jsonb_hash(c.key) = jsonb_hash(wanted) and c.key = wanted
       or c.table_name = name and c.operation = 'TRUNCATE'
    order by c.id;
end
$function$;
comment on function table_history is
  'The history of the row with a key: the value, or an object if the key has several columns, each value as the '
  'history prints it. A TRUNCATE belongs to the history of every row. Raises 42P01 for a table without a history, '
  '22023 for an object that is not its key.';
create function table_as_of("table" text, moment timestamptz) returns setof jsonb
language plpgsql stable security definer
set search_path from current
set row_security = off
set timezone = 'UTC' set datestyle = 'ISO'
as $function$
declare
  name     text := _history_name("table");
  through  bigint := _complete_entry(moment);
  base     record;
begin
  select c.id, c.operation into base from only table_changes as c
  where c.table_name = name and c.id <= through and c.operation in ('TRACK', 'TRUNCATE', 'UNTRACK')
  order by c.id desc limit 1;
  if not found then
    raise exception 'the history of % does not go back to %', name, coalesce(moment::text, 'NULL')
      using errcode = '22023', table = name,
            hint = format('Give a moment from %s on.',
                          (select min(c.created_at) from only table_changes as c
                           where c.table_name = name and c.operation in ('TRACK', 'TRUNCATE', 'UNTRACK')));
  elsif base.operation = 'UNTRACK' then
    raise exception '% was not tracked at %', name, moment
      using errcode = '22023', table = name,
            hint = 'Give a moment at which it was: select * from table_changes.';
  end if;
  return query
    select c.new_row
    from _replayed(name, base.id, through, '{}') as r join only table_changes as c on c.id = r.entry_id
    where r.is_there
    order by r.key;
end
$function$;
comment on function table_as_of is
  'The rows that a tracked table held at a moment, each value as text; whole transactions only: one counts from its '
  'last entry on. Raises 22023 for a moment that the history does not cover, 42P01 for a table without one.';
perform _grant('execute on routine', '{table_history,table_as_of}', '{app_auditor}');

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
           has_table_privilege(c.conrelid, 'select') and has_schema_privilege(r.relnamespace, 'usage')
             and not row_security_active(c.conrelid) as is_readable,
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
    if not key.is_readable and through_id > after_id then
      id := after_id + 1;  -- it may refer to any row
      referrer := format('%s (let %I read all of it)', key.referrer, _owner_role());
      return;
    end if;
    -- "tablesample" fails for a view: one that the table's owner puts in its place meanwhile runs no code here.
    execute _fill($query$
      with is_table as (select from {referrer:s} tablesample system (0))
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
  'row; nulls if none does. A table that the owner role may not read whole is taken to refer to all of them. '
  'archived: what shall be archived besides, {table: through_id}.';

-- sql/16_retention/propose.sql

-- When rows may be archived
--
-- The payload of a proposal of kind "archive" names a segment, {table, through_id, row_hash, root, segment_sha256}, or
-- several of different tables, {segments: […]}, because an applied proposal makes all others stale. What it must look
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
        'Begin its history anew: select track_table(…).');
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
      'If those are archived, too, remove them first.');
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
  perform _require_primary('prune_archived');
  if batch is null or batch not between 256 and 65536 then
    raise exception 'rows are removed 256 to 65,536 at a time, not %', coalesce(batch::text, 'NULL')
      using errcode = '22023', hint = 'Give a number between them. The default is 1024.';
  end if;
  perform _chain_or_error(table_name);
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'rows are removed in READ COMMITTED only'
      using errcode = '25001', detail = 'An older snapshot might not show a legal hold.',
            hint = 'Begin with: begin isolation level read committed.';
  end if;
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
  perform _refuse_held(table_name, start_id);  -- a hold that was approved meanwhile
end
$function$;
comment on function _prune_batch is
  'Removes the next rows of an approved segment, at most batch of them; is_first has the signatures checked. deleted '
  'is 0 when all are gone. start_id is the last row that is removed, through_id the last one that is archived.';
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
  'Removes the rows of a table that approved proposals archived, batch rows (256 to 65,536) in each transaction, until '
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
