-- Triggers: these tables are written by the functions above, and by nothing else
--
-- The owner of the tables could insert a row by hand. So each row is compared with what the functions would have
-- written: a proposal or a vote with the agents of now, an entry of the log with its quorum counted again, an agent or
-- a revocation with the last entry of the log. A row that differs is refused with RSK-002. If the owner disables the
-- triggers, the replay finds the row (problems.sql), and verify_guards the trigger.

create function _refuse_direct_change(table_name text, operation text, detail text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'RSK-002', format('%s on %s was not made by an approved proposal', operation, table_name), detail,
    'Call propose(…), then vote(…): docs/risk.md.', table_name, operation);
end
$function$;
comment on function _refuse_direct_change is 'Raises RSK-002. Never returns.';

create function _validate_proposal() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if new.origin is distinct from _installation_origin()
     or new.previous::text is distinct from _text_digest(_current_state_text())
     or not exists (select from _active_agents() as a
                    where a.agent_id = new.proposer and a.public_key = new.proposer_key) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'Another installation, another state, or a proposer that is not active.');
  end if;
  return new;
end
$function$;
comment on function _validate_proposal is
  'Row trigger of proposals: refuses (RSK-002) what propose() would not have stored. Argument: table.';

create function _validate_vote() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if new.origin is distinct from _installation_origin()
     or not exists (select from _active_agents() as a where a.agent_id = new.agent_id and a.public_key = new.agent_key)
     or not exists (select from only proposals as p
                    where p.proposal_id = new.proposal_id and _proposal_status(p) = 'PENDING'
                      and (new.agent_id in (select e.* from _eligible_voters(p) as e)
                           or new.agent_id = p.proposer and new.decision::text = 'REJECT'::text)) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'Another installation, a proposal that is not pending, or a voter that has no vote on it.');
  end if;
  return new;
end
$function$;
comment on function _validate_vote is
  'Row trigger of votes: refuses (RSK-002) what vote() would not have stored. Argument: table.';

create function _validate_change() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  proposal  proposals;
  before    text := _current_state_text();
begin
  select * into proposal from only proposals as p where p.proposal_id = new.proposal_id;
  if not found
     or _proposal_status(proposal) <> 'PENDING'
     or (select count(*) from _counted_approvals(proposal)) < _approvals_needed(proposal, before::jsonb)
     or new.kind::text is distinct from proposal.kind::text
     or new.previous::text is distinct from _text_digest(before)
     or new.state_text is distinct from _next_state_text(before, proposal.kind, proposal.payload)
     or new.version is distinct from (before::jsonb ->> 'version')::bigint + 1
     or new.approved_by not in (select a.agent_id from _counted_approvals(proposal) as a) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op,
      format('Proposal %s is not pending with a complete quorum, or leads to another state.', new.proposal_id));
  end if;
  perform _require_consensus();
  return new;
end
$function$;
comment on function _validate_change is
  'Row trigger of risk_change_log: counts the quorum again and recomputes the state, and refuses (RSK-002) all else. '
  'Argument: table.';

create function _validate_agent() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if new.proposal_id is null then
    -- Whether the whole list is signed by each of its agents is checked when the statement has ended: _check_bootstrap.
    if new.signature is null or exists (select from only risk_change_log as c) then
      perform _refuse_direct_change(tg_argv[0], tg_op,
                                   'The agents were bootstrapped before, or the agent did not sign the bootstrap.');
    end if;
  elsif not exists (
      select from _last_applied() as l
      where l.proposal_id = new.proposal_id and l.kind = 'agent_enrol' and l.payload = _enrolment_of(new)) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'The proposal that it names is not the last one applied, or says something else.');
  end if;
  return new;
end
$function$;
comment on function _validate_agent is
  'Row trigger of agents: refuses (RSK-002) an agent that neither the bootstrap nor an approved proposal made. '
  'Argument: table.';

create function _check_bootstrap() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  found_here  record;
begin
  select * into found_here from _bootstrap_problems() as b order by b.id limit 1;
  if found then
    perform _refuse_direct_change(tg_argv[0], tg_op, format('Agent %s: %s.', found_here.id, found_here.problem));
  end if;
  return null;
end
$function$;
comment on function _check_bootstrap is
  'Statement trigger of agents: refuses (RSK-002) rows after which the bootstrap is not a list that each of its agents '
  'signed. Argument: table.';

create function _validate_revocation() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if not exists (
      select from _last_applied() as l
      where l.proposal_id = new.proposal_id and new.agent_id::text = _agent_removed_by(l.kind, l.payload)) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'The proposal that it names is not the last one applied, or says something else.');
  end if;
  return new;
end
$function$;
comment on function _validate_revocation is
  'Row trigger of agent_revocations: refuses (RSK-002) a revocation that no approved proposal made. Argument: table.';

-- Replaces the placeholder in 08_lockdown/consensus.sql.
create or replace function _release_is_approved(proposal_id uuid, damage jsonb) returns boolean
language sql stable
set search_path from current
set row_security = off
as $function$
  select exists (
    select from _last_applied() as l
    where l.proposal_id = _release_is_approved.proposal_id and l.kind = 'lockdown_release'
      and l.payload -> 'damage' = _release_is_approved.damage)
    and not exists (select from only lockdown_events as l where l.proposal_id = _release_is_approved.proposal_id);
$function$;
comment on function _release_is_approved is
  'Whether the last applied proposal is this release of the lockdown, and no event has used it.';

create trigger _500_validate before insert on proposals
  for each row execute function _validate_proposal('proposals');
create trigger _500_validate before insert on votes
  for each row execute function _validate_vote('votes');
create trigger _500_validate before insert on risk_change_log
  for each row execute function _validate_change('risk_change_log');
create trigger _500_validate before insert on agents
  for each row execute function _validate_agent('agents');
create trigger _500_validate before insert on agent_revocations
  for each row execute function _validate_revocation('agent_revocations');
create trigger _600_check_bootstrap after insert on agents
  for each statement execute function _check_bootstrap('agents');
comment on trigger _500_validate on proposals is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _500_validate on votes is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _500_validate on risk_change_log is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _500_validate on agents is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _500_validate on agent_revocations is
  'Refuses a row that did not come by proposal and votes (RSK-002).';
comment on trigger _600_check_bootstrap on agents is
  'Refuses a bootstrap that not each of its agents signed, and any agent that is added to it (RSK-002).';

select _protect_table(t.name, 'RSK-002', 'RSK-002'), _owner_only(t.name, 'RSK-002'), _chain_attach(t.name)
from unnest(array['agents', 'agent_revocations', 'proposals', 'votes', 'risk_change_log']) as t(name);
