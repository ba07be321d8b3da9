-- What an approved proposal does
--
-- vote() calls _apply_proposal for the approval that completes the quorum, under its lock. First comes the entry in
-- risk_change_log; then what the entry stands for is written: agents, revocations, the release, or (17_risk/apply.sql,
-- which 23_risk_config brings) a version of the limits. Each of these tables has a trigger that compares a new row with
-- the last entry of the log (validate.sql), so nothing else can be written there.

create function _check_allowed(kind text, payload jsonb, state jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  case kind
  when 'risk_config', 'asset_kill_threshold' then
    perform _require_migration(kind, 'risk_configurations', '23_risk_config');
    perform _require_stored_state(_current_state_text());  -- 17_risk/apply.sql, with 23_risk_config
    if _change_direction(kind, payload, state) = 'loosen' and (select s.is_locked from lockdown_status() as s) then
      perform _refuse_consensus(
        'AUD-009', 'in a lockdown limits can only be tightened', 'This change loosens them.',
        'Look at the damage: select * from lockdown_status().');
    end if;
  when 'lockdown_release' then
    if not (select s.is_locked from lockdown_status() as s) then
      perform _refuse_consensus(
        'RSK-005', 'there is no lockdown to release', 'The lockdown is not engaged.',
        'Look at it: select * from lockdown_status().');
    end if;
  when 'archive', 'unhold' then
    if (select s.is_locked from lockdown_status() as s) then
      perform _refuse_consensus(
        'AUD-009', 'in a lockdown nothing leaves the log', 'The damage must be looked at first.',
        'Look at the damage: select * from lockdown_status().');
    end if;
  when 'agent_enrol', 'agent_revoke', 'quorum_policy', 'hold' then null;  -- always allowed
  else
    perform _unknown_kind(kind);
  end case;
end
$function$;
comment on function _check_allowed is
  'Raises AUD-009 for loosening in a lockdown, RSK-005 for a release without one, RSK-007 if the risk tables were '
  'changed by force.';

create function _log_applied(proposal proposals, approved_by uuid) returns risk_change_log
language plpgsql
set search_path from current
as $function$
declare
  before  text := _current_state_text();
  change  risk_change_log;
begin
  insert into risk_change_log (version, proposal_id, digest, kind, approved_by, approvals, previous, state_text,
                               state_hash)
  select (before::jsonb ->> 'version')::bigint + 1, proposal.proposal_id, proposal.digest, proposal.kind,
         _log_applied.approved_by,
         (select jsonb_agg(jsonb_build_object('agent_id', a.agent_id, 'public_key', encode(a.agent_key, 'hex'),
                                              'signed_at', _signed_time(a.signed_at),
                                              'signature', encode(a.signature, 'hex')) order by a.agent_id)
          from _counted_approvals(proposal) as a),
         _text_digest(before), s.after, _text_digest(s.after)
  from (select _next_state_text(before, proposal.kind, proposal.payload) as after) as s
  returning * into change;
  return change;
end
$function$;
comment on function _log_applied is
  'Writes the entry of risk_change_log: the approvals that count, and the state that the proposal leads to.';

create function _apply_proposal(proposal proposals, approved_by uuid, alarm bigint default null) returns void
language plpgsql
set search_path from current
as $function$
declare
  payload  jsonb := proposal.payload;
  removed  uuid  := _agent_removed_by(proposal.kind::text, proposal.payload)::uuid;
  change   risk_change_log;
begin
  -- What was possible when it was proposed need not be any more: the state is the same, but agents may have gone.
  perform _check_payload(proposal.kind, payload);
  perform _check_allowed(proposal.kind, payload, _current_state_text()::jsonb);
  change := _log_applied(proposal, approved_by);
  if removed is not null then
    insert into agent_revocations (agent_id, proposal_id) values (removed, proposal.proposal_id);
  end if;
  case proposal.kind::text
  when 'agent_enrol' then
    insert into agents (agent_id, name, role, public_key, replaces, proposal_id)
    values ((payload ->> 'agent_id')::uuid, payload ->> 'name', payload ->> 'role',
            decode(payload ->> 'public_key', 'hex'), removed, proposal.proposal_id);
  when 'agent_revoke' then null;
  when 'lockdown_release' then
    insert into lockdown_events (event_type, reason, damage, proposal_id, alarm)
    values ('RELEASED', proposal.reason, payload -> 'damage', proposal.proposal_id, _apply_proposal.alarm);
  when 'quorum_policy', 'hold', 'unhold' then null;  -- the log entry is what holds
  when 'archive' then
    perform _record_segments(proposal.proposal_id, payload);  -- 16_retention/archive.sql
  when 'risk_config', 'asset_kill_threshold' then
    perform _apply_risk_change(change, proposal);  -- 17_risk/apply.sql
  else
    perform _unknown_kind(proposal.kind::text);
  end case;
end
$function$;
comment on function _apply_proposal is
  'Applies an approved proposal: its entry in risk_change_log, then what it changes; a release lifts the given alarm. '
  'Called by vote. It notifies nobody: NOTIFY fails at commit once a stranger has filled the queue, and then no change '
  'could be made.';
