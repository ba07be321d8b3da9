create function _refuse(
  code text, message text, detail text, hint text, table_name text, operation text, row_id bigint default null, column_name text default null
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
  -- Inside our SECURITY DEFINER triggers current_user is the owner, so the setting "role" says who acts.
  -- Anyone can print such a line; the number is one that the counter of these attempts gave once.
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
  'Writes the log line "alpha-db attempt {json}", counts, and raises the code. Never returns.';
