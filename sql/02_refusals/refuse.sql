-- Refusals
--
-- Everything that alpha-db refuses on purpose goes through _refuse(), which leaves three traces:
--
-- 1. the exception, with an SQLSTATE of its own (AUD-001 is AUD01), DETAIL, HINT, schema, table and column;
-- 2. a line in the server's log, "alpha-db attempt {json}", which says who tried what. A rollback does not undo it;
-- 3. a count, which a rollback does not undo either, because it is a sequence: nextval is never undone.
--    attempt_counters says which sequence counts which kind of attempt, and rejected_attempts() reads them all. An
--    attempt without a counter is not counted.

create table attempt_counters (
  code           text  not null,
  table_name     text  not null,
  operation      text  not null,
  sequence_name  text  not null,
  constraint attempt_counters_pkey primary key (code, table_name, operation)
);
comment on table attempt_counters is
  'Which sequence counts which kind of rejected attempt. A sequence, because a rollback does not undo nextval.';
comment on column attempt_counters.code          is 'Error code, AUD-001 and so on.';
comment on column attempt_counters.table_name is
  'The table that was protected; the domain if a domain found AUD-001.';
comment on column attempt_counters.operation     is 'INSERT, UPDATE, DELETE, TRUNCATE, CAST or DDL.';
comment on column attempt_counters.sequence_name is 'The sequence, in the install schema.';

create function _count_attempts(code text, table_name text, operation text) returns void
language plpgsql
set search_path from current
as $function$
declare
  sequence_name text := format('attempts_%s_%s_%s', lower(replace(code, '-', '')), lower(operation), table_name);
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
comment on function _count_attempts is 'Makes the counter for a kind of rejected attempt. Migrations call it.';

create function _forget_attempts(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  counter record;
begin
  for counter in
    delete from only attempt_counters as a where a.table_name = _forget_attempts.table_name returning a.sequence_name
  loop
    execute format('drop sequence %I', counter.sequence_name);
  end loop;
end
$function$;
comment on function _forget_attempts is 'Drops the counters of a table. Rollbacks call it.';

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
  'How often each kind of attempt was refused, rolled back or not. After a server crash a count may read up to 32 '
  'high.';

create function _refuse(
  code         text,
  message      text,
  detail       text,
  hint         text,
  table_name   text,
  operation    text,
  row_id       bigint  default null,
  column_name  text    default null
) returns void
language plpgsql
set search_path from current
as $function$
declare
  sequence_name  text;
  number         bigint;
begin
  if current_setting('transaction_read_only') = 'off' then
    select a.sequence_name into sequence_name from only attempt_counters as a
    where (a.code, a.table_name, a.operation) = (_refuse.code, _refuse.table_name, _refuse.operation);
    if found then
      begin
        number := nextval(format('%I.%I', current_schema(), sequence_name)::regclass);
      exception when others then null;  -- a broken counter is a changed guard; the refusal counts more than the count
      end;
    end if;
  end if;
  -- In our SECURITY DEFINER triggers current_user is the owner, so the setting "role" says who acts.
  -- Anyone can print such a line. A number that the counter gave shows that a refusal ran, not that a row was really
  -- tried: app_trading may call the _refuse_… functions of 09_write itself.
  raise log 'alpha-db attempt %', jsonb_build_object(
    'code', code, 'schema', current_schema(), 'table', table_name, 'operation', operation, 'row_id', row_id,
    'number', number,
    'session_user', session_user,
    'current_user', coalesce(nullif(current_setting('role'), 'none'), session_user),
    'client_address', host(inet_client_addr()), 'application', current_setting('application_name'));
  raise exception using
    errcode = left(code, 3) || right(code, 2),
    message = code || ': ' || message,
    detail  = coalesce(detail, ''),
    hint    = coalesce(hint, ''),
    schema  = current_schema(),
    table   = table_name,
    column  = coalesce(column_name, '');
end
$function$;
comment on function _refuse is
  'Writes the log line "alpha-db attempt {json}", counts the attempt, and raises the code. Never returns.';

create function _require_primary(what text) returns void
language plpgsql stable
set search_path from current
as $function$
begin
  if pg_is_in_recovery() then
    raise exception '% writes, and this server is a standby, where nothing can be written', what
      using errcode = '25006', hint = 'Connect to the primary, and call it there.';
  elsif current_setting('transaction_read_only') = 'on' then
    raise exception '% writes, and this transaction is read-only', what
      using errcode = '25006', hint = 'Call it in a transaction that may write.';
  end if;
end
$function$;
comment on function _require_primary is
  'Raises 25006 on a standby and in a read-only transaction. What takes a lock before it writes calls it first, or '
  'PostgreSQL would complain about LOCK TABLE. What inserts at once does without: PostgreSQL''s own error is clear.';
