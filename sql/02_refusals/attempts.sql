-- Refusals: an SQLSTATE of their own, a line in the server log, a count that a rollback does not undo

create table attempt_counters (
  code           text  not null,
  table_name     text  not null,
  operation      text  not null,
  sequence_name  text  not null,
  constraint attempt_counters_pkey primary key (code, table_name, operation)
);
comment on table  attempt_counters               is 'Which sequence counts which kind of rejected attempt. A sequence, because nextval is not undone by a rollback.';
comment on column attempt_counters.code          is 'Error code, AUD-001 and so on.';
comment on column attempt_counters.table_name    is 'The table that was protected; for AUD-001 found by a domain, the domain.';
comment on column attempt_counters.operation     is 'INSERT, UPDATE, DELETE, TRUNCATE, CAST or DDL.';
comment on column attempt_counters.sequence_name is 'The sequence, in the install schema.';

create function _count_attempts(code text, table_name text, operation text) returns void
language plpgsql
set search_path from current
as $function$
declare
  sequence_name text := lower(format('attempts_%s_%s_%s', replace(code, '-', ''), operation, table_name));
begin
  if exists (select from only attempt_counters as a
             where (a.code, a.table_name, a.operation)
                 = (_count_attempts.code, _count_attempts.table_name, _count_attempts.operation)) then
    return;
  end if;
  execute format('create sequence %I', sequence_name);
  execute format('comment on sequence %I is %L', sequence_name,
                 format('Counts %s refused with %s on %s.', operation, code, table_name));
  insert into attempt_counters values (code, table_name, operation, sequence_name);
end
$function$;
comment on function _count_attempts is 'Makes the counter for a kind of rejected attempt. Called by migrations.';

create function _forget_attempts(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  counter record;
begin
  for counter in delete from only attempt_counters as a where a.table_name = _forget_attempts.table_name returning a.sequence_name loop
    execute format('drop sequence %I', counter.sequence_name);
  end loop;
end
$function$;
comment on function _forget_attempts is 'Drops the counters of a table. Called by rollbacks.';

create function rejected_attempts()
returns table (code text, table_name text, operation text, attempts bigint)
language sql stable security definer
set search_path from current
as $function$
  select a.code, a.table_name, a.operation,
         coalesce(pg_sequence_last_value(format('%I.%I', n.nspname, a.sequence_name)::regclass), 0)
  from only attempt_counters as a
  join pg_class as c on c.oid = a.tableoid
  join pg_namespace as n on n.oid = c.relnamespace
  order by a.code, a.table_name, a.operation;
$function$;
comment on function rejected_attempts is
  'How often each kind of attempt was refused, rolled back or not. After a server crash a count may read up to 32 high.';
