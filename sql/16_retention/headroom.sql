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

select _grant('execute on routine', '{headroom, _ids_left, _sequences_used, _storage_setting, _freezing_due,
                                      _vacuum_due}',
              '{app_auditor}');
