-- Recording many at once: an array of objects, with the columns as members
--
-- Keys, checks and refusals are those of the function for one row. All elements are recorded, or none is; the results
-- come in the order given. Numbers are exact, because jsonb's are decimals.
--
-- An element that is refused is refused under the code that it would have alone; its place stands in DETAIL.
--
-- Each element goes through the function of its table, with one exception. Signals come in thousands, and most arrays
-- hold new and sound ones only: one INSERT takes those, at less cost. If it does not take all of them, it is undone,
-- and they go one by one.

create function _elements(items jsonb, known text[], out value jsonb, out place bigint) returns setof record
language plpgsql stable
set search_path from current
as $function$
declare
  unknown text;
begin
  if jsonb_typeof(items) is distinct from 'array' then
    raise exception 'an array of objects is expected, not %', coalesce(jsonb_typeof(items), 'NULL')
      using errcode = '22023', hint = 'Pass a JSON array: [{"column": value, …}, …].';
  end if;
  for value, place in select e.value, e.place from jsonb_array_elements(items) with ordinality as e(value, place) loop
    if jsonb_typeof(value) <> 'object' then
      raise exception 'an element of the array is no object, but %', jsonb_typeof(value)
        using errcode = '22023', detail = format('Element %s.', place),
              hint = 'Pass an object with the columns as members.';
    end if;
    select string_agg(quote_literal(m.name), ', ') into unknown
    from jsonb_object_keys(value) as m(name) where m.name <> all (known);
    if unknown is not null then
      raise exception 'an element of the array has members that are not known: %', unknown
        using errcode = '22023', detail = format('Element %s.', place),
              hint = format('Known are: %s.', array_to_string(known, ', '));
    end if;
    return next;
  end loop;
end
$function$;
comment on function _elements is
  'The elements of an array, each an object with no member but these. Raises 22023.';

create type _problem as (
  message          text,
  detail           text,
  hint             text,
  column_name      text,
  constraint_name  text,
  table_name       text
);
comment on type _problem is 'What an error says, beside its SQLSTATE.';
comment on column _problem.message          is 'Its message.';
comment on column _problem.detail           is 'Its DETAIL.';
comment on column _problem.hint             is 'Its HINT.';
comment on column _problem.column_name      is 'The column that it names.';
comment on column _problem.constraint_name  is 'The constraint that it names.';
comment on column _problem.table_name       is 'The table that it names.';

create function _refuse_element(place bigint, code text, problem _problem) returns void
language plpgsql
set search_path from current
as $function$
begin
  raise exception using
    errcode = code, message = problem.message,
    detail = concat_ws(' ', 'Element ' || place || '.', coalesce(nullif(problem.detail, ''), 'Nothing was recorded.')),
    hint = coalesce(nullif(problem.hint, ''),
                    case when code = '25006' then 'Send the array to the primary, in a transaction that may write.'
                         when code ~ '^(2|42|AUD)' then 'Mend the element, and send the array again.'
                         else 'Send the array again.' end),
    column = problem.column_name, constraint = problem.constraint_name,
    table = problem.table_name;
end
$function$;
comment on function _refuse_element is
  'Raises again what the element of an array raised, with its place in DETAIL; the place is null if none was reached.';

create function _record_new_signals(signals jsonb) returns boolean
language plpgsql
set search_path from current
as $function$
declare
  known    constant text[] := '{signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified,
                                correlation_id, delivery_id}';
  written  bigint;
begin
  -- What is large is left out, and nearly all that would be refused.
  insert into signals (correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified,
                       delivery_id)
  select e.correlation_id, e.signal_id, e.symbol, e.side, e.price, e.quantity,
         e.raw_payload, e.source_ip, coalesce(e.hmac_verified, false), e.delivery_id
  from rows from (
         jsonb_to_recordset(signals) as (signal_id text, symbol text, side text, price numeric, quantity numeric,
                                         raw_payload jsonb, source_ip inet, hmac_verified boolean, correlation_id uuid,
                                         delivery_id bigint),
         jsonb_array_elements(signals)) with ordinality as e(
           signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified, correlation_id, delivery_id,
           given, place)
  where e.given - known = '{}' and pg_column_size(e.given) < 8192
    and char_length(e.signal_id) <= 64 and char_length(e.symbol) <= 20 and char_length(e.side) <= 10
    and scale(e.price) <= 10 and scale(e.quantity) <= 10 and abs(e.price) < 1e18 and abs(e.quantity) < 1e18
    and (e.raw_payload -> 'price' = e.given -> 'price') is not false
    and (e.raw_payload -> 'quantity' = e.given -> 'quantity') is not false
    and (e.delivery_id is null or exists (select from only webhook_deliveries as d where d.id = e.delivery_id))
  order by e.place
  on conflict on constraint signals_signal_id_key do nothing;
  get diagnostics written = row_count;
  if written < jsonb_array_length(signals) then
    raise data_exception;  -- undoes what was written
  end if;
  return true;
exception when data_exception or integrity_constraint_violation or sqlstate 'AUD12' then
  return false;
end
$function$;
comment on function _record_new_signals is
  'Records all of the signals, if all are new and sound, and says whether it did; if not, it records none.';

create function record_signals(signals jsonb) returns setof recorded_signal
language plpgsql
set search_path from current
as $function$
declare
  value    jsonb;
  place    bigint;
  problem  _problem;
begin
  if jsonb_typeof(signals) = 'array' and not _alarm_is_raised() and _record_new_signals(signals) then
    return query execute  -- planned anew, as the table grows
      'select s.id, s.correlation_id, s.signal_id::text, s.symbol::text, s.side::text, s.price::numeric,'
      ' s.quantity::numeric, s.raw_payload, s.source_ip, s.hmac_verified, s.delivery_id, s.row_hash::text,'
      ' s.created_at, s.recorded_by, true'
      ' from jsonb_array_elements($1) with ordinality as e(given, place)'
      ' join only signals as s on s.signal_id = e.given ->> ''signal_id'' order by e.place'
      using signals;
    return;
  end if;
  for value, place in select e.value, e.place from _elements(signals,
    '{signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified, correlation_id,
      delivery_id}') as e
  loop
    return next record_signal(
      signal_id => value ->> 'signal_id', symbol => value ->> 'symbol', side => value ->> 'side',
      price => (value ->> 'price')::numeric, quantity => (value ->> 'quantity')::numeric,
      raw_payload => value -> 'raw_payload', source_ip => (value ->> 'source_ip')::inet,
      hmac_verified => (value ->> 'hmac_verified')::boolean,
      correlation_id => (value ->> 'correlation_id')::uuid, delivery_id => (value ->> 'delivery_id')::bigint);
  end loop;
exception when others then
  get stacked diagnostics problem.message = message_text, problem.detail = pg_exception_detail,
    problem.hint = pg_exception_hint, problem.column_name = column_name,
    problem.constraint_name = constraint_name, problem.table_name = table_name;
  perform _refuse_element(place, sqlstate, problem);
end
$function$;
comment on function record_signals is
  'Records signals, an array of objects with the columns as members, all or nothing, and returns their rows in the '
  'order given. Raises 22023, and what record_signal raises, with the element''s place in DETAIL.';

create function record_ai_debates(ai_debates jsonb) returns setof recorded_ai_debate
language plpgsql
set search_path from current
as $function$
declare
  value    jsonb;
  place    bigint;
  problem  _problem;
begin
  for value, place in select e.value, e.place from _elements(ai_debates,
    '{correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms, is_timeout, model_version}') as e
  loop
    return next record_ai_debate(
      correlation_id => (value ->> 'correlation_id')::uuid, model_name => value ->> 'model_name',
      reasoning_json => value -> 'reasoning_json',
      confidence_score => (value ->> 'confidence_score')::numeric,
      elapsed_ms => (value ->> 'elapsed_ms')::integer, is_timeout => (value ->> 'is_timeout')::boolean,
      model_version => value ->> 'model_version');
  end loop;
exception when others then
  get stacked diagnostics problem.message = message_text, problem.detail = pg_exception_detail,
    problem.hint = pg_exception_hint, problem.column_name = column_name,
    problem.constraint_name = constraint_name, problem.table_name = table_name;
  perform _refuse_element(place, sqlstate, problem);
end
$function$;
comment on function record_ai_debates is
  'Records debates, an array of objects with the columns as members, all or nothing, and returns their rows in the '
  'order given. Raises 22023, and what record_ai_debate raises, with the element''s place in DETAIL.';

create function record_orders(orders jsonb) returns setof recorded_order
language plpgsql
set search_path from current
as $function$
declare
  value    jsonb;
  place    bigint;
  problem  _problem;
begin
  for value, place in select e.value, e.place from _elements(orders,
    '{correlation_id, order_type, symbol, side, quantity, price, exchange_order_id, status, client_order_id,
      stop_price, decision_maker, exchange_status}') as e
  loop
    return next record_order(
      correlation_id => (value ->> 'correlation_id')::uuid, order_type => value ->> 'order_type',
      symbol => value ->> 'symbol', side => value ->> 'side', quantity => (value ->> 'quantity')::numeric,
      price => (value ->> 'price')::numeric, exchange_order_id => value ->> 'exchange_order_id',
      status => value ->> 'status', client_order_id => value ->> 'client_order_id',
      stop_price => (value ->> 'stop_price')::numeric, decision_maker => value ->> 'decision_maker',
      exchange_status => value ->> 'exchange_status');
  end loop;
exception when others then
  get stacked diagnostics problem.message = message_text, problem.detail = pg_exception_detail,
    problem.hint = pg_exception_hint, problem.column_name = column_name,
    problem.constraint_name = constraint_name, problem.table_name = table_name;
  perform _refuse_element(place, sqlstate, problem);
end
$function$;
comment on function record_orders is
  'Records orders, an array of objects with the columns as members, all or nothing, and returns their rows in the '
  'order given. Raises 22023, and what record_order raises, with the element''s place in DETAIL.';

create function record_order_events(order_events jsonb) returns setof recorded_order_event
language plpgsql
set search_path from current
as $function$
declare
  value    jsonb;
  place    bigint;
  problem  _problem;
begin
  for value, place in select e.value, e.place from _elements(order_events,
    '{order_execution_id, event_type, fill_quantity, fill_price, zar_equity, positions_closed, rejection_reason,
      exchange_error_code, exchange_event_id, exchange_status}') as e
  loop
    return next record_order_event(
      order_execution_id => (value ->> 'order_execution_id')::bigint, event_type => value ->> 'event_type',
      fill_quantity => (value ->> 'fill_quantity')::numeric, fill_price => (value ->> 'fill_price')::numeric,
      zar_equity => (value ->> 'zar_equity')::numeric,
      positions_closed => nullif(value -> 'positions_closed', 'null'),
      rejection_reason => value ->> 'rejection_reason', exchange_error_code => value ->> 'exchange_error_code',
      exchange_event_id => value ->> 'exchange_event_id', exchange_status => value ->> 'exchange_status');
  end loop;
exception when others then
  get stacked diagnostics problem.message = message_text, problem.detail = pg_exception_detail,
    problem.hint = pg_exception_hint, problem.column_name = column_name,
    problem.constraint_name = constraint_name, problem.table_name = table_name;
  perform _refuse_element(place, sqlstate, problem);
end
$function$;
comment on function record_order_events is
  'Records events, an array of objects with the columns as members, all or nothing, and returns their rows in the '
  'order given. Raises 22023, and what record_order_event raises, with the element''s place in DETAIL.';
