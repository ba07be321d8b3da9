-- Triggers of the audit log and of the lockdown's two tables
--
-- PostgreSQL fires the triggers of a table in the order of their names: 02_refusals/protect.sql lists them.

select _protect_table('webhook_deliveries', 'AUD-013', 'AUD-014');
select _protect_table('signals',            'AUD-002', 'AUD-003');
select _protect_table('ai_debates',         'AUD-004', 'AUD-005');
select _protect_table('order_execution',    'AUD-006', 'AUD-007');
select _protect_table('order_events',       'AUD-006', 'AUD-007');
select _protect_table('lockdown_events',    'AUD-011', 'AUD-011');
select _protect_table('maintenance_events', 'AUD-011', 'AUD-011');
select _owner_only('lockdown_events', 'AUD-011'), _owner_only('maintenance_events', 'AUD-011');

create trigger _500_validate before insert on lockdown_events
  for each row execute function _validate_lockdown_event('lockdown_events');
create trigger _400_raise_alarm before insert on lockdown_events
  for each row execute function _raise_lockdown_alarm();
alter table lockdown_events enable always trigger _400_raise_alarm;  -- for rows that are replicated, too
comment on trigger _500_validate on lockdown_events    is 'Refuses a release that no approved proposal made (AUD-009).';
comment on trigger _400_raise_alarm on lockdown_events is 'Raises the alarm of an event that is replicated.';

select _count_attempts('AUD-001', 'signals',         'INSERT');
select _count_attempts('AUD-008', 'signals',         'INSERT');
select _count_attempts('AUD-008', 'ai_debates',      'INSERT');
select _count_attempts('AUD-008', 'order_execution', 'INSERT');
select _count_attempts('AUD-008', 'order_events',    'INSERT');
select _count_attempts('AUD-009', 'lockdown_events', 'INSERT');
select _count_attempts('AUD-010', 'signals',         'INSERT');
select _count_attempts('AUD-010', 'order_execution', 'INSERT');
select _count_attempts('AUD-010', 'order_events',    'INSERT');

-- In the order in which a transaction that writes several takes them. Deliveries are open in a lockdown, so that what
-- arrives is kept; events, so that a liquidation can be recorded against the order that opened the position.
select _chain_attach('webhook_deliveries', open_in_lockdown => true,  is_internal => false, validation => $statements$
  new.body_size := octet_length(new.raw_body);
  new.body_sha256 := encode(sha256(new.raw_body), 'hex');
  if new.body_size > 1048576 then
    new.raw_body := substr(new.raw_body, 1, 4096);
  end if;
  if new.headers is not null then
    new.headers := _kept_headers(tg_argv[0], new.headers);
  end if;
$statements$);

-- Most payloads say the very price and quantity, or none. Only for the others is it worth to look closer.
select _chain_attach('signals', open_in_lockdown => false, is_internal => false, validation => _fill($statements$
  if new.correlation_id is null then
    new.correlation_id := {new_uuid:s};
  end if;
  if new.delivery_id is not null then
    perform _require_delivery(tg_argv[0], new.delivery_id);
  end if;
  if new.raw_payload -> 'price' <> to_jsonb(new.price) or new.raw_payload -> 'quantity' <> to_jsonb(new.quantity) then
    perform _require_digits(tg_argv[0], 'price', new.raw_payload -> 'price', new.price),
            _require_digits(tg_argv[0], 'quantity', new.raw_payload -> 'quantity', new.quantity);
  end if;
$statements$, 'new_uuid', _uuid_generator()));

select _chain_attach('ai_debates',         open_in_lockdown => false, is_internal => false, validation => $statements$
  if new.correlation_id is not null then
    perform _require_signal(tg_argv[0], new.correlation_id);
  end if;
$statements$);

select _chain_attach('order_execution',    open_in_lockdown => false, is_internal => false, validation => $statements$
  if new.correlation_id is not null then
    perform _require_signal(tg_argv[0], new.correlation_id);
  end if;
$statements$);

select _chain_attach('order_events',       open_in_lockdown => true,  is_internal => false, validation => $statements$
  if new.order_execution_id is not null then
    perform _require_order(tg_argv[0], new.order_execution_id);
  end if;
$statements$);

select _chain_attach('lockdown_events');
select _chain_attach('maintenance_events');
