-- Refusals

create function _refuse_consensus(code text, message text, detail text, hint text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(code, message, detail, hint, 'consensus', 'VOTE');
end
$function$;
comment on function _refuse_consensus is 'Raises an RSK code for a proposal or a vote. Never returns.';
select _count_attempts(c.code, 'consensus', 'VOTE')
from unnest(array['RSK-001', 'RSK-002', 'RSK-003', 'RSK-004', 'RSK-005', 'RSK-006', 'RSK-007', 'AUD-009']) as c(code);

create function _check_members(kind text, payload jsonb, members text[]) returns void
language plpgsql
set search_path from current
as $function$
declare
  wrong text;
begin
  if jsonb_typeof(payload) is distinct from 'object' then
    perform _refuse_consensus('RSK-001', format('the payload of %s is not an object', kind), format('It is %s.', left(payload::text, 200)), 'docs/risk.md lists the members of each kind.');
  end if;
  select string_agg(case when m.name is null then 'unknown ' || k.name else 'missing ' || m.name end, ', ') into wrong
  from unnest(members) as m(name)
  full join jsonb_object_keys(payload) as k(name) on k.name = m.name
  where m.name is null or k.name is null;
  if wrong is not null then
    perform _refuse_consensus('RSK-001', format('the payload of %s is not complete', kind), 'Members: ' || wrong || '.',
                             'A payload says all that shall hold, never a difference: ' || array_to_string(members, ', ') || '.');
  end if;
end
$function$;
comment on function _check_members is 'Raises RSK-001 unless a payload has exactly these members.';

create function _check_decimal(member text, value jsonb, lowest numeric, highest numeric, places integer) returns void
language plpgsql
set search_path from current
as $function$
declare
  given numeric;
begin
  if jsonb_typeof(value) is distinct from 'string' or value #>> '{}' !~ '^(0|[1-9][0-9]{0,27})([.][0-9]{1,28})?$' then
    perform _refuse_consensus('RSK-001', format('%s is not a decimal', member), format('It is %s.', left(coalesce(value::text, 'missing'), 60)),
                             'Decimals are strings such as "0.0250": digits and a point, no sign, no exponent.');
  end if;
  given := (value #>> '{}')::numeric;
  if min_scale(given) > places or given < lowest or given > highest then
    perform _refuse_consensus('RSK-001', format('%s is out of bounds', member), format('It is %s.', given),
                             format('It lies from %s to %s and has at most %s decimals.', lowest, highest, places));
  end if;
end
$function$;
comment on function _check_decimal is 'Raises RSK-001 unless a member is a decimal string within bounds.';

create function _check_text(member text, value jsonb, longest integer) returns void
language plpgsql
set search_path from current
as $function$
begin
  if jsonb_typeof(value) is distinct from 'string' or btrim(value #>> '{}') = '' or length(value #>> '{}') > longest
     or not _is_plain_text(value #>> '{}') then
    perform _refuse_consensus('RSK-001', format('%s is not a plain text', member), format('It is %s.', left(coalesce(value::text, 'missing'), 200)),
                             format('From 1 to %s characters, all of them visible.', longest));
  end if;
end
$function$;
comment on function _check_text is 'Raises RSK-001 unless a member is a visible, non-empty text.';

create function _check_uuid(member text, value jsonb) returns uuid
language plpgsql
set search_path from current
as $function$
begin
  if jsonb_typeof(value) is distinct from 'string' or value #>> '{}' !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
    perform _refuse_consensus('RSK-001', format('%s is not a uuid', member), format('It is %s.', left(coalesce(value::text, 'missing'), 60)), 'A uuid in lower case.');
  end if;
  return (value #>> '{}')::uuid;
end
$function$;
comment on function _check_uuid is 'The uuid in a member; raises RSK-001 if it is none.';

create function _check_public_key(value jsonb) returns bytea
language plpgsql
set search_path from current
as $function$
declare
  key bytea;
begin
  if jsonb_typeof(value) is distinct from 'string' or value #>> '{}' !~ '^[0-9a-f]{64}$' then
    perform _refuse_consensus('RSK-003', 'public_key is not a key', format('It is %s.', left(coalesce(value::text, 'missing'), 80)), '32 bytes as 64 lower-case hex digits.');
  end if;
  key := decode(value #>> '{}', 'hex');
  if _ed25519_key_is_weak(key) then
    perform _refuse_consensus('RSK-003', 'public_key is weak', format('%s is not canonical, not on the curve, or of small order.', value #>> '{}'),
                             'Make a new key: alpha-db agents keygen.');
  end if;
  if exists (select from only agents as a where a.public_key = key) then
    perform _refuse_consensus('RSK-003', 'public_key was enrolled before', format('Key %s.', value #>> '{}'), 'Each agent has a key of its own, for ever.');
  end if;
  return key;
end
$function$;
comment on function _check_public_key is
  'The key in a member; raises RSK-003 if it is malformed, weak or was used before.';

create function _refuse_missing_tables(damage jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  missing text;
begin
  select string_agg(left(d.value ->> 'table', 63), ', ') into missing
  from jsonb_array_elements(damage) as d where d.value ->> 'verdict' = 'table_missing';
  if missing is not null then
    perform _refuse_consensus('RSK-005', 'a release cannot acknowledge a table that is gone',
      format('Missing, in whole or in part: %s.', left(missing, 400)), 'Restore it from a dump (docs/operations.md), then propose again.');
  end if;
end
$function$;
comment on function _refuse_missing_tables is
  'Raises RSK-005 if the damage of a release names a table that is gone: there is nothing to acknowledge.';

create function _check_payload(kind text, payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  item   jsonb;
  agent  uuid;
  most   integer;
begin
  case kind
  when 'risk_config' then
    perform _check_members(kind, payload, array['max_position_size_pct', 'daily_drawdown_limit_pct', 'max_leverage_ratio']);
    perform _check_decimal('max_position_size_pct', payload -> 'max_position_size_pct', 0, 1, 4);
    perform _check_decimal('daily_drawdown_limit_pct', payload -> 'daily_drawdown_limit_pct', 0, 1, 4);
    perform _check_decimal('max_leverage_ratio', payload -> 'max_leverage_ratio', 0, 100, 2);
  when 'asset_kill_threshold' then
    perform _check_members(kind, payload, array['asset', 'kill_loss_pct', 'kill_price', 'retired']);
    perform _check_text('asset', payload -> 'asset', 20);
    perform _check_decimal('kill_loss_pct', payload -> 'kill_loss_pct', 0, 1, 4);
    if payload -> 'kill_price' <> 'null' then
      perform _check_decimal('kill_price', payload -> 'kill_price', 0.0000000001, 999999999999999999.9999999999, 10);
    end if;
    if jsonb_typeof(payload -> 'retired') <> 'boolean' then
      perform _refuse_consensus('RSK-001', 'retired is not true or false', format('It is %s.', payload -> 'retired'), 'true ends the threshold.');
    end if;
  when 'agent_enrol' then
    perform _check_members(kind, payload, array['agent_id', 'name', 'role', 'public_key', 'replaces']);
    agent := _check_uuid('agent_id', payload -> 'agent_id');
    if exists (select from only agents as a where a.agent_id = agent) then
      perform _refuse_consensus('RSK-001', 'agent_id is taken', format('Agent %s.', agent), 'Each agent has an identity of its own, for ever.');
    end if;
    perform _check_text('name', payload -> 'name', 50);
    perform _check_text('role', payload -> 'role', 30);
    perform _check_public_key(payload -> 'public_key');
    if payload -> 'replaces' <> 'null' then
      agent := _check_uuid('replaces', payload -> 'replaces');
      if not exists (select from _active_agents() as a where a.agent_id = agent) then
        perform _refuse_consensus('RSK-003', 'the agent to be replaced is unknown or revoked', format('Agent %s.', agent), 'alpha-db agents list shows the active ones.');
      end if;
    end if;
  when 'agent_revoke' then
    perform _check_members(kind, payload, array['agent_id']);
    agent := _check_uuid('agent_id', payload -> 'agent_id');
    if not exists (select from _active_agents() as a where a.agent_id = agent) then
      perform _refuse_consensus('RSK-003', 'the agent to be revoked is unknown or revoked', format('Agent %s.', agent), 'alpha-db agents list shows the active ones.');
    end if;
  when 'quorum_policy' then
    perform _check_members(kind, payload, array['tighten', 'loosen', 'govern']);
    most := (select count(*) - 1 from _active_agents());
    for item in select v.value from jsonb_each(payload) as v loop
      if jsonb_typeof(item) <> 'number' or (item #>> '{}') !~ '^[1-9]$' or (item #>> '{}')::integer > most then
        perform _refuse_consensus('RSK-001', 'a quorum is out of bounds', format('It is %s.', left(payload::text, 200)),
                                 format('Whole numbers from 1 to %s, the agents besides the proposer.', most));
      end if;
    end loop;
    if (payload ->> 'loosen')::integer < 2 or (payload ->> 'govern')::integer < 2 then
      perform _refuse_consensus('RSK-001', 'a quorum is out of bounds', format('It is %s.', left(payload::text, 200)), 'loosen and govern are at least 2.');
    end if;
  when 'lockdown_release' then
    perform _check_members(kind, payload, array['damage']);
    if jsonb_typeof(payload -> 'damage') <> 'array' then
      perform _refuse_consensus('RSK-001', 'a release lists the damage that it acknowledges', format('It is %s.', left(payload::text, 200)),
                               'alpha-db lockdown release lists it; from psql: select * from damaged_rows().');
    elsif jsonb_array_length(payload -> 'damage') > 10000 then
      perform _refuse_consensus('RSK-001', 'a release acknowledges at most 10000 places',
        format('It lists %s.', jsonb_array_length(payload -> 'damage')),
        'So much damage is not a matter of acknowledging rows: restore from a backup, or install into a new schema and keep this one as evidence.');
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
      perform _refuse_consensus('RSK-001', 'not a damaged place', format('It is %s.', left(item::text, 400)),
        'table is a chained table, id a row of it, verdict what find_chain_damage says, actual_hash and expected_hash the hashes or null.');
    end if;
  else
    perform _refuse_consensus('RSK-001', format('%s is not a kind of proposal', quote_literal(kind)), 'The payload was not looked at.',
      'risk_config, asset_kill_threshold, lockdown_release, agent_enrol, agent_revoke or quorum_policy.');
  end case;
end
$function$;
comment on function _check_payload is
  'Raises RSK-001 or RSK-003 unless a payload is complete, well-formed and possible.';
