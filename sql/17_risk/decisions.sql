-- What the guardrail answered: one row for each question about an order that the order path records
--
-- A refusal is recorded whatever the order was, so its columns are null where the guardrail could not read them. A
-- permission is complete. It names the version and the hash of the limits that it stands on. In Safe Mode no limits
-- hold, so a permission needs none; but there the order must reduce a position, at most to zero.
--
-- `limits` is not the writer's word: the trigger takes it from the applied change that has this version and this hash.

create table risk_decisions (
  id              bigserial      not null,
  correlation_id  uuid           null,
  symbol          varchar(500)   null,
  side            varchar(10)    null,
  quantity        decimal_28_10  null,
  price           decimal_28_10  null,
  position        decimal_28_10  null,
  allowed         boolean        not null,
  reason          text           not null,
  mode            varchar(20)    not null,
  risk_version    bigint         null,
  state_hash      char(64)       null,
  limits          jsonb          null,
  decision_maker  varchar(100)   null,
  decided_at      timestamptz    not null,
  row_hash        char(64)       not null,
  created_at      timestamptz    not null,
  recorded_by     text           not null,
  constraint risk_decisions_pkey primary key (id),
  constraint risk_decisions_correlation_id_fkey foreign key (correlation_id) references signals (correlation_id),
  constraint risk_decisions_side_is_known check (side::text = any (array['BUY'::text, 'SELL'::text])),
  constraint risk_decisions_mode_is_known check (mode::text = any (array['NORMAL'::text, 'SAFE_MODE'::text])),
  constraint risk_decisions_reason_is_given check (btrim(reason) <> ''::text),
  constraint risk_decisions_decided_at_is_finite check (isfinite(decided_at)),
  constraint risk_decisions_permission_is_complete check (
    not allowed or symbol is not null and btrim(symbol::text) <> ''::text and side is not null
                   and quantity is not null and quantity > 0),
  constraint risk_decisions_permission_names_its_limits check (
    not allowed or mode::text = 'SAFE_MODE'::text or risk_version is not null and state_hash is not null),
  constraint risk_decisions_safe_mode_only_reduces check (
    not allowed or mode::text <> 'SAFE_MODE'::text
    or position is not null and quantity <= abs(position)
       and case side::text when 'BUY'::text then position < 0 else position > 0 end)
);
create index risk_decisions_correlation_id_idx on risk_decisions (correlation_id);
create index risk_decisions_created_at_idx on risk_decisions (created_at);
comment on table risk_decisions is
  'What the guardrail answered about an order, allowed or refused, and the limits that it answered by. Append-only, '
  'hash-chained; open also in a lockdown.';
comment on column risk_decisions.id             is
  'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column risk_decisions.correlation_id is 'The signal that led to the question; null: none.';
comment on column risk_decisions.symbol         is 'Instrument of the order; null: it could not be read.';
comment on column risk_decisions.side           is 'BUY or SELL; null: it could not be read.';
comment on column risk_decisions.quantity       is 'Quantity of the order, exact; null: it could not be read.';
comment on column risk_decisions.price          is
  'Price at which the order was valued, exact; null: none was given, or it could not be read.';
comment on column risk_decisions.position       is
  'Position before the order, negative if short; null: it could not be read.';
comment on column risk_decisions.allowed        is 'Whether the order may be sent.';
comment on column risk_decisions.reason         is 'Why it was allowed or refused.';
comment on column risk_decisions.mode           is 'State of the guardrail: NORMAL or SAFE_MODE.';
comment on column risk_decisions.risk_version   is
  'Version of the limits that the guardrail held; null: none that it had verified.';
comment on column risk_decisions.state_hash     is
  'Hash of the state that it held; null in Safe Mode, where none holds.';
comment on column risk_decisions.limits         is
  'The limits of that state, and kill_threshold, that of the symbol or null. Computed from risk_change_log; null if no '
  'applied change has that version and that hash.';
comment on column risk_decisions.decision_maker is 'The person or algorithm that is responsible for the question.';
comment on column risk_decisions.decided_at     is 'When the guardrail answered, by its own clock.';
comment on column risk_decisions.row_hash       is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column risk_decisions.created_at     is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column risk_decisions.recorded_by    is 'The login that wrote the row.';

create function _limits_of_state(state jsonb, symbol text) returns jsonb
language sql immutable
set search_path from current
as $function$
  select case when jsonb_typeof(state -> 'limits') = 'object' then state -> 'limits'
              else '{"max_position_size_pct": null, "daily_drawdown_limit_pct": null, "max_leverage_ratio": null}' end
    || jsonb_build_object('kill_threshold', (
         select t.value from jsonb_array_elements(state -> 'kill_thresholds') as t
         where t.value ->> 'asset' = symbol));
$function$;
comment on function _limits_of_state is
  'The limits of a state, and kill_threshold, that of one symbol or null.';

create function _limits_of_decision(risk_version bigint, state_hash text, symbol text) returns jsonb
language plpgsql
set search_path from current
as $function$
declare
  query   constant text := 'select _limits_of_state(c.state_text::jsonb, $3) from only risk_change_log as c'
                           ' where c.version = $1 and c.state_hash = $2';
  limits  jsonb;
begin
  execute query into limits using risk_version, state_hash, symbol;  -- planned anew, because the log grows
  return limits;
end
$function$;
comment on function _limits_of_decision is
  'The limits of the state that a decision names; null if no applied change has that version and that hash.';

select _protect_table('risk_decisions', 'AUD-013', 'AUD-014');
select _count_attempts('AUD-008', 'risk_decisions', 'INSERT');
select _chain_attach('risk_decisions', open_in_lockdown => true, is_internal => false, validation => $statements$
  new.limits := _limits_of_decision(new.risk_version, new.state_hash, new.symbol);
  if new.correlation_id is not null then
    perform _require_signal(tg_argv[0], new.correlation_id);
  end if;
$statements$);

create type recorded_decision as (
  id              bigint,
  correlation_id  uuid,
  symbol          text,
  side            text,
  quantity        numeric,
  price           numeric,
  position        numeric,
  allowed         boolean,
  reason          text,
  mode            text,
  risk_version    bigint,
  state_hash      text,
  limits          jsonb,
  decision_maker  text,
  decided_at      timestamptz,
  row_hash        text,
  created_at      timestamptz,
  recorded_by     text,
  is_new          boolean
);
comment on type recorded_decision is 'A row of risk_decisions, and whether this call recorded it: always true.';
select _comment_result('recorded_decision', 'risk_decisions');

-- Money as in 09_write/record.sql.
create function record_decision(
  correlation_id  uuid,
  symbol          text,
  side            text,
  quantity        anycompatible,
  price           anycompatible,
  "position"      anycompatible,
  allowed         boolean,
  reason          text,
  mode            text,
  risk_version    bigint         default null,
  state_hash      text           default null,
  decision_maker  text           default null,
  decided_at      timestamptz    default null,
  money_type      anycompatible  default null::numeric
) returns recorded_decision
language plpgsql
set search_path from current
as $function$
declare
  stored  risk_decisions;
begin
  if pg_typeof(quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('quantity, price or position', pg_typeof(quantity));
  end if;
  if char_length(symbol) > 500 or char_length(side) > 10 or char_length(mode) > 20 or char_length(state_hash) > 64
     or char_length(decision_maker) > 100 then
    perform _refuse_too_long('risk_decisions', '{symbol,side,mode,state_hash,decision_maker}',
                             array[symbol, side, mode, state_hash, decision_maker]);
  end if;
  insert into risk_decisions as d (correlation_id, symbol, side, quantity, price, position, allowed, reason, mode,
                                   risk_version, state_hash, decision_maker, decided_at)
  values (record_decision.correlation_id, record_decision.symbol, record_decision.side,
          record_decision.quantity::numeric, record_decision.price::numeric, record_decision.position::numeric,
          record_decision.allowed, record_decision.reason, record_decision.mode, record_decision.risk_version,
          record_decision.state_hash, record_decision.decision_maker,
          coalesce(record_decision.decided_at, clock_timestamp()))
  returning d.* into stored;
  return row(stored.id, stored.correlation_id, stored.symbol, stored.side, stored.quantity, stored.price,
             stored.position, stored.allowed, stored.reason, stored.mode, stored.risk_version, stored.state_hash,
             stored.limits, stored.decision_maker, stored.decided_at, stored.row_hash, stored.created_at,
             stored.recorded_by, true)::recorded_decision;
end
$function$;
comment on function record_decision is
  'Records what the guardrail answered about an order and returns the row; open also in a lockdown. decided_at: now, '
  'if it is not given. Every call is a row. Raises AUD-001, AUD-008, AUD-012.';

-- As those of 09_write/append.sql.
select _create_append('record_decision', $template$
create procedure append_decision(
  inout correlation_id   uuid,
  symbol                 text,
  side                   text,
  quantity               anycompatible,
  price                  anycompatible,
  "position"             anycompatible,
  allowed                boolean,
  reason                 text,
  mode                   text,
  risk_version           bigint         default null,
  state_hash             text           default null,
  decision_maker         text           default null,
  decided_at             timestamptz    default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.recorded_decision;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  stored := {home:I}.record_decision(correlation_id, symbol, side, quantity, price, "position", allowed, reason, mode,
                                     risk_version, state_hash, decision_maker, decided_at, money_type);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
end
$procedure$;
$template$);
comment on procedure append_decision is
  'Records a decision as record_decision does, and returns once it is on disk, without holding the chain while it '
  'waits. Raises 2D000 inside a transaction.';

select _grant('select, insert on', '{risk_decisions}', '{app_trading}'),
       _grant('select on', '{risk_decisions}', '{app_auditor, app_risk}'),
       _grant('usage on sequence', '{risk_decisions_id_seq}', '{app_trading}');
select _grant('execute on routine', '{record_decision, append_decision}', '{app_trading}');
