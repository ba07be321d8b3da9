-- Takes back 005_agent_consensus. Built from sql/ by bin/build; change it there.

-- The frame of every rollback but the first migration's. As of a migration: sql/01_install/migrations.sql.

do $rollback$
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
               where p.proname = '_begin_rollback' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
perform _begin_rollback('005_agent_consensus');

-- Before 005_agent_consensus is taken back: refuses while there are agents, then undoes what functions made.

do $rollback_first$
begin
  if exists (select from only agents) then
    raise exception 'alpha-db: 005_agent_consensus is not rolled back, because agents holds rows'
      using errcode = '55000', hint = 'To delete the log and its consensus on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
perform _chain_detach(t.name), _forget_attempts(t.name)
from unnest(array['risk_change_log', 'votes', 'proposals', 'agent_revocations', 'agents']) as t(name);
perform _forget_attempts('consensus');

drop view vw_proposals;
drop view vw_agents;
drop function lockdown_evidence;
drop function damaged_rows;
drop function agent_keys;
drop function proposal_progress;
drop function proposal_voters;
drop function _carrying_approvals;
drop function proposal_changes;
drop function _changed_retention;
drop function _changed_damage;
drop function _changed_agents;
drop function _changed_quorum;
drop function _changed_state;
drop function _changed_threshold;
drop function _changed_limits;
drop function _changed_decimal;
drop function _proposal_direction;
drop function _state_made_for;
drop trigger _600_check_bootstrap on agents;
drop trigger _500_validate on agent_revocations;
drop trigger _500_validate on agents;
drop trigger _500_validate on risk_change_log;
drop trigger _500_validate on votes;
drop trigger _500_validate on proposals;
create or replace function _release_is_approved(proposal_id uuid, damage jsonb) returns boolean
language sql stable
set search_path from current
as $function$
  select false;
$function$;
comment on function _release_is_approved is
  'Whether the last applied proposal is this release of the lockdown. Never, until 005_agent_consensus replaces this.';
drop function _validate_revocation;
drop function _check_bootstrap;
drop function _validate_agent;
drop function _validate_change;
drop function _validate_vote;
drop function _validate_proposal;
drop function _refuse_direct_change;
drop function _apply_proposal;
drop function _log_applied;
drop function _check_allowed;
drop function vote;
drop function _refuse_barred;
drop function _refuse_second_vote;
drop function _refuse_closed;
drop function _check_vote;
drop function approval_message;
drop function _refuse_changed_damage;
drop function _look_before_release;
drop function _refuse_other_damage;
drop function _open_damage_items;
drop function propose;
drop function _refuse_many_pending;
drop function _refuse_other_state;
drop function _check_proposal;
drop function _key_of_active;
drop function _refuse_short_signature;
drop function _refuse_used_proposal_id;
drop function proposal_message;
drop function bootstrap_agents;
drop function _check_bootstrap_list;
drop function bootstrap_message;
drop function _check_payload;
drop function _require_migration;
drop function _refuse_unknown_kind;
drop function _check_lockdown_release;
drop function _check_quorum_policy;
drop function _check_agent_revoke;
drop function _check_agent_enrol;
drop function _check_kill_threshold;
drop function _check_risk_config;
drop function _refuse_missing_tables;
drop function _check_active;
drop function _check_public_key;
drop function _check_uuid;
drop function _check_text;
drop function _check_decimal;
drop function _check_members;
drop function _require_consensus;
create or replace function _release_holds(event lockdown_events) returns boolean
language sql stable
set search_path from current
as $function$
  select false;
$function$;
comment on function _release_holds is
  'Whether an approved, signed proposal made this RELEASED event. Never, until 005_agent_consensus replaces this.';
create or replace function _consensus_problems()
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _consensus_problems is
  'What does not follow from the bootstrap and the approved, signed proposals. Nothing, until 005_agent_consensus '
  'replaces this.';
drop function _segment_problems;
drop function _risk_table_problems;
drop function _release_problems;
drop function _agent_problems;
drop function _replay_consensus;
drop function _replay_entry;
drop function _effect_problem;
drop function _approvals_problem;
drop function _proposal_problem;
drop type replayed_change;
drop function _bootstrap_problems;
drop function _proposal_status;
drop function _counted_approvals;
drop function _approvals_needed;
drop function _eligible_voters;
drop function _change_direction;
drop function _quorum_for;
drop function _quorum;
drop function _default_quorum;
drop function _installation_origin;
drop function _current_state_text;
drop function _next_state_text;
drop function _state_text;
drop function _last_applied;
drop table risk_change_log;
drop table votes;
drop table proposals;
drop function _unknown_kind;
drop function _proposal_kinds;
drop function _enrolment_of;
drop function _agent_removed_by;
drop function _active_agents;
drop table agent_revocations;
drop table agents;
drop function _signs;
drop function _text_digest;
drop function _is_readable_time;
drop function _bootstrap_text;
drop function _approval_text;
drop function _proposal_text;
drop function _signed_time;
drop function _is_plain_text;
drop function _refuse_consensus;
drop function ed25519_verify;
drop function _ed25519_divide_by_z;
drop function _ed25519_multiply_and_add;
drop function _ed25519_digits;
drop function _ed25519_small_multiples;
drop function _ed25519_add;
drop function _ed25519_key_is_weak;
drop function _ed25519_is_small_order;
drop function _ed25519_decode_point;
drop function _ed25519_little_endian;
drop function _ed25519_power_250;

perform _finish_rollback('005_agent_consensus');
end
$rollback$;
