create function _consensus_problems()
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _consensus_problems is
  'What does not follow from the bootstrap and the approved, signed proposals. Nothing, until 005_agent_consensus brings them and replaces this.';

create function _compare_with_consensus(found_here chain_verdict) returns chain_verdict
language plpgsql stable
set search_path from current
as $function$
declare
  forged   record;
  problem  record;
begin
  if found_here.table_name = 'lockdown_events' then
    select f.* into forged from _forged_releases() as f limit 1;
    if found then
      found_here.is_valid := false;
      found_here.error_code := 'AUD-009';
      found_here.verdict := 'consensus_mismatch';
      found_here.broken_id := forged.id;
      found_here.expected_hash := null;
      found_here.actual_hash := forged.row_hash;
      found_here.detail := format('no approved, signed proposal made release %s', forged.id);
    end if;
    return found_here;
  end if;
  select count(*) as number, (array_agg(p.id))[1] as id,
         string_agg(format('%s %s: %s', p.table_name, p.id, p.problem), '; ') as problems
  into problem from _consensus_problems() as p;
  if problem.number > 0 then
    found_here.is_valid := false;
    found_here.error_code := 'RSK-007';
    found_here.verdict := 'consensus_mismatch';
    found_here.broken_id := problem.id;
    found_here.detail := left(problem.problems, 2000);
  end if;
  return found_here;
end
$function$;
comment on function _compare_with_consensus is
  'Turns a good verdict into consensus_mismatch if a release, an agent, a key, a limit or a quorum is not what the signed, applied proposals lead to.';

create function _release_is_approved(proposal_id uuid, damage jsonb) returns boolean
language sql stable
set search_path from current
as $function$
  select false;
$function$;
comment on function _release_is_approved is
  'Whether the last applied proposal is this release of the lockdown. Never, until 005_agent_consensus brings proposals and replaces this.';

create function _validate_lockdown_event() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  standing bigint := pg_sequence_last_value('lockdown_alarm'::regclass);
begin
  if new.event_type = 'RELEASED'
     and (new.alarm is distinct from standing
          or not exists (select from only lockdown_events as l
                         where l.event_type = 'ENGAGED' and l.alarm = standing and l.id > (select _last_release()))
          or not _release_is_approved(new.proposal_id, new.damage)) then
    perform _refuse(
      'AUD-009', 'the lockdown is not released by hand',
      format('%s tried to insert a RELEASED event.', session_user),
      'Only an approved proposal of kind lockdown_release lifts a lockdown.',
      tg_argv[0], tg_op);
  end if;
  return new;
end
$function$;
comment on function _validate_lockdown_event is
  'Row trigger of lockdown_events: refuses (AUD-009) a release that no approved proposal made, or of another alarm than the one that stands and is recorded. Argument: table.';

create function _raise_lockdown_alarm() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if new.event_type = 'ENGAGED' and current_setting('session_replication_role') <> 'replica' then
    -- An event that comes after the release of its own alarm would engage nothing: writers remember that number as lifted. The chain's
    -- lock first, so that no release slips in between; a snapshot that does not see one gets 40001 from the chain's trigger.
    lock table only lock_lockdown_events in share update exclusive mode;
    if exists (select from only lockdown_events as l where l.event_type = 'RELEASED' and l.alarm = new.alarm) then
      new.alarm := _raise_alarm();
    end if;
  end if;
  -- Not in general: a second alarm that was raised since must not be set back to the first.
  if new.alarm > 0 and (current_setting('session_replication_role') = 'replica' or pg_sequence_last_value('lockdown_alarm'::regclass) is null) then
    perform setval('lockdown_alarm'::regclass, new.alarm);
  end if;
  return new;
end
$function$;
comment on function _raise_lockdown_alarm is
  'Row trigger of lockdown_events: the alarm of an event that is replicated, or written by hand, is raised here too; so is a new one for an event that comes after the release of its own.';
