-- Payloads: what a proposal of each kind must say
--
-- A payload says everything that is to hold, never a difference, so that it can be understood without the state. There
-- is one function for each kind; _check_payload calls it, when something is proposed and again when it is applied (what
-- was possible when it was proposed need not be any more: agents may have gone).
--
-- A new kind of proposal touches the following. A place that does not know a kind raises.
--
-- In SQL, here in 12_consensus:
--
--   proposals.sql   its name, in _proposal_kinds
--   payloads.sql    its function _check_…, and its line in _check_payload
--   rules.sql       its line in _change_direction: tighten or loosen (a limit), or govern (agents, quorum)
--   apply.sql       its line in _check_allowed: beside risk_config if it is a limit, because a lockdown must refuse to
--                   loosen it; and its line in _apply_proposal: what it does, or null
--   state.sql       _state_text and _next_state_text, only if it changes the text of the state
--   agents.sql      _agent_removed_by, only if it revokes or replaces an agent
--   replay.sql      _replay_consensus, only if it changes agents or quorum
--   problems.sql    only if it writes a table of this chapter; that table's trigger is in validate.sql
--
-- Every state that was ever signed must keep its text, the empty one above all, because proposals name the hash: print
-- a new member only while it is set. Where the text changes, _stored_state_text in 17_risk/apply.sql must print the
-- same, or the next change of limits is refused with RSK-007.
--
-- A kind without a table of its own, such as quorum_policy, needs no more: its entry in risk_change_log is what holds.
-- A kind with a table, such as risk_config, also needs in 17_risk: the table (limits.sql), its triggers (guard.sql),
-- what writes it (apply.sql), what should stand in it (verify.sql), its grants (read.sql), its name in rollback.sql.
--
-- Until sql/manifest.toml has these migrations as released, edit the files in place. Afterwards the kind comes in a
-- migration of its own: the new function, and create or replace of those above; bin/build makes the rollback. If the
-- arguments of a function change, drop it and create it again, with its callers and grants: create or replace would
-- make a second function.
--
-- In Python, which checks the same independently, and outside:
--
--   security/payloads.py      MEMBERS and check_payload
--   security/replay.py        direction; next_state if it changes the state, _apply and _governed if it does more
--   security/state.py         RiskState, its text and parse, if it changes the state; the bounds of a new decimal
--   risk/config_manager.py    ON_LIMITS, if it is a limit
--   risk/cli/                 a command of its own (propose.py, __init__.py): there is no general "propose";
--                             history.py; get_config.py if it is shown there
--   risk/orders.py            if the guardrail enforces it
--   tests/risk/               test_payloads.py: entries in GOOD and BAD, a test asks for them; test_two_languages.py
--   tests/security/           test_grants.py, for a new table
--   docs/                     risk.md (payload, state, command), design.md, command-line.md; bin/lint --fix makes the
--                             man page

create function _check_risk_config(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _check_members('risk_config', payload,
                         '{max_position_size_pct, daily_drawdown_limit_pct, max_leverage_ratio}');
  perform _check_decimal('max_position_size_pct', payload -> 'max_position_size_pct', 0, 1, 4);
  perform _check_decimal('daily_drawdown_limit_pct', payload -> 'daily_drawdown_limit_pct', 0, 1, 4);
  perform _check_decimal('max_leverage_ratio', payload -> 'max_leverage_ratio', 0, 100, 2);
end
$function$;
comment on function _check_risk_config is
  'Raises RSK-001 unless a payload holds limits within their bounds.';

create function _check_kill_threshold(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _check_members('asset_kill_threshold', payload, '{asset, kill_loss_pct, kill_price, retired}');
  -- As long as its column, which widen_column may have made longer.
  perform _check_text('asset', payload -> 'asset', (
    select a.atttypmod - 4 from pg_attribute as a
    where a.attrelid = 'risk_asset_kill_thresholds'::regclass and a.attname = 'asset'));
  perform _check_decimal('kill_loss_pct', payload -> 'kill_loss_pct', 0, 1, 4);
  if payload -> 'kill_price' <> 'null' then
    perform _check_decimal('kill_price', payload -> 'kill_price', 0.0000000001, 999999999999999999.9999999999, 10);
  end if;
  if jsonb_typeof(payload -> 'retired') <> 'boolean' then
    perform _refuse_consensus(
      'RSK-001', 'retired is not true or false', format('It is %s.', payload -> 'retired'),
      'Give true to end the threshold, false otherwise.');
  end if;
end
$function$;
comment on function _check_kill_threshold is
  'Raises RSK-001 unless a payload holds a threshold within its bounds.';

create function _check_agent_enrol(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  agent  uuid;
begin
  perform _check_members('agent_enrol', payload, '{agent_id, name, role, public_key, replaces}');
  agent := _check_uuid('agent_id', payload -> 'agent_id');
  if exists (select from only agents as a where a.agent_id = agent) then
    perform _refuse_consensus(
      'RSK-001', 'agent_id is taken', format('Agent %s.', agent),
      'Choose a new uuid: an identity is never used again.');
  end if;
  perform _check_text('name', payload -> 'name', 50);
  perform _check_text('role', payload -> 'role', 30);
  perform _check_public_key(payload -> 'public_key');
  if payload -> 'replaces' <> 'null' then
    perform _check_active(_check_uuid('replaces', payload -> 'replaces'), 'replaced');
  end if;
end
$function$;
comment on function _check_agent_enrol is
  'Raises RSK-001 or RSK-003 unless a payload enrols a new agent with a new, strong key.';

create function _check_agent_revoke(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _check_members('agent_revoke', payload, '{agent_id}');
  perform _check_active(_check_uuid('agent_id', payload -> 'agent_id'), 'revoked');
end
$function$;
comment on function _check_agent_revoke is
  'Raises RSK-001 or RSK-003 unless a payload names an active agent.';

create function _check_quorum_policy(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  item  jsonb;
  most  integer;
begin
  perform _check_members('quorum_policy', payload, '{tighten, loosen, govern}');
  most := (select count(*) - 1 from _active_agents());
  for item in select v.value from jsonb_each(payload) as v loop
    if jsonb_typeof(item) <> 'number' or (item #>> '{}') !~ '^[1-9]$' or (item #>> '{}')::integer > most then
      perform _refuse_consensus(
        'RSK-001', 'a quorum is out of bounds', format('It is %s.', left(payload::text, 200)),
        format('Give whole numbers from 1 to %s, the number of agents besides the proposer.', most));
    end if;
  end loop;
  if (payload ->> 'loosen')::integer < 2 or (payload ->> 'govern')::integer < 2 then
    perform _refuse_consensus(
      'RSK-001', 'a quorum is out of bounds', format('It is %s.', left(payload::text, 200)),
      'Give 2 or more for loosen and for govern.');
  end if;
end
$function$;
comment on function _check_quorum_policy is
  'Raises RSK-001 unless a payload holds numbers of approvals that the agents can reach.';

create function _check_lockdown_release(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  item  jsonb;
begin
  perform _check_members('lockdown_release', payload, '{damage}');
  if jsonb_typeof(payload -> 'damage') <> 'array' then
    perform _refuse_consensus(
      'RSK-001', 'a release lists the damage that it acknowledges', format('It is %s.', left(payload::text, 200)),
      'List it: alpha-db lockdown release does; from psql: select * from damaged_rows().');
  elsif jsonb_array_length(payload -> 'damage') > 10000 then
    perform _refuse_consensus(
      'RSK-001', 'a release acknowledges at most 10000 places',
      format('It lists %s.', jsonb_array_length(payload -> 'damage')),
      'Restore from a backup, or install into a new schema and keep this one as evidence: this is too much to '
      'acknowledge.');
  end if;
  perform _refuse_missing_tables(payload -> 'damage');
  select d.value into item
  from jsonb_array_elements(payload -> 'damage') as d
  where case when jsonb_typeof(d.value) <> 'object' then true else
    not d.value ?& array['table', 'id', 'verdict', 'actual_hash', 'expected_hash']
    or d.value - array['table', 'id', 'verdict', 'actual_hash', 'expected_hash'] <> '{}'
    or not exists (select from only chains as c where to_jsonb(c.table_name) = d.value -> 'table')
    or jsonb_typeof(d.value -> 'id') <> 'number' or (d.value ->> 'id') !~ '^-?[0-9]{1,19}$'
    or jsonb_typeof(d.value -> 'verdict') <> 'string' or (d.value ->> 'verdict') !~ '^[a-z_]{1,40}$'
    or jsonb_typeof(d.value -> 'actual_hash') not in ('string', 'null') or length(d.value ->> 'actual_hash') > 64
    or jsonb_typeof(d.value -> 'expected_hash') not in ('string', 'null')
        or length(d.value ->> 'expected_hash') > 64 end
  limit 1;
  if found then
    perform _refuse_consensus(
      'RSK-001', 'not a damaged place', format('It is %s.', left(item::text, 400)),
      'Give as table a chained table, as id a row of it, as verdict what find_chain_damage says, as actual_hash and '
      'expected_hash the hashes or null.');
  end if;
end
$function$;
comment on function _check_lockdown_release is
  'Raises RSK-001 unless a payload is a list of damaged places, RSK-005 if one of them is a table that is gone.';

create function _refuse_unknown_kind(kind text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse_consensus(
    'RSK-001', format('%s is not a kind of proposal', coalesce(quote_literal(left(kind, 40)), 'NULL')),
    'The payload was not looked at.',
    format('Choose one of %s.', array_to_string(_proposal_kinds(), ', ')));
end
$function$;
comment on function _refuse_unknown_kind is
  'Raises RSK-001 for a kind of proposal that does not exist. Never returns.';

create function _require_migration(kind text, table_name text, migration text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if to_regclass(format('%I.%I', current_schema(), table_name)) is null then
    raise exception 'alpha-db: proposals of kind % need migration %', kind, migration
      using errcode = '55000', hint = 'Apply the migration: alpha-db migrate.';
  end if;
end
$function$;
comment on function _require_migration is
  'Raises 55000 if the migration that brings what a kind of proposal changes is not applied.';

create function _check_payload(kind text, payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  -- What the last three call is made in 16_retention.
  perform _require_migration(kind, 'archived_segments', '007_own_tables') where kind in ('archive', 'hold', 'unhold');
  case kind
    when 'risk_config'          then perform _check_risk_config(payload);
    when 'asset_kill_threshold' then perform _check_kill_threshold(payload);
    when 'agent_enrol'          then perform _check_agent_enrol(payload);
    when 'agent_revoke'         then perform _check_agent_revoke(payload);
    when 'quorum_policy'        then perform _check_quorum_policy(payload);
    when 'lockdown_release'     then perform _check_lockdown_release(payload);
    when 'archive'              then perform _check_archive(payload);
    when 'hold'                 then perform _check_hold(payload);
    when 'unhold'               then perform _check_unhold(payload);
    else perform _refuse_unknown_kind(kind);
  end case;
end
$function$;
comment on function _check_payload is
  'Raises RSK-001 or RSK-003 unless a payload is complete, well-formed and possible.';
