-- Applying

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
  select coalesce(jsonb_agg(jsonb_build_object('asset', t.asset, 'kill_loss_pct', t.kill_loss_pct, 'kill_price', t.kill_price)), '[]')
  from only risk_asset_kill_thresholds as t where t.valid_to is null and not t.retired;
$function$;
comment on function _stored_kill_thresholds is 'The current kill thresholds as they stand in their table.';

create function _stored_state_text() returns text
language sql stable
set search_path from current
set row_security = off
as $function$
  select _state_text(coalesce((select c.version from only risk_change_log as c order by c.id desc limit 1), 0), _stored_limits(), _stored_kill_thresholds());
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

create function _apply_risk_change(change risk_change_log, proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
declare
  ended  timestamptz;
begin
  -- A version begins after the one before, even if the clock was set back meanwhile.
  if proposal.kind::text = 'risk_config' then
    update only risk_configurations as c
    set valid_to = greatest(change.created_at, c.valid_from + interval '1 microsecond')
    where c.valid_to is null returning c.valid_to into ended;
    insert into risk_configurations (max_position_size_pct, daily_drawdown_limit_pct, max_leverage_ratio,
      reason_for_change, approved_by_agent_id, valid_from, prev_to, version, proposal_id, state_hash)
    values (round((proposal.payload ->> 'max_position_size_pct')::numeric, 4), round((proposal.payload ->> 'daily_drawdown_limit_pct')::numeric, 4),
      round((proposal.payload ->> 'max_leverage_ratio')::numeric, 2),
      proposal.reason, change.approved_by, coalesce(ended, change.created_at), ended, change.version,
      proposal.proposal_id, change.state_hash);
  else
    update only risk_asset_kill_thresholds as t
    set valid_to = greatest(change.created_at, t.valid_from + interval '1 microsecond')
    where t.valid_to is null and t.asset = proposal.payload ->> 'asset' returning t.valid_to into ended;
    insert into risk_asset_kill_thresholds (asset, kill_loss_pct, kill_price, retired,
      reason_for_change, approved_by_agent_id, valid_from, prev_to, version, proposal_id, state_hash)
    values (proposal.payload ->> 'asset', round((proposal.payload ->> 'kill_loss_pct')::numeric, 4), round((proposal.payload ->> 'kill_price')::numeric, 10),
      (proposal.payload ->> 'retired')::boolean,
      proposal.reason, change.approved_by, coalesce(ended, change.created_at), ended, change.version,
      proposal.proposal_id, change.state_hash);
  end if;
  perform _require_stored_state(change.state_text);
end
$function$;
comment on function _apply_risk_change is
  'Closes the current version and opens the next, as the last entry of risk_change_log says. Raises RSK-007 if the '
  'tables were changed by force. Called by _apply_proposal.';

------------------------------------------------------------------------------------------------------------------------
-- Nobody writes these tables but by an applied proposal
------------------------------------------------------------------------------------------------------------------------

create function _guard_risk_change() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  change    risk_change_log;
  payload   jsonb;
  reason    text;
begin
  select * into change from only risk_change_log as c order by c.id desc limit 1;
  select p.payload, p.reason into payload, reason from only proposals as p where p.proposal_id = change.proposal_id;
  if tg_op = 'INSERT' then
    if new.proposal_id = change.proposal_id and change.kind::text = tg_argv[1]
       and new.version = change.version and new.state_hash = change.state_hash
       and new.valid_from = coalesce(new.prev_to, change.created_at) and new.valid_from >= change.created_at
       and new.valid_to is null
       and new.approved_by_agent_id = change.approved_by and new.reason_for_change = reason
       -- what the payload says of this table's columns, as decimals, not as texts
       and not exists (
         select from jsonb_each_text(payload) as m
         where case when m.value ~ '^[0-9.]+$' then (to_jsonb(new) ->> m.key)::numeric is distinct from m.value::numeric
                    else to_jsonb(new) ->> m.key is distinct from m.value end) then
      return new;
    end if;
  elsif tg_op = 'UPDATE' then
    -- Only the end of the current version, at the moment of the change that the log's last entry made, and not of its
    -- own version.
    if old.valid_to is null and new.valid_to = greatest(change.created_at, old.valid_from + interval '1 microsecond')
       and change.kind::text = tg_argv[1] and old.version < change.version
       and (tg_argv[1] = 'risk_config' or to_jsonb(old) ->> 'asset' = payload ->> 'asset')
       and to_jsonb(new) - 'valid_to' = to_jsonb(old) - 'valid_to' then
      return new;
    end if;
  end if;
  perform _refuse_direct_change(tg_argv[0], tg_op,
    format('Row %s would be changed by %s.', coalesce(to_jsonb(old), to_jsonb(new)) ->> 'id', session_user));
  return null;
end
$function$;
comment on function _guard_risk_change is
  'Row trigger: refuses (RSK-002) all but what the last applied proposal says. Arguments: table, kind of proposal.';

select _count_attempts('RSK-002', t.name, 'TRUNCATE'), _owner_only(t.name, 'RSK-002', '{INSERT,UPDATE,DELETE}')
from unnest(array['risk_configurations', 'risk_asset_kill_thresholds']) as t(name);

create trigger _100_reject_change before insert or update or delete on risk_configurations
  for each row execute function _guard_risk_change('risk_configurations', 'risk_config');
create trigger _200_reject_truncate before truncate on risk_configurations
  for each statement execute function _reject_truncate('risk_configurations', 'RSK-002');
comment on trigger _100_reject_change   on risk_configurations is
  'Refuses every change that the last applied proposal does not say (RSK-002).';
comment on trigger _200_reject_truncate on risk_configurations is 'Refuses TRUNCATE (RSK-002).';
-- ALWAYS, so that session_replication_role = replica does not open it; a restore runs before its triggers are made.
alter table risk_configurations enable always trigger _100_reject_change, enable always trigger _200_reject_truncate;

create trigger _100_reject_change before insert or update or delete on risk_asset_kill_thresholds
  for each row execute function _guard_risk_change('risk_asset_kill_thresholds', 'asset_kill_threshold');
create trigger _200_reject_truncate before truncate on risk_asset_kill_thresholds
  for each statement execute function _reject_truncate('risk_asset_kill_thresholds', 'RSK-002');
comment on trigger _100_reject_change   on risk_asset_kill_thresholds is
  'Refuses every change that the last applied proposal does not say (RSK-002).';
comment on trigger _200_reject_truncate on risk_asset_kill_thresholds is 'Refuses TRUNCATE (RSK-002).';
-- ALWAYS, so that session_replication_role = replica does not open it; a restore runs before its triggers are made.
alter table risk_asset_kill_thresholds enable always trigger _100_reject_change, enable always trigger _200_reject_truncate;
