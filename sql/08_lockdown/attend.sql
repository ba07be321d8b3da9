-- Each verification that may write sets right what keeps alarm and events apart. Three things can: the transaction that
-- raised the alarm did not commit its event; the owner set the alarm back; somebody set lockdown_lifted to the
-- alarm. engage.sql explains what these are.

create function _is_recorded_alarm(standing bigint, latest lockdown_events) returns boolean
language sql stable
set search_path from current
set row_security = off
as $function$
  select standing is not distinct from latest.alarm
      or exists (select from only lockdown_events as l
                 where l.event_type = 'ENGAGED' and l.alarm = standing and l.id > (select _last_release()));
$function$;
comment on function _is_recorded_alarm is
  'Whether the last event, or an ENGAGED event since the last lawful release, names the alarm that stands.';

create function _attend_alarm(wanted boolean) returns void
language plpgsql
set search_path from current
set row_security = off
set lock_timeout = '200ms'
set enable_seqscan = off set jit = off
as $function$
declare
  standing  bigint := pg_sequence_last_value('lockdown_alarm'::regclass);
  lifted    bigint;
  latest    lockdown_events;
begin
  if not coalesce(wanted, true) or pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' then
    return;
  end if;
  -- Before the last event: a release that a writer remembers was committed before, so it is seen below.
  lifted := pg_sequence_last_value('lockdown_lifted'::regclass);
  select * into latest from only lockdown_events as l order by l.id desc limit 1;
  if lifted = standing and not _lockdown_is_lifted(latest) then
    perform _commit_locally();
    perform setval('lockdown_lifted'::regclass, 1);  -- which costs the next writer a look, and no more
    if latest.event_type = 'ENGAGED' and latest.alarm = standing
       and current_setting('transaction_isolation') = 'read committed' then
      insert into lockdown_events (event_type, reason, damage, alarm)
      values ('ENGAGED', 'lockdown_lifted was set by force, which let rows in', '[]', _raise_alarm());
      return;
    end if;
  end if;
  if _is_recorded_alarm(standing, latest) then
    return;
  end if;
  -- Another range of this verification may have raised it just now; it holds the chain until its event is committed.
  lock table only lock_lockdown_events in share update exclusive mode;
  standing := pg_sequence_last_value('lockdown_alarm'::regclass);
  select * into latest from only lockdown_events as l order by l.id desc limit 1;
  if _is_recorded_alarm(standing, latest) then
    return;
  end if;
  perform _commit_locally();
  if standing is null or exists (select from only lockdown_events as l where l.alarm = standing) then
    insert into lockdown_events (event_type, reason, damage, alarm)
    values ('ENGAGED', 'the alarm was set back by force', '[]', _raise_alarm());
  else
    insert into lockdown_events (event_type, reason, damage, alarm)
    values ('ENGAGED', format('an alarm that %s raised was not recorded: its transaction did not commit, or could not '
                              'write the event', _alarm_raised_by()), '[]', standing);
  end if;
exception when others then null;  -- the next verification tries again; until then the lockdown holds all the same
end
$function$;
comment on function _attend_alarm is
  'Records an alarm that no event records, and raises it again if somebody set it back, or had writers take it for '
  'lifted. Changes nothing while alarm and events agree.';
