-- Reading: where a proposal stands, the agents and their keys, the damage, the evidence for clients; and the grants

create function proposal_progress(proposal_id uuid)
returns table (status text, approvals bigint, needed integer, direction text)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  -- Signatures are checked again for what is pending only, because a list of all proposals must not take longer with
  -- each that is closed. What was applied had what it needed, in the state that it was made for.
  select s.status,
         case when s.status = 'PENDING' then (select count(*) from _counted_approvals(p))
              when s.status = 'APPLIED' then c.approvals::bigint
              else (select count(*) from only votes as v
                    where v.proposal_id = p.proposal_id and v.decision::text = 'APPROVE'::text
                      and v.agent_id in (select e.* from _eligible_voters(p) as e)) end,
         -- What was put there by force has no direction; it must not hide the other proposals.
         case when s.status = 'APPLIED' then c.approvals
              when s.direction is not null then
                _quorum_for(s.direction, p.kind::text, _quorum(),
                            (select count(*)::integer from _eligible_voters(p))) end,
         s.direction
  from only proposals as p
  cross join lateral (select _proposal_status(p) as status, _proposal_direction(p) as direction offset 0) as s
  left join lateral (
    select case when jsonb_typeof(l.approvals) = 'array' then jsonb_array_length(l.approvals) end as approvals
    from only risk_change_log as l where l.proposal_id = p.proposal_id) as c on true
  where p.proposal_id = proposal_progress.proposal_id;
$function$;
comment on function proposal_progress is
  'Where a proposal stands: status, approvals that count now, approvals it needs now (for an applied one, how many it '
  'had and needed), and what it does: tighten, loosen or govern.';

create function agent_keys()
returns table (agent_id uuid, name text, role text, public_key text, replaces uuid, proposal_id uuid,
               enrolled_at timestamptz, revoked_at timestamptz, signature text)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select a.agent_id, a.name::text, a.role::text, encode(a.public_key, 'hex'), a.replaces, a.proposal_id, a.created_at,
         r.created_at, encode(a.signature, 'hex')
  from only agents as a
  left join only agent_revocations as r on r.agent_id = a.agent_id
  order by a.id;
$function$;
comment on function agent_keys is
  'Every agent ever enrolled with its key in hex, the proposal that enrolled it (null: the bootstrap), since when it '
  'is revoked, and its signature of the bootstrap.';

create function damaged_rows(proposal_id uuid default null)
returns table ("table" text, id bigint, verdict text, actual_hash text, expected_hash text, row_data text)
language plpgsql stable security definer
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set jit = off
as $function$
declare
  damage  jsonb;
  chain   record;
begin
  if proposal_id is null then
    damage := _open_damage_items();
  else
    select p.payload -> 'damage' into damage from only proposals as p
    where p.proposal_id = damaged_rows.proposal_id and p.kind::text = 'lockdown_release'::text;
  end if;
  for chain in
    select c.table_name from only chains as c
    where exists (select from jsonb_array_elements(damage) as d where d.value ->> 'table' = c.table_name)
    order by c.position
  loop
    if _missing_part(chain.table_name) is not null then
      return query
        select d."table", d.id, d.verdict, d.actual_hash, d.expected_hash, null::text
        from jsonb_to_recordset(damage)
          as d("table" text, id bigint, verdict text, actual_hash text, expected_hash text)
        where d."table" = chain.table_name order by d.id, d.verdict;
      continue;
    end if;
    return query execute format($query$
      select d."table", d.id, d.verdict, d.actual_hash, d.expected_hash, left(r.row_data, 2000)
      from jsonb_to_recordset($1) as d("table" text, id bigint, verdict text, actual_hash text, expected_hash text)
      left join lateral (select x.row_data from (%s) as x where x.id = d.id limit 1) as r on true
      where d."table" = $2 order by d.id, d.verdict
      $query$, chain_rows_sql(chain.table_name)) using damage, chain.table_name;
  end loop;
end
$function$;
comment on function damaged_rows is
  'The damage that a release has to list now, or that a proposed release lists, each place with the content that '
  'stands there (at most 2000 characters; null for missing rows): what approvers look at before they sign.';

create function lockdown_evidence()
returns table (alarm bigint, event_id bigint, event_type text, event_alarm bigint, proposal_id uuid,
               damage_hash text, row_hash text)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select pg_sequence_last_value('lockdown_alarm'::regclass), l.id, l.event_type::text, l.alarm, l.proposal_id,
         _text_digest(l.damage::text), l.row_hash::text
  from (select max(e.id) as id from only lockdown_events as e) as last
  left join only lockdown_events as l on l.event_type::text = 'RELEASED'::text or l.id = last.id
  order by l.id;
$function$;
comment on function lockdown_evidence is
  'What a client needs to check by itself whether the lockdown is engaged: the alarm, every RELEASED event, and the '
  'last event, with the hash of the damage it lists. One row with nulls if there is no event.';

create view vw_agents with (security_invoker = true) as
select a.agent_id, a.name, a.role, a.public_key, a.replaces, a.proposal_id, a.enrolled_at, a.revoked_at, a.signature
from agent_keys() as a(agent_id, name, role, public_key, replaces, proposal_id, enrolled_at, revoked_at, signature);
comment on view vw_agents is 'Agents with their keys in hex, and since when they are revoked, if they are.';
comment on column vw_agents.agent_id    is 'Identity of the agent.';
comment on column vw_agents.name        is 'What people call it.';
comment on column vw_agents.role        is 'What it does.';
comment on column vw_agents.public_key  is 'Ed25519 public key in hex.';
comment on column vw_agents.replaces    is 'The agent whose place it took.';
comment on column vw_agents.proposal_id is 'The proposal that enrolled it; null: the bootstrap.';
comment on column vw_agents.enrolled_at is 'Since when it may propose and vote.';
comment on column vw_agents.revoked_at  is 'Since when it may not any more; null: it may.';
comment on column vw_agents.signature is
  'Its signature of the whole bootstrap, in hex; null if a proposal enrolled it.';

create view vw_proposals with (security_invoker = true) as
select p.proposal_id, p.kind, p.payload, p.reason, p.proposer, a.name as proposer_name, p.previous, p.digest,
       p.signed_text, p.expires_at, p.created_at, s.status, s.approvals, s.needed, s.direction
from only proposals as p
join only agents as a on a.agent_id = p.proposer
cross join lateral proposal_progress(p.proposal_id) as s(status, approvals, needed, direction)
where _sees_every_row('{proposals,agents}'::text[]);
comment on view vw_proposals is 'Proposals and where they stand.';
comment on column vw_proposals.proposal_id   is 'Identity of the proposal.';
comment on column vw_proposals.kind          is 'What it changes.';
comment on column vw_proposals.payload       is 'What is to hold.';
comment on column vw_proposals.reason        is 'Why.';
comment on column vw_proposals.proposer      is 'The agent that proposes.';
comment on column vw_proposals.proposer_name is 'Its name.';
comment on column vw_proposals.previous      is 'Hash of the state it was made for.';
comment on column vw_proposals.digest        is 'SHA-256 of the signed text; votes name it.';
comment on column vw_proposals.signed_text   is 'The exact text that was signed.';
comment on column vw_proposals.expires_at    is 'After this moment it cannot be applied.';
comment on column vw_proposals.created_at    is 'When it was made.';
comment on column vw_proposals.status        is 'PENDING, APPLIED, REJECTED, WITHDRAWN, EXPIRED, STALE or REVOKED.';
comment on column vw_proposals.approvals     is 'Approvals that count now; of an applied one, those that carried it.';
comment on column vw_proposals.needed is
  'Approvals it needs now, or needed when it was applied, besides the proposer''s signature.';
comment on column vw_proposals.direction is
  'What it does, or did, to the state that it was made for: tighten, loosen, or govern (who decides).';

select _grant('select on', '{agents, agent_revocations, proposals, votes, risk_change_log, vw_agents, vw_proposals}',
              '{app_risk, app_auditor}');
select _grant('execute on routine',
              '{proposal_message, bootstrap_message, approval_message, proposal_progress, proposal_changes,
                proposal_voters, damaged_rows, ed25519_verify}',
              '{app_risk, app_auditor}');
select _grant('execute on routine', '{agent_keys, lockdown_evidence}', '{app_trading, app_auditor, app_risk}');
select _grant('execute on routine', '{propose, vote}', '{app_risk}');
