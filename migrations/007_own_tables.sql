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

-- sql/16_retention/growth.sql

-- How the log grows: how many rows each table has and how large it is, how fast that grows, and what is overdue
--
-- Nothing is counted. Ids have no gap and created_at never decreases, so the first row since a moment is found by
-- halving, in some twenty look-ups by the primary key, and the difference of two ids is a number of rows.
--
-- growth() never fails because of one table: what is gone, locked or unreadable is said in that table's row.

create function _first_id_since(table_name text, moment timestamptz, first_id bigint, last_id bigint) returns bigint
language plpgsql stable
set search_path from current
set enable_seqscan = off set jit = off set row_security = off
as $function$
declare
  low       bigint := first_id;
  high      bigint := last_id + 1;
  middle    bigint;
  is_older  boolean;
begin
  while low < high loop
    middle := low + (high - low) / 2;
    execute format('select t.created_at < $1 from only %I as t where t.id >= $2 order by t.id limit 1', table_name)
      into is_older using moment, middle;
    if is_older then
      low := middle + 1;
    else
      high := middle;
    end if;
  end loop;
  return low;
end
$function$;
comment on function _first_id_since is
  'Id of the first row of a chain that was made at a moment or later, between these two ids; one more than the last if '
  'there is none.';
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
  execute format('select t.id, t.created_at from only %I as t order by t.id limit 1', table_name)
    into oldest_id, oldest_created_at;
  execute format('select t.id from only %I as t order by t.id desc limit 1', table_name) into last_id;
  rows_stored := coalesce(last_id - oldest_id + 1, 0);
  if rows_stored = 0 then
    rows_a_day := 0;
    bytes_a_day := 0;
    rows_overdue := case when keep is not null then 0 end;
  else
    -- A table that is younger than the period has grown in less time. No rate is told of less than a day.
    days := greatest(1, extract(epoch from now() - greatest(since, oldest_created_at)) / 86400);
    rows_a_day := round((last_id + 1 - _first_id_since(table_name, since, oldest_id, last_id)) / days, 2);
    bytes_a_day := round(rows_a_day * bytes / rows_stored);
    if keep is not null then
      rows_overdue := _first_id_since(table_name, now() - keep, oldest_id, last_id) - oldest_id;
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
perform _grant('execute on routine', '{growth, _growth_of_chains, _growth_of, _first_id_since}', '{app_auditor}');

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
