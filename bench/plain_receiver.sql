-- The tables of the receiver without alpha-db: the same columns, indexes and constraints, and constants in place of what
-- the triggers compute.
do $$
declare
  kept text;
begin
  create schema plain;
  foreach kept in array '{webhook_deliveries,signals,risk_decisions,order_execution,order_events}'::text[] loop
    execute format('create table plain.%1$I (like %1$I including constraints including indexes)', kept);
    execute format('create sequence plain.%1$I owned by plain.%2$I.id', kept || '_id_seq', kept);
    execute format($alter$
      alter table plain.%1$I alter id          set default nextval('plain.%1$s_id_seq'),
                             alter row_hash    set default repeat('0', 64),
                             alter created_at  set default clock_timestamp(),
                             alter recorded_by set default session_user $alter$, kept);
  end loop;
  for kept in
    select format('alter table plain.%I add %s', r.relname,
                  replace(pg_get_constraintdef(c.oid), 'REFERENCES ', 'REFERENCES plain.'))
    from pg_constraint as c
    join pg_class as r on r.oid = c.conrelid
    join pg_class as t on t.oid = c.confrelid
    where r.relnamespace = current_schema()::regnamespace and to_regclass(format('plain.%I', r.relname)) is not null
      and to_regclass(format('plain.%I', t.relname)) is not null
  loop
    execute kept;
  end loop;
  alter table plain.webhook_deliveries alter body_sha256 set default repeat('0', 64);
  alter table plain.signals alter correlation_id set default gen_random_uuid();
  alter table plain.order_execution alter status set default 'PENDING';
end $$;
