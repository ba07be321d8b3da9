-- Takes back 005_agent_consensus. Refuses while an audit table holds rows, or an agent was enrolled.

do $rollback$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
  item  pg_catalog.text;
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace join pg_roles as r on r.oid = p.proowner
               where p.proname = 'begin_rollback' and n.nspname = home and r.rolname like '%alpha_owner') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
perform begin_rollback('005_agent_consensus');
if exists (select from only agents) then
  raise exception 'alpha-db: 005_agent_consensus is not rolled back, for agents holds rows'
    using errcode = '55000', hint = 'Consensus is not thrown away by a rollback. Drop the schema by hand if you must.';
end if;

drop view vw_agents, vw_proposals;
create or replace function release_is_approved(proposal_id uuid, damage jsonb) returns boolean
language sql stable
set search_path from current
as $function$
  select false;
$function$;
comment on function release_is_approved(uuid, jsonb) is
  'Whether the last applied proposal is this release of the lockdown. Never, until 005_agent_consensus brings proposals.';
create or replace function _consensus_problems()
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _consensus_problems() is
  'What does not follow from the bootstrap and the approved, signed proposals. Nothing, until 005_agent_consensus brings them and replaces this.';
create or replace function _release_holds(event lockdown_events) returns boolean
language sql stable
set search_path from current
as $function$
  select false;
$function$;
comment on function _release_holds(lockdown_events) is 'Whether an event is of an applied, signed release. Never, until 005_agent_consensus.';
drop trigger _600_check_bootstrap on agents;
foreach item in array array['risk_change_log', 'votes', 'proposals', 'agent_revocations', 'agents'] loop
  execute format('drop trigger _500_validate on %I', item);
  perform chain_detach(item), forget_attempts(item);
end loop;
perform forget_attempts('consensus');
drop function _risk_table_problems(replayed_change[]), _release_problems(replayed_change[]), _agent_problems(replayed_change[]),
  _replay_consensus(boolean, bigint), _bootstrap_problems();
drop type replayed_change;
-- Functions that take or return a row of a table go with it.
set local client_min_messages = warning;
drop table risk_change_log, votes, proposals, agent_revocations, agents cascade;
for item in
  select p.oid::regprocedure::text from pg_proc as p
  where p.pronamespace = quote_ident(current_schema())::regnamespace and p.proowner = quote_ident(owner_role())::regrole
    and p.proname in (
      'damaged_rows', 'lockdown_evidence', 'bootstrap_message', 'bootstrap_text', '_check_bootstrap', '_require_consensus', '_open_damage_items',
      '_refuse_other_damage', '_refuse_missing_tables', '_is_readable_time', 'agent_keys', 'proposal_progress', 'validate_revocation', 'validate_agent', 'validate_change', 'validate_vote', 'validate_proposal',
      'refuse_direct_change', 'vote', 'check_allowed', 'propose', 'approval_message', 'proposal_message', 'check_payload', 'check_public_key',
      'check_uuid', 'check_text', 'check_decimal', 'check_members', 'refuse_consensus', 'change_direction', 'quorum', 'active_agents',
      'installation_origin', 'current_state_text', 'next_state_text', 'state_text', 'signs', 'text_digest', 'approval_text', 'proposal_text',
      'signed_time', 'is_plain_text', 'ed25519_key_is_weak', 'ed25519_verify', 'ed25519_add', 'ed25519_is_small_order', 'ed25519_decode',
      'ed25519_little_endian', 'ed25519_power_250')
loop
  execute format('drop function %s', item);
end loop;

perform finish_rollback('005_agent_consensus');
end
$rollback$;
