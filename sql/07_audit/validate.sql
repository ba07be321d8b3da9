-- Triggers that refuse what cannot be right, with a message that says why
--
-- A payload whose number lost digits on its way; a signal or an order that does not exist. The foreign keys would
-- refuse the latter, too, but only at the end of the statement, and without a hint.

create function _refuse_lost_digits(member text, given numeric, stored numeric, table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-001', format('%s lost digits between the payload and the column', member),
    format('The payload says %s, the column would hold %s: too near to be another number, and not the payload''s '
           'number rounded to 10 decimals.', _shortened(given), stored),
    'Parse the payload''s numbers as decimals, never as binary floats, and round them to 10 decimals at most.',
    table_name, 'INSERT', column_name => member);
end
$function$;
comment on function _refuse_lost_digits is
  'Raises AUD-001: a number of the payload is neither the column''s value nor rounds to it, but nearer to it than '
  'single precision can tell.';

create function _validate_signal() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  payload jsonb := new.raw_payload;
begin
  if new.correlation_id is null then
    new.correlation_id := gen_random_uuid();
  end if;
  -- Equal or correctly rounded is right; a number farther away than 2^-23 of it is another number. What lies between
  -- was a binary float. CASE, because only a number can be cast.
  if (case when jsonb_typeof(payload -> 'price') = 'number' then
        (payload -> 'price')::numeric <> new.price
        and abs((payload -> 'price')::numeric - new.price) > 0.00000000005
        and abs((payload -> 'price')::numeric - new.price)
            < abs((payload -> 'price')::numeric) * 0.00000011920928955078125 end) then
    perform _refuse_lost_digits('price', (payload -> 'price')::numeric, new.price, tg_argv[0]);
  end if;
  if (case when jsonb_typeof(payload -> 'quantity') = 'number' then
        (payload -> 'quantity')::numeric <> new.quantity
        and abs((payload -> 'quantity')::numeric - new.quantity) > 0.00000000005
        and abs((payload -> 'quantity')::numeric - new.quantity)
            < abs((payload -> 'quantity')::numeric) * 0.00000011920928955078125 end) then
    perform _refuse_lost_digits('quantity', (payload -> 'quantity')::numeric, new.quantity, tg_argv[0]);
  end if;
  return new;
end
$function$;
comment on function _validate_signal is
  'Row trigger of signals: generates correlation_id, and refuses (AUD-001) a payload whose price or quantity lost '
  'digits. Argument: table.';

create function _validate_correlation() returns trigger
language plpgsql security definer
set search_path from current
set enable_seqscan = off
as $function$
begin
  perform from only signals as s where s.correlation_id = new.correlation_id;
  if not found and new.correlation_id is not null then
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
       and _snapshot_sees(pg_sequence_last_value('writer_signals'::regclass)) is false then
      perform _refuse_stale_snapshot('signals');
    end if;
    perform _refuse(
      'AUD-008', format('correlation_id of %s does not exist', tg_argv[0]),
      format('There is no signal with correlation_id %s.', new.correlation_id),
      'Record the signal first, and pass the correlation_id that it got.',
      tg_argv[0], tg_op, column_name => 'correlation_id');
  end if;
  return new;
end
$function$;
comment on function _validate_correlation is
  'Row trigger of ai_debates and order_execution: refuses (AUD-008) a correlation_id that no signal has. Argument: '
  'table.';

create function _validate_order_event() returns trigger
language plpgsql security definer
set search_path from current
set enable_seqscan = off
as $function$
begin
  perform from only order_execution as o where o.id = new.order_execution_id;
  if not found and new.order_execution_id is not null then
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
       and _snapshot_sees(pg_sequence_last_value('writer_order_execution'::regclass)) is false then
      perform _refuse_stale_snapshot('order_execution');
    end if;
    perform _refuse(
      'AUD-008', format('order_execution_id of %s does not exist', tg_argv[0]),
      format('There is no order with id %s.', new.order_execution_id),
      'Record the order first, and pass the id that it got.',
      tg_argv[0], tg_op, column_name => 'order_execution_id');
  end if;
  return new;
end
$function$;
comment on function _validate_order_event is
  'Row trigger of order_events: refuses (AUD-008) an order_execution_id that does not exist. Argument: table.';
