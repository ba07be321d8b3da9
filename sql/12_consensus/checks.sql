-- Checks of the members of a payload
--
-- Each raises RSK-001 (RSK-003 for a key) and says what is wrong. Decimals come as strings such as "0.0250", because
-- many languages read a JSON number as a binary float.

create function _check_members(kind text, payload jsonb, members text[]) returns void
language plpgsql
set search_path from current
as $function$
declare
  wrong text;
begin
  if jsonb_typeof(payload) is distinct from 'object' then
    perform _refuse_consensus(
      'RSK-001', format('the payload of %s is not an object', kind), format('It is %s.', left(payload::text, 200)),
      'Give an object with the members that docs/risk.md lists for this kind.');
  end if;
  select string_agg(case when m.name is null then 'unknown ' || k.name else 'missing ' || m.name end, ', ') into wrong
  from unnest(members) as m(name)
  full join jsonb_object_keys(payload) as k(name) on k.name = m.name
  where m.name is null or k.name is null;
  if wrong is not null then
    perform _refuse_consensus(
      'RSK-001', format('the payload of %s is not complete', kind), format('Members: %s.', wrong),
      format('Give exactly these members, with everything that is to hold, never a difference: %s.',
             array_to_string(members, ', ')));
  end if;
end
$function$;
comment on function _check_members is
  'Raises RSK-001 unless a payload has exactly these members.';

create function _check_decimal(member text, value jsonb, lowest numeric, highest numeric, places integer) returns void
language plpgsql
set search_path from current
as $function$
declare
  given numeric;
begin
  if jsonb_typeof(value) is distinct from 'string' or value #>> '{}' !~ '^(0|[1-9][0-9]{0,27})([.][0-9]{1,28})?$' then
    perform _refuse_consensus(
      'RSK-001', format('%s is not a decimal', member),
      format('It is %s.', left(coalesce(value::text, 'missing'), 60)),
      'Give a string such as "0.0250": digits and a point, no sign, no exponent.');
  end if;
  given := (value #>> '{}')::numeric;
  if min_scale(given) > places or given < lowest or given > highest then
    perform _refuse_consensus(
      'RSK-001', format('%s is out of bounds', member), format('It is %s.', given),
      format('Give a number from %s to %s with at most %s decimals.', lowest, highest, places));
  end if;
end
$function$;
comment on function _check_decimal is
  'Raises RSK-001 unless a member is a decimal string within bounds.';

create function _check_text(member text, value jsonb, longest integer) returns void
language plpgsql
set search_path from current
as $function$
begin
  if jsonb_typeof(value) is distinct from 'string' or btrim(value #>> '{}') = '' or length(value #>> '{}') > longest
     or not _is_plain_text(value #>> '{}') then
    perform _refuse_consensus(
      'RSK-001', format('%s is not a plain text', member),
      format('It is %s.', left(coalesce(value::text, 'missing'), 200)),
      format('Give 1 to %s characters, all of them visible.', longest));
  end if;
end
$function$;
comment on function _check_text is
  'Raises RSK-001 unless a member is a visible, non-empty text.';

create function _check_uuid(member text, value jsonb) returns uuid
language plpgsql
set search_path from current
as $function$
begin
  if jsonb_typeof(value) is distinct from 'string'
     or value #>> '{}' !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
    perform _refuse_consensus(
      'RSK-001', format('%s is not a uuid', member),
      format('It is %s.', left(coalesce(value::text, 'missing'), 60)), 'Give a uuid in lower case.');
  end if;
  return (value #>> '{}')::uuid;
end
$function$;
comment on function _check_uuid is
  'The uuid in a member. Raises RSK-001 if it is not one.';

create function _check_public_key(value jsonb) returns bytea
language plpgsql
set search_path from current
as $function$
declare
  key bytea;
begin
  if jsonb_typeof(value) is distinct from 'string' or value #>> '{}' !~ '^[0-9a-f]{64}$' then
    perform _refuse_consensus(
      'RSK-003', 'public_key is not a key', format('It is %s.', left(coalesce(value::text, 'missing'), 80)),
      'Give 32 bytes as 64 lower-case hex digits.');
  end if;
  key := decode(value #>> '{}', 'hex');
  if _ed25519_key_is_weak(key) then
    perform _refuse_consensus(
      'RSK-003', 'public_key is weak',
      format('%s is not canonical, not on the curve, or of small order.', value #>> '{}'),
      'Make a new key: alpha-db agents keygen.');
  end if;
  if exists (select from only agents as a where a.public_key = key) then
    perform _refuse_consensus(
      'RSK-003', 'public_key was enrolled before', format('Key %s.', value #>> '{}'),
      'Make a new key: a key is never used again.');
  end if;
  return key;
end
$function$;
comment on function _check_public_key is
  'The key in a member. Raises RSK-003 if it is malformed, weak or was used before.';

create function _check_active(agent uuid, what text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if not exists (select from _active_agents() as a where a.agent_id = agent) then
    perform _refuse_consensus(
      'RSK-003', format('the agent to be %s is unknown or revoked', what), format('Agent %s.', agent),
      'Name an active agent: alpha-db agents list shows them.');
  end if;
end
$function$;
comment on function _check_active is
  'Raises RSK-003 unless the agent to be replaced or revoked is active.';

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
    perform _refuse_consensus(
      'RSK-005', 'a release cannot acknowledge a table that is gone',
      format('Missing, in whole or in part: %s.', left(missing, 400)),
      'Restore it from a dump (docs/operations.md), then propose again.');
  end if;
end
$function$;
comment on function _refuse_missing_tables is
  'Raises RSK-005 if the damage of a release names a table that is gone: there is nothing to acknowledge.';
