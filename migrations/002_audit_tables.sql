-- 002_audit_tables: the five tables of the audit log, and the log of lockdowns and maintenance.
-- Built from sql/ by bin/build; change it there.
-- depends: 001_core_functions

-- The frame of every migration but the first: one DO block, so one transaction and one checksum however it is applied.
-- Somebody else's function could stand in front of PostgreSQL's own until search_path is set, so everything before that
-- is named with its schema. sql/01_install/migrations.sql explains the rest.

do $migration$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_migration' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not _begin_migration('002_audit_tables') then return; end if;

-- sql/07_audit/webhook_deliveries.sql

-- Webhook deliveries: whatever arrived, byte for byte, before anybody read it
--
-- A delivery is a row whatever its bytes are: JSON or not, text, half an emoji, nothing. What a signal is made of can
-- be looked up in it later, and its HMAC checked again (docs/auditor-guide.md). A delivery that arrives twice is two
-- rows, because the same bytes may be meant twice: what makes a signal one is its signal_id.
--
-- A body over 1 MiB is recorded as what it was: its hash, its size, and its first 4,096 bytes.

create table webhook_deliveries (
  id             bigserial    not null,
  source_ip      inet         null,
  content_type   text         null,
  headers        jsonb        null,
  raw_body       bytea        not null,
  body_size      bigint       not null,
  body_sha256    char(64)     not null,
  signature      text         null,
  hmac_verified  boolean      not null  default false,
  row_hash       char(64)     not null,
  created_at     timestamptz  not null,
  recorded_by    text         not null,
  constraint webhook_deliveries_pkey primary key (id),
  constraint webhook_deliveries_headers_is_object check (jsonb_typeof(headers) = 'object'::text),
  constraint webhook_deliveries_body_is_whole_or_begins check (
    body_size = octet_length(raw_body) or body_size > 1048576 and octet_length(raw_body) = 4096)
);
create index webhook_deliveries_created_at_idx on webhook_deliveries (created_at);
comment on table webhook_deliveries is
  'Webhooks as they arrived, byte for byte, one row for each delivery. Append-only, hash-chained; open also in a '
  'lockdown.';
comment on column webhook_deliveries.id            is
  'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column webhook_deliveries.source_ip     is 'Address that the webhook came from.';
comment on column webhook_deliveries.content_type  is 'The Content-Type that was sent.';
comment on column webhook_deliveries.headers       is
  'Headers that the application passed on, an object. Cookies and credentials are left out, whatever is passed.';
comment on column webhook_deliveries.raw_body      is
  'The body''s exact bytes; of a body over 1 MiB the first 4,096.';
comment on column webhook_deliveries.body_size     is 'How many bytes arrived. Computed.';
comment on column webhook_deliveries.body_sha256   is 'SHA-256 of all bytes that arrived, in hex. Computed.';
comment on column webhook_deliveries.signature     is 'The signature as it was sent, usually an HMAC of the body.';
comment on column webhook_deliveries.hmac_verified is
  'Whether the application verified the signature; recorded here, not checked here.';
comment on column webhook_deliveries.row_hash      is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column webhook_deliveries.created_at    is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column webhook_deliveries.recorded_by   is 'The login that wrote the row.';

-- sql/07_audit/signals.sql

-- Signals: what the outside world asked for
--
-- The audit log has five tables, one file each: a webhook is delivered (webhook_deliveries), a signal is read from it,
-- models debate it (ai_debates), an order is sent (order_execution), and things happen to the order (order_events). All
-- of them are append-only and hash-chained: the database assigns id, created_at, recorded_by and row_hash, whatever a
-- writer supplies. Their triggers (validate.sql, attach.sql) follow in migration 003, after 08_lockdown/events.sql to
-- writers.sql, because they need the lockdown.
--
-- A new column: until manifest.toml says that 002 is released, edit the CREATE TABLE (recorded_by stays last). Once it
-- is released, a new migration adds the column and calls chain_extend. What else it touches: 09_write/record.sql.

create table signals (
  id              bigserial      not null,
  correlation_id  uuid           not null,
  signal_id       varchar(64)    not null,
  symbol          varchar(20)    not null,
  side            varchar(10)    not null,
  price           decimal_28_10  not null,
  quantity        decimal_28_10  not null,
  raw_payload     jsonb          not null,
  source_ip       inet           null,
  hmac_verified   boolean        not null  default false,
  delivery_id     bigint         null,
  row_hash        char(64)       not null,
  created_at      timestamptz    not null,
  recorded_by     text           not null,
  constraint signals_pkey primary key (id),
  constraint signals_correlation_id_key unique (correlation_id),
  constraint signals_signal_id_key unique (signal_id),
  constraint signals_delivery_id_fkey foreign key (delivery_id) references webhook_deliveries (id),
  constraint signals_signal_id_is_given check (btrim(signal_id::text) <> ''::text),
  constraint signals_symbol_is_given check (btrim(symbol::text) <> ''::text),
  constraint signals_side_is_known check (side::text = any (array['BUY'::text, 'SELL'::text])),
  constraint signals_price_is_positive check (price > 0),
  constraint signals_quantity_is_positive check (quantity > 0)
);
perform _default_uuid('signals', 'correlation_id');
create index signals_created_at_idx on signals (created_at);
create index signals_delivery_id_idx on signals (delivery_id);
comment on table  signals                is 'Signals as they arrived, one row each. Append-only, hash-chained.';
comment on column signals.id             is 'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column signals.correlation_id is 'What debates and orders refer to. Generated, or kept if given.';
comment on column signals.signal_id      is 'The sender''s idempotency key.';
comment on column signals.symbol         is 'Instrument, as the sender names it.';
comment on column signals.side           is 'BUY or SELL.';
comment on column signals.price          is 'Price of the alert, exact.';
comment on column signals.quantity       is 'Quantity of the alert, exact.';
comment on column signals.raw_payload    is 'The webhook''s body, as JSON.';
comment on column signals.source_ip      is 'Address that the webhook came from.';
comment on column signals.hmac_verified is
  'Whether the application verified the webhook''s HMAC; recorded here, not checked here.';
comment on column signals.delivery_id    is 'The delivery that the signal was read from.';
comment on column signals.row_hash       is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column signals.created_at is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column signals.recorded_by    is 'The login that wrote the row.';

-- sql/07_audit/ai_debates.sql

-- Debates: what each model said about a signal, and how long it took

create table ai_debates (
  id                bigserial     not null,
  correlation_id    uuid          not null,
  model_name        varchar(50)   not null,
  reasoning_json    jsonb         not null,
  confidence_score  decimal_5_4   not null,
  elapsed_ms        integer       not null,
  is_timeout        boolean       not null  default false,
  model_version     varchar(100)  null,
  row_hash          char(64)      not null,
  created_at        timestamptz   not null,
  recorded_by       text          not null,
  constraint ai_debates_pkey primary key (id),
  constraint ai_debates_correlation_id_fkey foreign key (correlation_id) references signals (correlation_id),
  constraint ai_debates_model_name_is_given check (btrim(model_name::text) <> ''::text),
  constraint ai_debates_confidence_score_is_share check (confidence_score >= 0 and confidence_score <= 1),
  constraint ai_debates_timeout_has_no_confidence check (not is_timeout or confidence_score = 0),
  constraint ai_debates_elapsed_ms_is_not_negative check (elapsed_ms >= 0)
);
create index ai_debates_correlation_id_idx on ai_debates (correlation_id);
create index ai_debates_created_at_idx on ai_debates (created_at);
comment on table  ai_debates                  is 'What each model said about a signal. Append-only, hash-chained.';
comment on column ai_debates.id               is 'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column ai_debates.correlation_id   is 'The signal that was debated.';
comment on column ai_debates.model_name is
  'Model, free text; deepseek-r1, llama-3.1, phi-4 and timeout are the known ones.';
comment on column ai_debates.reasoning_json   is 'The model''s answer.';
comment on column ai_debates.confidence_score is 'The model''s confidence, 0 to 1; 0 for a timeout.';
comment on column ai_debates.elapsed_ms       is 'How long the model took, in milliseconds.';
comment on column ai_debates.is_timeout       is 'Whether the model gave no answer in time.';
comment on column ai_debates.model_version    is 'Which version of the model, as its provider names it.';
comment on column ai_debates.row_hash         is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column ai_debates.created_at is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column ai_debates.recorded_by      is 'The login that wrote the row.';

-- sql/07_audit/order_execution.sql

-- Orders: recorded before they are sent, and again once the exchange has given them its id

create table order_execution (
  id                 bigserial      not null,
  correlation_id     uuid           not null,
  order_type         varchar(20)    not null,
  symbol             varchar(20)    not null,
  side               varchar(10)    not null,
  quantity           decimal_28_10  not null,
  price              decimal_28_10  null,
  exchange_order_id  varchar(64)    null,
  status             varchar(20)    not null  default 'PENDING',
  client_order_id    varchar(64)    null,
  stop_price         decimal_28_10  null,
  decision_maker     varchar(100)   null,
  exchange_status    text           null,
  row_hash           char(64)       not null,
  created_at         timestamptz    not null,
  recorded_by        text           not null,
  constraint order_execution_pkey primary key (id),
  constraint order_execution_client_order_id_key unique (client_order_id, status),
  constraint order_execution_correlation_id_fkey foreign key (correlation_id) references signals (correlation_id),
  constraint order_execution_order_type_is_known check (
    order_type::text = any (array['MARKET'::text, 'LIMIT'::text, 'STOP'::text, 'STOP_LIMIT'::text,
                                  'TAKE_PROFIT'::text, 'TAKE_PROFIT_LIMIT'::text, 'TRAILING_STOP'::text])),
  constraint order_execution_symbol_is_given check (btrim(symbol::text) <> ''::text),
  constraint order_execution_side_is_known check (side::text = any (array['BUY'::text, 'SELL'::text])),
  constraint order_execution_quantity_is_positive check (quantity > 0),
  constraint order_execution_price_is_positive check (price > 0),
  constraint order_execution_stop_price_is_positive check (stop_price > 0),
  constraint order_execution_market_has_no_price check (order_type::text <> 'MARKET'::text or price is null),
  constraint order_execution_limit_has_price check (
    not (order_type::text = any (array['LIMIT'::text, 'STOP_LIMIT'::text, 'TAKE_PROFIT_LIMIT'::text]))
    or price is not null),
  constraint order_execution_stop_has_price check (
    not (order_type::text = any (array['STOP'::text, 'TAKE_PROFIT'::text]))
    or price is not null or stop_price is not null),
  constraint order_execution_only_stop_has_stop_price check (
    not (order_type::text = any (array['MARKET'::text, 'LIMIT'::text])) or stop_price is null),
  constraint order_execution_client_order_id_is_given check (btrim(client_order_id::text) <> ''::text),
  constraint order_execution_status_is_known check (
    status::text = any (array['PENDING'::text, 'SUBMITTED'::text, 'PARTIALLY_FILLED'::text, 'FILLED'::text,
                              'CANCELLED'::text, 'REJECTED'::text, 'EXPIRED'::text]))
);
create index order_execution_correlation_id_idx on order_execution (correlation_id);
create index order_execution_created_at_idx on order_execution (created_at);
comment on table order_execution is
  'Orders: recorded PENDING before they are sent, and again with their exchange_order_id. Append-only, hash-chained.';
comment on column order_execution.id is
  'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column order_execution.correlation_id    is 'The signal that led to the order.';
comment on column order_execution.order_type        is
  'MARKET, LIMIT, STOP, STOP_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT or TRAILING_STOP.';
comment on column order_execution.symbol            is 'Instrument.';
comment on column order_execution.side              is 'BUY or SELL.';
comment on column order_execution.quantity          is 'Quantity ordered, exact.';
comment on column order_execution.price             is
  'Limit price, exact; of a STOP or TAKE_PROFIT without stop_price the price that triggers it. A MARKET has none.';
comment on column order_execution.exchange_order_id is 'The exchange''s id of the order, once it has one.';
comment on column order_execution.status            is 'Status at submission; the life after it is in order_events.';
comment on column order_execution.client_order_id   is
  'The id that the application gave the order: its idempotency key, together with status.';
comment on column order_execution.stop_price        is 'Price that triggers the order, exact.';
comment on column order_execution.decision_maker    is 'The person or algorithm that is responsible for the order.';
comment on column order_execution.exchange_status   is 'The exchange''s own word for the status.';
comment on column order_execution.row_hash          is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column order_execution.created_at is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column order_execution.recorded_by       is 'The login that wrote the row.';

-- sql/07_audit/order_events.sql

-- Order events: what became of an order, and the kill switch

create table order_events (
  id                   bigserial      not null,
  order_execution_id   bigint         null,
  event_type           varchar(30)    not null,
  fill_quantity        decimal_28_10  null,
  fill_price           decimal_28_10  null,
  zar_equity           decimal_28_2   null,
  positions_closed     jsonb          null,
  rejection_reason     text           null,
  exchange_error_code  varchar(50)    null,
  exchange_event_id    varchar(64)    null,
  exchange_status      text           null,
  row_hash             char(64)       not null,
  created_at           timestamptz    not null,
  recorded_by          text           not null,
  constraint order_events_pkey primary key (id),
  constraint order_events_order_execution_id_fkey foreign key (order_execution_id) references order_execution (id),
  constraint order_events_event_type_is_known check (
    event_type::text = any (array['FILL'::text, 'PARTIAL_FILL'::text, 'REJECTED'::text, 'CANCELLED'::text,
                                  'KILL_SWITCH'::text, 'EXPIRED'::text, 'ACKNOWLEDGED'::text, 'REPLACED'::text,
                                  'TRIGGERED'::text, 'LIQUIDATION'::text])),
  constraint order_events_order_is_given check (
    order_execution_id is not null or event_type::text = any (array['KILL_SWITCH'::text, 'LIQUIDATION'::text])),
  constraint order_events_exchange_event_id_is_given check (btrim(exchange_event_id::text) <> ''::text),
  constraint order_events_fill_quantity_is_positive check (fill_quantity > 0),
  constraint order_events_fill_price_is_positive check (fill_price > 0),
  constraint order_events_positions_closed_is_array check (jsonb_typeof(positions_closed) = 'array'::text),
  constraint order_events_fill_is_complete check (
    not (event_type::text = any (array['FILL'::text, 'PARTIAL_FILL'::text]))
    or fill_quantity is not null and fill_price is not null),
  constraint order_events_kill_switch_is_complete check (event_type::text <> 'KILL_SWITCH'::text
    or zar_equity is not null and positions_closed is not null),
  constraint order_events_rejection_has_reason check (event_type::text <> 'REJECTED'::text
    or rejection_reason is not null and btrim(rejection_reason) <> ''::text)
);
create index order_events_order_execution_id_idx on order_events (order_execution_id);
-- Events without an order have exchange_event_id as their key among themselves: no order has the id 0.
create unique index order_events_exchange_event_id_key on order_events
  (coalesce(order_execution_id, 0::bigint), exchange_event_id) where exchange_event_id is not null;
create index order_events_created_at_idx on order_events (created_at);
comment on table order_events is
  'What became of an order, and the kill switch. Append-only, hash-chained; open also in a lockdown.';
comment on column order_events.id is
  'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column order_events.order_execution_id  is
  'The order; null only for a KILL_SWITCH or a LIQUIDATION without an order of ours.';
comment on column order_events.event_type is
  'ACKNOWLEDGED, TRIGGERED, PARTIAL_FILL, FILL, REPLACED, CANCELLED, EXPIRED, REJECTED, LIQUIDATION or KILL_SWITCH.';
comment on column order_events.fill_quantity       is 'Quantity filled, exact; a fill has one.';
comment on column order_events.fill_price          is 'Price of the fill, exact; a fill has one.';
comment on column order_events.zar_equity          is 'Account equity in rand at this moment; a KILL_SWITCH has one.';
comment on column order_events.positions_closed    is 'The positions that a KILL_SWITCH closed, an array.';
comment on column order_events.rejection_reason    is 'Why the exchange refused; a REJECTED has one.';
comment on column order_events.exchange_error_code is 'The exchange''s code for it.';
comment on column order_events.exchange_event_id   is
  'The exchange''s id of the event, such as a trade id: the idempotency key among the events of one order.';
comment on column order_events.exchange_status     is 'The exchange''s own word for what happened.';
comment on column order_events.row_hash            is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column order_events.created_at is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column order_events.recorded_by         is 'The login that wrote the row.';

-- sql/08_lockdown/events.sql

-- The lockdown: after proven damage, the tables of the audit log take no rows until agents agree to go on.
--
-- The chapter:
--   events.sql     the log of lockdowns, the three sequences that hold the alarm, and the log of maintenance
--   consensus.sql  three questions that only 12_consensus can answer, with the answer until it is installed
--   damage.sql     the damage that a release must list, and the damage that releases acknowledged
--   status.sql     lockdown_status(): whether it is engaged, since when, over what
--   engage.sql     raises the alarm and records it; explains how the lockdown engages
--   attend.sql     what verification does about an alarm that nobody recorded, or that was set back
--   writers.sql    what writers ask, and how they are refused
--   release.sql    which RELEASED event is accepted

create table lockdown_events (
  id           bigserial    not null,
  event_type   varchar(10)  not null,
  reason       text         not null,
  damage       jsonb        not null,
  proposal_id  uuid         null,
  alarm        bigint       not null,
  recorded_by  text         not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  constraint lockdown_events_pkey primary key (id),
  constraint lockdown_events_event_type_is_known check (event_type::text = any (array['ENGAGED'::text,
                                                                                      'RELEASED'::text])),
  constraint lockdown_events_reason_is_given check (btrim(reason) <> ''::text),
  constraint lockdown_events_damage_is_array check (jsonb_typeof(damage) = 'array'::text)
);
comment on table  lockdown_events             is
  'The lockdown: engaged by proven damage, released by an approved proposal. Append-only, hash-chained. The alarm '
  'tells whether it is engaged.';
comment on column lockdown_events.id          is 'Position in the chain.';
comment on column lockdown_events.event_type  is 'ENGAGED or RELEASED.';
comment on column lockdown_events.reason      is 'Why, in words.';
comment on column lockdown_events.damage      is
  'Array of {table, id, verdict, actual_hash, expected_hash}: the damage that engaged it, or that the release '
  'acknowledges.';
comment on column lockdown_events.proposal_id is 'The approved proposal that released it; null for ENGAGED.';
comment on column lockdown_events.alarm       is
  'Value of the sequence lockdown_alarm that the event records, or that the release answers.';
comment on column lockdown_events.recorded_by is 'The login that found the damage or completed the approval.';
comment on column lockdown_events.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column lockdown_events.created_at  is 'When it happened.';
-- Sequences, because every transaction sees setval at once, and a rollback does not undo it (engage.sql).
create sequence lockdown_alarm owned by lockdown_events.alarm;
comment on sequence lockdown_alarm is
  'The alarm: a new random number whenever the lockdown is engaged. The lockdown holds until a lawful release names '
  'this very number. Nothing sets it back.';
create sequence lockdown_alarm_by maxvalue 4294967295 owned by lockdown_events.alarm;
comment on sequence lockdown_alarm_by is
  'Oid of the login that raised the alarm last: it stands here even if its transaction is rolled back.';
create unlogged sequence lockdown_lifted owned by lockdown_events.alarm;
comment on sequence lockdown_lifted is
  'The alarm that a writer last saw lawfully released, so that the next one need not look again. Equal to '
  'lockdown_alarm, or neither has a value: no lockdown.';
-- DDL on protected objects is refused where superuser/ddl_guard.sql is installed, unless alpha.maintenance gives a
-- reason. What was let through is recorded here.
create table maintenance_events (
  id               bigserial    not null,
  reason           text         not null,
  command_tag      text         not null,
  object_identity  text         not null,
  recorded_by      text         not null,
  row_hash         char(64)     not null,
  created_at       timestamptz  not null,
  constraint maintenance_events_pkey primary key (id),
  constraint maintenance_events_reason_is_given check (btrim(reason) <> ''::text)
);
comment on table  maintenance_events                 is
  'DDL on protected objects that was let through because alpha.maintenance was set. Append-only, hash-chained.';
comment on column maintenance_events.id              is 'Position in the chain.';
comment on column maintenance_events.reason          is 'The reason given in alpha.maintenance.';
comment on column maintenance_events.command_tag     is 'The command, ALTER TABLE for example.';
comment on column maintenance_events.object_identity is 'The object that it changed.';
comment on column maintenance_events.recorded_by     is 'The login that did it.';
comment on column maintenance_events.row_hash        is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column maintenance_events.created_at      is 'When it happened.';
create function _record_maintenance(reason text, command_tag text, object_identity text) returns void
language sql security definer
set search_path from current
as $function$
  insert into maintenance_events (reason, command_tag, object_identity)
  values (_record_maintenance.reason, _record_maintenance.command_tag, _record_maintenance.object_identity);
$function$;
comment on function _record_maintenance is
  'Records DDL on a protected object that alpha.maintenance let through. Called by the DDL guard.';

-- sql/08_lockdown/consensus.sql

-- Three questions about agents and their signatures. Migration 005_agent_consensus answers them: until it is installed
-- there are no agents, so nothing is approved and nothing can contradict. 12_consensus/problems.sql replaces the first
-- two functions, 12_consensus/validate.sql the third; a rollback of 005 puts these back.

create function _release_holds(event lockdown_events) returns boolean
language sql stable
set search_path from current
as $function$
  select false;
$function$;
comment on function _release_holds is
  'Whether an approved, signed proposal made this RELEASED event. Never, until 005_agent_consensus replaces this.';
create function _consensus_problems()
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _consensus_problems is
  'What does not follow from the bootstrap and the approved, signed proposals. Nothing, until 005_agent_consensus '
  'replaces this.';
create function _release_is_approved(proposal_id uuid, damage jsonb) returns boolean
language sql stable
set search_path from current
as $function$
  select false;
$function$;
comment on function _release_is_approved is
  'Whether the last applied proposal is this release of the lockdown. Never, until 005_agent_consensus replaces this.';

-- sql/08_lockdown/damage.sql

-- The damage that a release must list, the damage that releases acknowledged, and releases that nobody approved.
--
-- lockdown_events.damage holds items {table, id, verdict, actual_hash, expected_hash}, made by _damage_item
-- (05_verify). A release acknowledges exactly the items that it lists, each as long as hash and content stay what they
-- were.

create function _damage_items(damage jsonb) returns table (value jsonb, place bigint)
language sql immutable
set search_path from current
as $function$
  select d.value, d.place
  from jsonb_array_elements(case when jsonb_typeof(_damage_items.damage) = 'array' then _damage_items.damage
                                 else '[]' end) with ordinality as d(value, place);
$function$;
comment on function _damage_items is
  'The items of lockdown_events.damage with their places; none if somebody made it something else than an array.';
create function acknowledged_damage()
returns table (table_name text, id text, verdict text, actual_hash text, expected_hash text, release_id bigint)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  -- Text throughout and no cast that could fail, because what stands here may have been forged. A release that does not
  -- hold in its own chain, or that no quorum signed, acknowledges nothing, least of all itself.
  select d.value ->> 'table', d.value ->> 'id', d.value ->> 'verdict', d.value ->> 'actual_hash',
         d.value ->> 'expected_hash', max(l.id)
  from only lockdown_events as l
  cross join lateral _damage_items(l.damage) as d
  where l.event_type = 'RELEASED' and _release_holds(l)
    and not exists (select from find_chain_damage('lockdown_events') as f where f.id = l.id)
  group by 1, 2, 3, 4, 5;
$function$;
comment on function acknowledged_damage is
  'Damage that a lawful lockdown release has acknowledged, and the last release that did: reported as such for as long '
  'as stored hash and content are what they were.';
create function _forged_releases()
returns table (id bigint, row_hash text)
language sql stable
set search_path from current
set row_security = off
as $function$
  with forged as materialized (
    select l.id, l.row_hash::text as row_hash
    from only lockdown_events as l
    where l.event_type = 'RELEASED' and not _release_holds(l))
  select f.id, f.row_hash
  from forged as f
  where not exists (select from acknowledged_damage() as a
                    where a.table_name = 'lockdown_events' and a.id = f.id::text
                      and a.verdict = 'consensus_mismatch' and a.actual_hash = f.row_hash)
  order by f.id;
$function$;
comment on function _forged_releases is
  'RELEASED events that no approved, signed proposal made, and that no lawful release has acknowledged.';
create function _last_release() returns bigint
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce((select l.id from only lockdown_events as l
                   where l.event_type = 'RELEASED' and _release_holds(l) order by l.id desc limit 1), 0);
$function$;
comment on function _last_release is 'Id of the last lawful RELEASED event; 0 if there is none.';
create function open_damage()
returns table ("table" text, id bigint, verdict text, actual_hash text, expected_hash text)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  -- Once, because each release costs the checks of its signatures.
  with acknowledged as materialized (select a.* from acknowledged_damage() as a)
  select d."table", d.id, d.verdict, d.actual_hash, d.expected_hash
  from (
    select f.damaged_table as "table", f.id, f.verdict, f.actual_hash, f.expected_hash
    from only chains as c
    cross join lateral find_chain_damage(c.table_name) as f
    union
    -- what a chain alone may not show
    select p.value ->> 'table', (p.value ->> 'id')::bigint, p.value ->> 'verdict', p.value ->> 'actual_hash',
           p.value ->> 'expected_hash'
    from only lockdown_events as l
    cross join lateral _damage_items(l.damage) as p
    where l.event_type = 'ENGAGED' and l.id > (select _last_release())
      and p.value ->> 'verdict' in ('tail_missing', 'checkpoint_mismatch')
      and case when p.value ->> 'id' ~ '^[0-9]{1,18}$'
               then exists (select from only chains as c where c.table_name = p.value ->> 'table') end
    union
    select 'lockdown_events', r.id, 'consensus_mismatch', r.row_hash, null
    from _forged_releases() as r
  ) as d
  where not exists (
    select from acknowledged as a
    where a.table_name = d."table" and a.id = d.id::text and a.verdict = d.verdict
      and a.actual_hash is not distinct from d.actual_hash and a.expected_hash is not distinct from d.expected_hash)
  order by (select c.position from only chains as c where c.table_name = d."table"), d.id;
$function$;
comment on function open_damage is
  'The damage that is there now and that no lawful release has acknowledged: what the chains show, and what engaged '
  'the lockdown since the last release though no chain alone shows it. A release must list exactly this.';
create function _compare_with_consensus(result chain_verdict) returns chain_verdict
language plpgsql stable
set search_path from current
as $function$
declare
  forged   record;
  problem  record;
begin
  if result.table_name = 'lockdown_events' then
    select f.* into forged from _forged_releases() as f limit 1;
    if found then
      result := _with_verdict(result, 'consensus_mismatch',
                              format('no approved, signed proposal made release %s', forged.id));
      result.broken_id := forged.id;
      result.expected_hash := null;
      result.actual_hash := forged.row_hash;
    end if;
    return result;
  end if;
  select count(*) as number, (array_agg(p.id))[1] as id,
         string_agg(format('%s %s: %s', p.table_name, p.id, p.problem), '; ') as problems
  into problem from _consensus_problems() as p;
  if problem.number > 0 then
    result := _with_verdict(result, 'consensus_mismatch', left(problem.problems, 2000), 'RSK-007');
    result.broken_id := problem.id;
  end if;
  return result;
end
$function$;
comment on function _compare_with_consensus is
  'Turns a good verdict into consensus_mismatch if a release, an agent, a key, a limit or a quorum is not what the '
  'signed, applied proposals lead to.';

-- sql/08_lockdown/status.sql

-- Whether the lockdown is engaged, since when, and over what. engage.sql explains what the alarm is.

create function _lockdown_is_lifted(event lockdown_events) returns boolean
language sql stable
set search_path from current
as $function$
  select case
    when event.id is null then pg_sequence_last_value('lockdown_alarm'::regclass) is null
    when event.event_type = 'RELEASED' and event.alarm = pg_sequence_last_value('lockdown_alarm'::regclass)
      then _release_holds(event)
    else false end;
$function$;
comment on function _lockdown_is_lifted is
  'Whether there is no lockdown, given the last row of lockdown_events: no alarm was ever raised, or that row lawfully '
  'answers the very alarm that stands.';
create function _alarm_raised_by() returns text
language sql stable
set search_path from current
as $function$
  select coalesce(pg_get_userbyid(pg_sequence_last_value('lockdown_alarm_by'::regclass)::oid)::text, 'somebody');
$function$;
comment on function _alarm_raised_by is 'The login that raised the alarm last; "somebody" if that is not known.';
create function lockdown_status()
returns table (is_locked boolean, since timestamptz, event_id bigint, reason text, damage jsonb)
language plpgsql stable security definer
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  standing  bigint := pg_sequence_last_value('lockdown_alarm'::regclass);
  latest    lockdown_events;
  engaged   lockdown_events;
  released  bigint;
begin
  select * into latest from only lockdown_events as l order by l.id desc limit 1;
  is_locked := not _lockdown_is_lifted(latest);
  if not is_locked then
    return next;
    return;
  end if;
  released := _last_release();
  select * into engaged from only lockdown_events as l
  where l.event_type = 'ENGAGED' and l.id > released order by l.id limit 1;
  since := engaged.created_at;
  -- Of the alarm that stands; 0 is that of an event that could raise none.
  if exists (select from only lockdown_events as l
             where l.event_type = 'ENGAGED' and l.alarm = coalesce(standing, 0) and l.id > released) then
    event_id := engaged.id;
  end if;
  select coalesce(jsonb_agg(d.value order by d.first_id, d.first_place), '[]') into damage
  from (select p.value, min(l.id) as first_id, min(p.place) as first_place
        from only lockdown_events as l
        cross join lateral _damage_items(l.damage) as p
        where l.event_type = 'ENGAGED' and l.id > released
        group by p.value) as d;
  reason := engaged.reason;
  if latest.event_type = 'RELEASED' and engaged.id is null then
    reason := format('lockdown event %s (RELEASED) is not an approved release of the alarm that stands', latest.id);
  elsif event_id is null then
    reason := concat_ws('; ', reason,
                        format('an alarm raised by %s is not recorded as an event yet', _alarm_raised_by()));
  end if;
  return next;
end
$function$;
comment on function lockdown_status is
  'One row: whether the lockdown is engaged, since when, by which event (null: none records the alarm that stands '
  'yet), why, and all the damage that was found since the last lawful release.';

perform _finish_migration('002_audit_tables');
end
$migration$;
