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
-- PostgreSQL itself or to alpha_owner: otherwise the owner of a function in a CHECK could become the owner of the log.
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
  order by i.type, i.identity;
$function$;
comment on function _foreign_code is
  'What a table''s checks, defaults, indexes, foreign keys and domains use that belongs neither to PostgreSQL nor to '
  'the owner role, with its owner.';
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
  item       record;
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
  for item in execute _rows_to_take_in_sql(table_name, has_id) loop
    row_count := row_count + 1;
    if item.number <> row_count then
      perform _refuse_to_chain(table_name, array[
        '55000', format('its ids are not 1, 2, 3 without a gap: row %s has the id %s', row_count, item.number),
        format('Rename the column, and the chain adds its own: alter table %I rename id to ….', table_name)]);
    elsif not isfinite(item.created_at) or item.created_at < latest then
      perform _refuse_to_chain(table_name, array[
        '55000', format('created_at of row %s is earlier than that of the row before it, or no time', row_count),
        format('Rename the column, and the chain adds its own: alter table %I rename created_at to ….', table_name)]);
    end if;
    latest := item.created_at;
    link := sha256(link || item.row_bytes);
    places := places || item.place;
    numbers := numbers || item.number;
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
  execute _fill($alter$
    alter table {table:I} alter column row_hash set not null;
    {number:s}
    $alter$, 'table', table_name, 'number', case when has_id then '' else format(
      'alter table %1$I alter column id set not null, add %2$s (id);', table_name,
      case when exists (select from pg_index as i where i.indrelid = quote_ident(table_name)::regclass
                        and i.indisprimary) then 'unique' else 'primary key' end) end);
  return row_count;
end
$function$;
comment on function _take_in_rows is
  'Links the rows that a table holds into its chain, in the order of their numbers; returns how many they are. Raises '
  '55000 for a gap in the ids or a time that goes back.';

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
      using errcode = '42P01',
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
  row_count  bigint;
  counter    text;
begin
  row_count := _take_in_rows(table_name, _add_chain_columns(table_name));
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
      using errcode = '42501',
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
      using errcode = '22023', hint = 'Name a table that chain_table put under the chain.';
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
      using errcode = '42703', hint = format('Its columns are: %s.', array_to_string(columns, ', ')),
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
  'The members of a row that are not null. Raises 22023 for what is no object or is assigned, 42703 for a name that is '
  'no column, AUD-012 for a text that is too long.';
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
           string_agg(format('t.%1$I = r.%1$I', a.attname), ' and ' order by k.place) as condition
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
    retried.stored || jsonb_build_object(retried.key_name, (
      select string_agg(retried.stored ->> k.name, ', ' order by k.place)
      from string_to_table(retried.key_name, ', ') with ordinality as k(name, place))),
    sent);
  return jsonb_build_object('id', retried.stored -> 'id', 'row_hash', retried.stored -> 'row_hash', 'is_new', false);
end
$function$;
comment on function record_row is
  'Writes a row of a table that chain_table put under the chain, from a JSON object with a member for each column, and '
  'returns {id, row_hash, is_new}. A retry by a unique key returns the row that is there. Raises AUD-001, AUD-009, '
  'AUD-010, AUD-012, 22023, 42703, 42P01.';

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

-- sql/16_retention/policies.sql

-- Retention policies: how long the rows of a table are kept before they may be archived
--
-- A policy removes nothing. It says what retention_plan proposes and what growth() reports as overdue. Rows leave only
-- by an approved proposal (propose.sql).

create table retention_policies (
  table_name  text      not null,
  keep        interval  not null,
  constraint retention_policies_pkey primary key (table_name),
  constraint retention_policies_table_name_fkey foreign key (table_name) references chains (table_name),
  constraint retention_policies_keep_is_positive check (keep > interval '0')
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

perform _finish_migration('007_own_tables');
end
$migration$;
