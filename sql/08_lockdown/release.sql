-- Which event is accepted. vote() inserts the RELEASED event of an approved proposal (12_consensus/apply.sql); nobody
-- else can. An event that is replicated or written by hand raises its alarm here.

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
      'Propose a lockdown_release: only an approved one lifts a lockdown.',
      tg_argv[0], tg_op);
  end if;
  return new;
end
$function$;
comment on function _validate_lockdown_event is
  'Row trigger of lockdown_events: refuses (AUD-009) a release that no approved proposal made, or of another alarm '
  'than the one that stands and is recorded. Argument: table.';

create function _raise_lockdown_alarm() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if new.event_type = 'ENGAGED' and current_setting('session_replication_role') <> 'replica' then
    -- An event that comes after the release of its own alarm would engage nothing, because writers remember that
    -- number as lifted. The chain's lock comes first, so that no release slips in between; a snapshot that does not see
    -- one gets 40001 from the chain's trigger.
    lock table only lock_lockdown_events in share update exclusive mode;
    if exists (select from only lockdown_events as l where l.event_type = 'RELEASED' and l.alarm = new.alarm) then
      new.alarm := _raise_alarm();
    end if;
  end if;
  -- Not in general, because a second alarm that was raised since must not be set back to the first.
  if new.alarm > 0 and (current_setting('session_replication_role') = 'replica'
                        or pg_sequence_last_value('lockdown_alarm'::regclass) is null) then
    perform setval('lockdown_alarm'::regclass, new.alarm);
  end if;
  return new;
end
$function$;
comment on function _raise_lockdown_alarm is
  'Row trigger of lockdown_events: raises the alarm of an event that is replicated or written by hand, and a new one '
  'for an event that comes after the release of its own.';
