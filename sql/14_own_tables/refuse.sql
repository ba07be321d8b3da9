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
