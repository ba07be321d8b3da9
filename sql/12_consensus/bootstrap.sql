-- Proposing, voting, applying

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

create function bootstrap_agents(agents jsonb) returns setof agents
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  item     jsonb;
  twice    text;
  message  text;
begin
  lock table only lock_agents in share update exclusive mode;
  if exists (select from only agents as a) then
    perform _refuse_consensus('RSK-002', 'the agents were bootstrapped before',
                             format('There are %s of them.', (select count(*) from only agents as a)), 'Further agents are enrolled by proposals of kind agent_enrol.');
  end if;
  if jsonb_typeof(bootstrap_agents.agents) is distinct from 'array' or jsonb_array_length(bootstrap_agents.agents) < 3 then
    perform _refuse_consensus('RSK-003', 'a bootstrap needs at least three agents', 'With fewer no quorum could be reached.',
                             'Give three agents or more, in one array.');
  end if;
  for item in select e.value from jsonb_array_elements(bootstrap_agents.agents) as e loop
    perform _check_members('agent', item, array['agent_id', 'name', 'role', 'public_key', 'signature']);
    perform _check_payload('agent_enrol', item - 'signature' || '{"replaces": null}');
    if jsonb_typeof(item -> 'signature') <> 'string' or item ->> 'signature' !~ '^[0-9a-f]{128}$' then
      perform _refuse_consensus('RSK-003', 'signature is not a signature',
                               format('Agent %s: %s.', item ->> 'agent_id', left(item ->> 'signature', 150)),
                               '64 bytes as 128 lower-case hex digits: alpha-db agents sign-bootstrap makes it.');
    end if;
  end loop;
  select min(d.given) into twice from (
    select e.value ->> 'agent_id' as given
    from jsonb_array_elements(bootstrap_agents.agents) as e group by 1 having count(*) > 1) as d;
  if twice is not null then
    perform _refuse_consensus('RSK-001', 'agent_id is taken', format('Agent %s is given twice.', twice), 'Each agent has an identity of its own, for ever.');
  end if;
  select min(d.given) into twice from (
    select e.value ->> 'public_key' as given
    from jsonb_array_elements(bootstrap_agents.agents) as e group by 1 having count(*) > 1) as d;
  if twice is not null then
    perform _refuse_consensus('RSK-003', 'public_key is given twice', format('Key %s.', twice),
                             'Each agent has a key of its own, for ever.');
  end if;
  message := bootstrap_message(bootstrap_agents.agents);
  select e.value into item from jsonb_array_elements(bootstrap_agents.agents) as e
  where not _signs(decode(e.value ->> 'public_key', 'hex'), message, decode(e.value ->> 'signature', 'hex')) limit 1;
  if found then
    perform _refuse_consensus('RSK-003', format('the signature of agent %s is not for this bootstrap',
                                               item ->> 'agent_id'),
                             'The text was:' || E'\n' || message,
                             'Each agent signs the UTF-8 bytes of bootstrap_message(…) of the whole list, its last line feed included.');
  end if;
  -- One statement: what stands there when it has ended is the bootstrap, for ever.
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
