-- What refuses rows that cannot be right, with a message that says why
--
-- A payload whose number lost digits on its way; a delivery, a signal or an order that does not exist. The foreign keys
-- would refuse the latter, too, but only at the end of the statement, and without a hint. The chain triggers call these
-- functions (attach.sql).

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

create function _require_delivery(table_name text, delivery_id bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  is_known  boolean;
begin
  -- A plan that was made while the table was small would read it whole later.
  if pg_sequence_last_value('tail_webhook_deliveries'::regclass) >= 1024 then
    is_known := exists (select from only webhook_deliveries as d where d.id = _require_delivery.delivery_id);
  else
    execute 'select exists (select from only webhook_deliveries as d where d.id = $1)'
      into is_known using delivery_id;
  end if;
  if not is_known then
    perform _refuse_unknown(
      table_name, 'delivery_id', 'webhook_deliveries',
      format('There is no delivery with id %s.', delivery_id),
      'Record the delivery first (record_webhook), and pass the id that it got.');
  end if;
end
$function$;
comment on function _require_delivery is
  'Refuses (AUD-008) a delivery_id that does not exist.';

create function _require_signal(table_name text, correlation_id uuid) returns void
language plpgsql
set search_path from current
as $function$
declare
  is_known  boolean;
begin
  -- A plan that was made while the table was small would read it whole later.
  if pg_sequence_last_value('tail_signals'::regclass) >= 1024 then
    is_known := exists (select from only signals as s where s.correlation_id = _require_signal.correlation_id);
  else
    execute 'select exists (select from only signals as s where s.correlation_id = $1)'
      into is_known using correlation_id;
  end if;
  if not is_known then
    perform _refuse_unknown(
      table_name, 'correlation_id', 'signals',
      format('There is no signal with correlation_id %s.', correlation_id),
      'Record the signal first, and pass the correlation_id that it got.');
  end if;
end
$function$;
comment on function _require_signal is
  'Refuses (AUD-008) a correlation_id that no signal has.';

create function _require_order(table_name text, order_execution_id bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  is_known  boolean;
begin
  -- A plan that was made while the table was small would read it whole later.
  if pg_sequence_last_value('tail_order_execution'::regclass) >= 1024 then
    is_known := exists (select from only order_execution as o where o.id = _require_order.order_execution_id);
  else
    execute 'select exists (select from only order_execution as o where o.id = $1)'
      into is_known using order_execution_id;
  end if;
  if not is_known then
    perform _refuse_unknown(
      table_name, 'order_execution_id', 'order_execution',
      format('There is no order with id %s.', order_execution_id),
      'Record the order first, and pass the id that it got.');
  end if;
end
$function$;
comment on function _require_order is
  'Refuses (AUD-008) an order_execution_id that does not exist.';

create function _require_digits(table_name text, member text, said jsonb, stored numeric) returns void
language plpgsql
set search_path from current
as $function$
begin
  -- Equal or correctly rounded is right; a number farther away than 2^-23 of it is another number. What lies between
  -- was a binary float. CASE, because only a number can be cast.
  if (case when jsonb_typeof(said) = 'number' then
        said::numeric <> stored
        and abs(said::numeric - stored) > 0.00000000005
        and abs(said::numeric - stored) < abs(said::numeric) * 0.00000011920928955078125 end) then
    perform _refuse(
      'AUD-001', format('%s lost digits between the payload and the column', member),
      format('The payload says %s, the column would hold %s: too near to be another number, and not the payload''s '
             'number rounded to 10 decimals.', _shortened(said::numeric), stored),
      'Parse the payload''s numbers as decimals, never as binary floats, and round them to 10 decimals at most.',
      table_name, 'INSERT', column_name => member);
  end if;
end
$function$;
comment on function _require_digits is
  'Refuses (AUD-001) a payload whose member is neither the column''s value nor rounds to it, but is nearer to it than '
  'single precision can tell.';
