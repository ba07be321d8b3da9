-- The bootstrap: the first agents
--
-- Before there are agents, nobody can propose any. So the owner enrols the first ones, three or more, in one statement,
-- once. Each of them signs the whole list, so that nobody, not even the owner, can add, leave out or exchange one
-- afterwards: the trigger _check_bootstrap (validate.sql) refuses it, and the replay finds it.

create function bootstrap_message(agents jsonb) returns text
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select _bootstrap_text(_installation_origin(), bootstrap_message.agents);
$function$;
comment on function bootstrap_message is
  'The exact text that each of the first agents signs: [{"agent_id", "name", "role", "public_key": hex}, …] in any '
  'order; a "signature" in a member is ignored.';

create function _check_bootstrap_list(agents jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  item   jsonb;
  twice  text;
begin
  if jsonb_typeof(agents) is distinct from 'array' or jsonb_array_length(agents) < 3 then
    perform _refuse_consensus(
      'RSK-003', 'a bootstrap needs at least three agents', 'With fewer no quorum could be reached.',
      'Give three agents or more, in one array.');
  end if;
  for item in select e.value from jsonb_array_elements(agents) as e loop
    perform _check_members('agent', item, '{agent_id, name, role, public_key, signature}');
    perform _check_agent_enrol(item - 'signature' || '{"replaces": null}');
    if jsonb_typeof(item -> 'signature') <> 'string' or item ->> 'signature' !~ '^[0-9a-f]{128}$' then
      perform _refuse_consensus(
        'RSK-003', 'signature is not a signature',
        format('Agent %s: %s.', item ->> 'agent_id', left(item ->> 'signature', 150)),
        'Give 64 bytes as 128 lower-case hex digits: alpha-db agents sign-bootstrap makes them.');
    end if;
  end loop;
  select min(d.given) into twice
  from (select e.value ->> 'agent_id' as given
        from jsonb_array_elements(agents) as e group by 1 having count(*) > 1) as d;
  if twice is not null then
    perform _refuse_consensus(
      'RSK-001', 'agent_id is taken', format('Agent %s is given twice.', twice),
      'Choose a new uuid: an identity is never used again.');
  end if;
  select min(d.given) into twice
  from (select e.value ->> 'public_key' as given
        from jsonb_array_elements(agents) as e group by 1 having count(*) > 1) as d;
  if twice is not null then
    perform _refuse_consensus(
      'RSK-003', 'public_key is given twice', format('Key %s.', twice),
      'Make a new key: each agent has one of its own.');
  end if;
end
$function$;
comment on function _check_bootstrap_list is
  'Raises RSK-001 or RSK-003 unless these are three agents or more, each new, with a key and a signature of its own.';

create function bootstrap_agents(agents jsonb) returns setof agents
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  unsigned  text;
  message   text;
begin
  perform _require_primary('bootstrap_agents');
  lock table only lock_agents in share update exclusive mode;
  if exists (select from only agents as a) then
    perform _refuse_consensus(
      'RSK-002', 'the agents were bootstrapped before',
      format('There are %s of them.', (select count(*) from only agents as a)),
      'Enrol further agents by proposals of kind agent_enrol.');
  end if;
  perform _check_bootstrap_list(bootstrap_agents.agents);
  message := bootstrap_message(bootstrap_agents.agents);
  select e.value ->> 'agent_id' into unsigned from jsonb_array_elements(bootstrap_agents.agents) as e
  where not _signs(decode(e.value ->> 'public_key', 'hex'), message, decode(e.value ->> 'signature', 'hex')) limit 1;
  if found then
    perform _refuse_consensus(
      'RSK-003', format('the signature of agent %s is not for this bootstrap', unsigned),
      format(E'The text was:\n%s', message),
      'Let each agent sign the UTF-8 bytes of bootstrap_message(…) of the whole list, its last line feed included.');
  end if;
  -- One statement, because what stands there when it has ended is the bootstrap, and never changes.
  return query insert into agents (agent_id, name, role, public_key, signature)
    select (e.value ->> 'agent_id')::uuid, e.value ->> 'name', e.value ->> 'role',
           decode(e.value ->> 'public_key', 'hex'),
           decode(e.value ->> 'signature', 'hex')
    from jsonb_array_elements(bootstrap_agents.agents) with ordinality as e order by e.ordinality
    returning *;
end
$function$;
comment on function bootstrap_agents is
  'Enrols the first agents, three or more, once for an installation: [{"agent_id", "name", "role", "public_key": hex, '
  '"signature": hex}, …], each signing bootstrap_message of the list. Only the owner may. Raises RSK-001, RSK-002, '
  'RSK-003.';
