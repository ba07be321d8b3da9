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
  -- A prepared transaction has no process. Of sessions only what conflicts with a lock that the kit takes: not pg_dump's.
  held as (
    select o.name, l.granted, l.pid, case when l.pid is null then l.virtualtransaction end as place,
           string_agg(distinct l.mode, ', ') as mode, min(l.waitstart) as waits_since
    from locks as l
    join ours as o on o.oid = l.relation
    where l.locktype = 'relation' and l.database = (select d.oid from pg_database as d where d.datname = current_database())
      and (l.pid is null or not l.granted
           or o.is_lock and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
           or l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
    group by 1, 2, 3, 4
  )
  select h.name, h.mode, h.granted, h.pid, p.gid, coalesce(a.usename::text, p.owner::text),
         coalesce(nullif(a.application_name, ''), a.backend_type), host(a.client_addr),
         case when h.granted then coalesce(a.xact_start, p.prepared) else h.waits_since end,
         case when h.pid is null then 'prepared' else a.state end,
         case when h.granted then array(select w.pid from held as w where w.name = h.name and not w.granted order by w.pid)
              else '{}' end
  from held as h
  left join pg_stat_activity as a on a.pid = h.pid
  left join locks as x on x.locktype = 'transactionid' and x.pid is null and x.virtualtransaction = h.place
                      and x.transactionid in (select q.transaction from pg_prepared_xacts as q)
  left join pg_prepared_xacts as p on p.transaction = x.transactionid
  order by 1, h.granted desc, 9, 4;
$function$;
comment on function lock_holders is
  'Who holds or waits for a lock of this installation: of a chain, the proposals, the Merkle logs, the migrations, or a table that nobody can write meanwhile; and every prepared transaction that has locked one of its tables.';
