-- Three questions about agents and their signatures. Migration 005_agent_consensus answers them: until it is installed
-- there are no agents, so nothing is approved and nothing can contradict. 12_consensus/problems.sql replaces the first
-- two functions, 12_consensus/validate.sql the third; a rollback of 005 puts these back.

create function _release_holds(event lockdown_events) returns boolean
language sql stable
set search_path from current
as $function$
  select false;
$function$;
comment on function _release_holds is
  'Whether an approved, signed proposal made this RELEASED event. Never, until 005_agent_consensus replaces this.';

create function _consensus_problems()
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _consensus_problems is
  'What does not follow from the bootstrap and the approved, signed proposals. Nothing, until 005_agent_consensus '
  'replaces this.';

create function _release_is_approved(proposal_id uuid, damage jsonb) returns boolean
language sql stable
set search_path from current
as $function$
  select false;
$function$;
comment on function _release_is_approved is
  'Whether the last applied proposal is this release of the lockdown. Never, until 005_agent_consensus replaces this.';
