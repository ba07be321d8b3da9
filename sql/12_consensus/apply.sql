create function _apply_proposal(proposal proposals, approved_by uuid, alarm bigint default null) returns void
language plpgsql
set search_path from current
as $function$
declare
  before  text := _current_state_text();
  change  risk_change_log;
begin
  -- What was possible when it was proposed need not be any more: the state is the same, but agents may have gone.
  perform _check_payload(proposal.kind, proposal.payload);
  perform _check_allowed(proposal.kind, proposal.payload, before::jsonb);
  insert into risk_change_log (version, proposal_id, digest, kind, approved_by, approvals, previous, state_text, state_hash)
  select (before::jsonb ->> 'version')::bigint + 1, proposal.proposal_id, proposal.digest, proposal.kind, _apply_proposal.approved_by,
         (select jsonb_agg(jsonb_build_object('agent_id', a.agent_id, 'public_key', encode(a.agent_key, 'hex'),
                                              'signed_at', _signed_time(a.signed_at), 'signature', encode(a.signature, 'hex')) order by a.agent_id)
          from _counted_approvals(proposal) as a),
         _text_digest(before), s.after, _text_digest(s.after)
  from (select _next_state_text(before, proposal.kind, proposal.payload) as after) as s
  returning * into change;

  case proposal.kind::text
  when 'agent_enrol' then
    if proposal.payload -> 'replaces' <> 'null' then
      insert into agent_revocations (agent_id, proposal_id) values ((proposal.payload ->> 'replaces')::uuid, proposal.proposal_id);
    end if;
    insert into agents (agent_id, name, role, public_key, replaces, proposal_id)
    values ((proposal.payload ->> 'agent_id')::uuid, proposal.payload ->> 'name', proposal.payload ->> 'role',
            decode(proposal.payload ->> 'public_key', 'hex'), (proposal.payload ->> 'replaces')::uuid, proposal.proposal_id);
  when 'agent_revoke' then
    insert into agent_revocations (agent_id, proposal_id) values ((proposal.payload ->> 'agent_id')::uuid, proposal.proposal_id);
  when 'lockdown_release' then
    insert into lockdown_events (event_type, reason, damage, proposal_id, alarm)
    values ('RELEASED', proposal.reason, proposal.payload -> 'damage', proposal.proposal_id, _apply_proposal.alarm);
  when 'quorum_policy' then null;  -- the log entry is the policy
  else
    perform _apply_risk_change(change, proposal);
  end case;
end
$function$;
comment on function _apply_proposal is
  'Applies an approved proposal: its entry in risk_change_log, then what it changes; a release lifts the given alarm. '
  'Called by vote. It notifies nobody: NOTIFY fails at commit once a stranger has filled the queue, and then no change '
  'could be made.';
