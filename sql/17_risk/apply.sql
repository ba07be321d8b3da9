-- Applying a change of limits
--
-- _apply_proposal (12_consensus/apply.sql) calls _apply_risk_change after it has written the entry of risk_change_log.
-- It ends the current version, writes the next, and compares the state that then stands in the tables with the state in
-- the entry. The trigger _guard_risk_change refuses every other write to these tables.

create function _stored_limits() returns jsonb
language sql stable
set search_path from current
as $function$
  select to_jsonb(r) from (
    select c.max_position_size_pct, c.daily_drawdown_limit_pct, c.max_leverage_ratio
    from only risk_configurations as c where c.valid_to is null) as r;
$function$;
comment on function _stored_limits is 'The current limits as they stand in their table; null if there are none.';

create function _stored_kill_thresholds() returns jsonb
language sql stable
set search_path from current
as $function$
  select coalesce(jsonb_agg(jsonb_build_object('asset', t.asset, 'kill_loss_pct', t.kill_loss_pct,
                                               'kill_price', t.kill_price)), '[]')
  from only risk_asset_kill_thresholds as t where t.valid_to is null and not t.retired;
$function$;
comment on function _stored_kill_thresholds is 'The current kill thresholds as they stand in their table.';

create function _stored_state_text() returns text
language sql stable
set search_path from current
set row_security = off
as $function$
  select _state_text(coalesce((select c.version from only risk_change_log as c order by c.id desc limit 1), 0),
                     _stored_limits(), _stored_kill_thresholds());
$function$;
comment on function _stored_state_text is 'The canonical text of the state, made from the rows of the risk tables.';

create function _require_stored_state(expected text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if _stored_state_text() is distinct from expected then
    perform _refuse_consensus(
      'RSK-007', 'the risk tables do not hold what the applied proposals say',
      format('Stored: %s. Replayed: %s.', _stored_state_text(), expected),
      'The tables were changed by force: select * from verify_config_integrity() shows where.');
  end if;
end
$function$;
comment on function _require_stored_state is
  'Raises RSK-007 unless the risk tables hold this state: nothing is built on a limit that was changed by force.';

create function _apply_limits(change risk_change_log, proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
declare
  payload  jsonb := proposal.payload;
  ended    timestamptz;
begin
  -- A version begins after the one before, even if the clock was set back meanwhile.
  update only risk_configurations as c
  set valid_to = greatest(change.created_at, c.valid_from + interval '1 microsecond')
  where c.valid_to is null returning c.valid_to into ended;
  insert into risk_configurations (max_position_size_pct, daily_drawdown_limit_pct, max_leverage_ratio,
    reason_for_change, approved_by_agent_id, valid_from, prev_to, version, proposal_id, state_hash)
  values (round((payload ->> 'max_position_size_pct')::numeric, 4),
    round((payload ->> 'daily_drawdown_limit_pct')::numeric, 4), round((payload ->> 'max_leverage_ratio')::numeric, 2),
    proposal.reason, change.approved_by, coalesce(ended, change.created_at), ended, change.version,
    proposal.proposal_id, change.state_hash);
end
$function$;
comment on function _apply_limits is
  'Ends the current version of the limits and writes the next.';

create function _apply_kill_threshold(change risk_change_log, proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
declare
  payload  jsonb := proposal.payload;
  ended    timestamptz;
begin
  update only risk_asset_kill_thresholds as t
  set valid_to = greatest(change.created_at, t.valid_from + interval '1 microsecond')
  where t.valid_to is null and t.asset = payload ->> 'asset' returning t.valid_to into ended;
  insert into risk_asset_kill_thresholds (asset, kill_loss_pct, kill_price, retired,
    reason_for_change, approved_by_agent_id, valid_from, prev_to, version, proposal_id, state_hash)
  values (payload ->> 'asset', round((payload ->> 'kill_loss_pct')::numeric, 4),
    round((payload ->> 'kill_price')::numeric, 10), (payload ->> 'retired')::boolean,
    proposal.reason, change.approved_by, coalesce(ended, change.created_at), ended, change.version,
    proposal.proposal_id, change.state_hash);
end
$function$;
comment on function _apply_kill_threshold is
  'Ends the current version of an asset''s threshold and writes the next.';

create function _apply_risk_change(change risk_change_log, proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
begin
  case proposal.kind::text
    when 'risk_config'          then perform _apply_limits(change, proposal);
    when 'asset_kill_threshold' then perform _apply_kill_threshold(change, proposal);
    else perform _unknown_kind(proposal.kind::text);
  end case;
  perform _require_stored_state(change.state_text);
end
$function$;
comment on function _apply_risk_change is
  'Closes the current version and opens the next, as the last entry of risk_change_log says. Raises RSK-007 if the '
  'tables were changed by force. Called by _apply_proposal.';
