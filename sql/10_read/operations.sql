-- What an operator asks: who holds a lock, whether standbys are behind, which logins have no time-outs, what was
-- refused.
--
-- The first three run with the caller's rights: what PostgreSQL hides from a login that is not in pg_read_all_stats
-- stays hidden here.

create function lock_holders()
returns table (lock_name text, mode text, granted boolean, pid integer, gid text, login text, application text,
               client_address text, since timestamptz, state text, blocks integer[])
language sql stable
set search_path from current
as $function$
  with
  locks as materialized (
    select l.* from pg_locks as l
  ),
  ours as (
    select c.oid, c.relname::text as name, c.relname ~ '^lock_' or c.relname = 'log_nodes' as is_lock
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = current_schema() and c.relkind = 'r'
  ),
  -- A prepared transaction has no process. Of sessions, only what conflicts with a lock that alpha-db takes: not
  -- pg_dump's.
  held as (
    select o.name, l.granted, l.pid, case when l.pid is null then l.virtualtransaction end as place,
           string_agg(distinct l.mode, ', ') as mode, min(l.waitstart) as waits_since
    from locks as l
    join ours as o on o.oid = l.relation
    where l.locktype = 'relation'
      and l.database = (select d.oid from pg_database as d where d.datname = current_database())
      and (l.pid is null or not l.granted
           or o.is_lock and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
           or l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
    group by 1, 2, 3, 4
  )
  select h.name, h.mode, h.granted, h.pid, p.gid, coalesce(a.usename::text, p.owner::text),
         -- Of what replays the primary's log a login may see no more than that it has no user.
         coalesce(nullif(a.application_name, ''), a.backend_type,
                  case when a.pid is not null and a.usename is null and pg_is_in_recovery() then 'startup' end),
         host(a.client_addr),
         case when h.granted then coalesce(a.xact_start, p.prepared) else h.waits_since end,
         case when h.pid is null then 'prepared' else a.state end,
         case when h.granted then array(select w.pid from held as w
                                        where w.name = h.name and not w.granted order by w.pid)
              else '{}' end
  from held as h
  left join pg_stat_activity as a on a.pid = h.pid
  left join locks as x on x.locktype = 'transactionid' and x.pid is null and x.virtualtransaction = h.place
                      and x.transactionid in (select q.transaction from pg_prepared_xacts as q)
  left join pg_prepared_xacts as p on p.transaction = x.transactionid
  order by 1, h.granted desc, 9, 4;
$function$;
comment on function lock_holders is
  'Who holds or waits for a lock of this installation: of a chain, the proposals, the Merkle logs, the migrations, or '
  'a table that nobody can write meanwhile; and every prepared transaction that has locked one of its tables.';

create function standbys(replayed_to pg_lsn)
returns table (name text, has_replayed boolean, is_visible boolean)
language sql stable
set search_path from current
as $function$
  -- Neither logical subscribers, base backups, nor receivers of WAL, which never replay.
  select coalesce(nullif(r.application_name, ''), r.pid::text),
         coalesce(r.replay_lsn >= replayed_to, false),
         pg_has_role('pg_read_all_stats', 'usage')
  from pg_stat_replication as r
  where coalesce(r.state, '') <> 'backup'
    and not (r.write_lsn is not null and r.replay_lsn is null)
    and not exists (select from pg_replication_slots as s where s.active_pid = r.pid and s.slot_type = 'logical')
  order by 1;
$function$;
comment on function standbys is
  'The physical standbys that are connected: whether each has replayed the write-ahead log to this position, and '
  'whether the caller may see that.';

create function replay_lag()
returns table (in_recovery boolean, seconds double precision)
language sql stable
set search_path from current
as $function$
  select pg_is_in_recovery(),
         case when pg_is_in_recovery()
              then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::double precision end;
$function$;
comment on function replay_lag is
  'Whether this is a standby, and how long ago the last transaction that it replayed was committed on the primary. If '
  'the primary is idle that grows, too, unless heartbeat() is called there: a standby alone cannot tell the two apart.';

create function heartbeat() returns xid8
language plpgsql
set search_path from current
as $function$
begin
  perform _require_primary('heartbeat');
  -- A transaction with an id commits with a record in the write-ahead log, even if it wrote nothing. Anyone may take an
  -- id, so this gives no role what it had not.
  return pg_current_xact_id();
end
$function$;
comment on function heartbeat is
  'Takes a transaction id and writes no row, so that the commit reaches every standby: what reads there sees by '
  'replay_lag() that the primary lives, even if nothing else is written. Raises 25006 on a standby.';

create function logins_without_timeouts()
returns table (role text, member_of text[], lacks text[])
language sql stable security definer
set search_path from current
as $function$
  -- A time-out of a login comes from: the role in this database, the role, the database, all roles, the server.
  with recursive members as (
    select r.oid, r.rolname::text as app_role
    from pg_roles as r
    where r.rolname in (select _app_role(n.name)
                        from unnest(array['alpha_owner', 'app_trading', 'app_auditor', 'app_risk']) as n(name))
    union
    select a.member, m.app_role
    from pg_auth_members as a
    join members as m on m.oid = a.roleid
  ),
  effective as (
    select m.oid, m.app_role, g.name,
           coalesce(
             (select split_part(c, '=', 2)
              from pg_db_role_setting as s
              cross join lateral unnest(s.setconfig) as c
              where split_part(c, '=', 1) = g.name
                and s.setrole in (m.oid, 0)
                and s.setdatabase in ((select d.oid from pg_database as d where d.datname = current_database()), 0)
              order by s.setrole = 0, s.setdatabase = 0
              limit 1),
             (select p.reset_val from pg_settings as p
              where p.name = g.name and p.source in ('configuration file', 'command line', 'environment variable')),
             '0') as value
    from members as m
    cross join (values ('lock_timeout'), ('idle_in_transaction_session_timeout')) as g(name)
  )
  select r.rolname::text, array_agg(distinct e.app_role), array_agg(distinct e.name)
  from effective as e
  join pg_roles as r on r.oid = e.oid
  where r.rolcanlogin and e.value ~ '^[[:space:]]*-?0+([.]0*)?[[:space:]]*[a-z]*[[:space:]]*$'
  group by r.rolname
  order by r.rolname;
$function$;
comment on function logins_without_timeouts is
  'Login roles that are members of a role of this installation, with the time-outs that nothing sets for them: one '
  'that holds a lock without a time-out stops every writer.';

-- How often each kind of attempt was refused: 02_refusals counts them in sequences, which a rollback does not undo.
create view vw_rejected_attempts with (security_invoker = true) as
select a.code, a.table_name, a.operation, a.attempts
from rejected_attempts() as a (code, table_name, operation, attempts);
comment on view vw_rejected_attempts is
  'How often each kind of attempt was refused, even if it was rolled back. Details of each stand in the server''s log: '
  'alpha-db attempt {json}.';
comment on column vw_rejected_attempts.code       is 'Error code, AUD-001 and so on.';
comment on column vw_rejected_attempts.table_name is
  'The table that was protected; for AUD-001 found by a domain, the domain.';
comment on column vw_rejected_attempts.operation  is 'INSERT, UPDATE, DELETE, TRUNCATE, CAST or DDL.';
comment on column vw_rejected_attempts.attempts   is 'How often it was refused.';
