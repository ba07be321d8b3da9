-- Triggers that refuse what cannot be right, with a message that says why
--
-- A payload whose number lost digits on its way; a delivery, a signal or an order that does not exist. The foreign keys
-- would refuse the latter, too, but only at the end of the statement, and without a hint.

create function _refuse_unknown(table_name text, column_name text, referred_table text, problem text, hint text)
returns void
language plpgsql
set search_path from current
as $function$
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
     and _snapshot_sees(pg_sequence_last_value(format('%I', 'writer_' || referred_table)::regclass)) is false then
    perform _refuse_stale_snapshot(referred_table);
  end if;
  perform _refuse('AUD-008', format('%s of %s does not exist', column_name, table_name), problem, hint,
                  table_name, 'INSERT', column_name => column_name);
end
$function$;
comment on function _refuse_unknown is
  'Raises AUD-008, because a row refers to another one that does not exist; or 40001, if it may exist, but is newer '
  'than this transaction''s snapshot.';

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
set enable_seqscan = off  -- a plan made while the table was empty must not read it whole later
as $function$
declare
  payload jsonb := new.raw_payload;
begin
  if new.correlation_id is null then
    new.correlation_id := gen_random_uuid();
  end if;
  if new.delivery_id is not null then
    perform from only webhook_deliveries as d where d.id = new.delivery_id;
    if not found then
      perform _refuse_unknown(
        tg_argv[0], 'delivery_id', 'webhook_deliveries',
        format('There is no delivery with id %s.', new.delivery_id),
        'Record the delivery first (record_webhook), and pass the id that it got.');
    end if;
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
  'Row trigger of signals: generates correlation_id, and refuses a delivery that does not exist (AUD-008) and a '
  'payload whose price or quantity lost digits (AUD-001). Argument: table.';

create function _validate_correlation() returns trigger
language plpgsql security definer
set search_path from current
set enable_seqscan = off
as $function$
begin
  perform from only signals as s where s.correlation_id = new.correlation_id;
  if not found and new.correlation_id is not null then
    perform _refuse_unknown(
      tg_argv[0], 'correlation_id', 'signals',
      format('There is no signal with correlation_id %s.', new.correlation_id),
      'Record the signal first, and pass the correlation_id that it got.');
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
    perform _refuse_unknown(
      tg_argv[0], 'order_execution_id', 'order_execution',
      format('There is no order with id %s.', new.order_execution_id),
      'Record the order first, and pass the id that it got.');
  end if;
  return new;
end
$function$;
comment on function _validate_order_event is
  'Row trigger of order_events: refuses (AUD-008) an order_execution_id that does not exist. Argument: table.';
