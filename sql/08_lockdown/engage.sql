-- How the lockdown engages
--
-- The promise: from the moment at which the lockdown is engaged, nobody writes a row of a closed table (signals,
-- ai_debates, order_execution), in any transaction, however old, at any isolation level; and none of our roles
-- can prevent, delay or undo it.
--
-- A row in a table cannot give that: old snapshots do not see it, a lock keeps it waiting, a rollback undoes it. A
-- sequence can. setval is seen by every transaction at once, is not undone by a rollback, and waits for no lock that
-- another role can hold. So the lockdown *is* the value of the sequence lockdown_alarm, and the row of lockdown_events
-- that explains it comes after, and may come late. To *raise the alarm* is to set the sequence to a new random number.
--
--   The lockdown is engaged unless there never was an alarm, or the last row of lockdown_events is a RELEASED event
--   that names the alarm that stands, and that an approved, signed proposal made (_lockdown_is_lifted in status.sql).
--
-- Writers cannot check signatures at each row, so they remember: lockdown_lifted holds the alarm that a writer last saw
-- lawfully released. While both sequences are equal, or neither has a value, they write. While the two differ, they
-- look at the events (writers.sql). Each row asks after it has the chain's lock, and the statement asks again when its
-- rows are stored; so a row is either refused or was stored before the alarm.
--
-- Engaging, step by step (_engage_lockdown):
--   1. If the lockdown is engaged and this very damage recorded, there is nothing to do.
--   2. _raise_alarm: who it is, a line in the server's log, lockdown_lifted := 1 so that the two differ whatever else
--      happens, and then the alarm. If the owner spoilt the alarm's sequence, lockdown_lifted alone makes writers look.
--   3. _record_lockdown: the ENGAGED event that names this alarm. It needs the chain's lock of lockdown_events, which
--      somebody may hold; after 2 seconds the caller is told that the event is not recorded yet. The lockdown holds
--      without it, and the next verification records it (attend.sql).
--
-- Rollback, also to a savepoint, and cancelling: the alarm stays, its event is gone; the next verification writes one.
-- Prepared transactions: one that holds the chain of lockdown_events delays the event, not the alarm; one that holds
-- rows of a closed table wrote them before the alarm, and writes no more.
-- Crash: an event on disk has its alarm on disk, because the alarm's WAL record comes first. An alarm without an event
-- may be lost; then nobody was told that the lockdown is engaged, and verification finds the damage again.
-- lockdown_lifted is unlogged: after a crash it has no value, so writers look once.
-- Dump, standby, promotion: the sequences come along. An event that is replicated raises its alarm there (release.sql).
-- A synchronous standby that is gone: what engages the lockdown or records it commits without it (_commit_locally),
-- because an alarm never waits. A failover may lose the event; verification finds the damage again there.
-- Releasing: the event names the alarm that was read before the damage was; a number that was raised since is another,
-- so the lockdown goes on. No number comes twice, because each is random.
--
-- docs/chain-format.md, "The lockdown", shows for every interleaving why no row slips through and why a release lifts
-- only what its voters saw. tests/concurrency/test_lockdown_interleavings.py tries each.

create function _commit_locally() returns void
language plpgsql
set search_path from current
as $function$
begin
  if current_setting('synchronous_commit') <> 'off' then
    perform set_config('synchronous_commit', 'local', true);
  end if;
end
$function$;
comment on function _commit_locally is
  'Has the current transaction commit without waiting for a synchronous standby, so that none that is gone keeps back '
  'what a verification found.';

create function _raise_alarm() returns bigint
language plpgsql
set search_path from current
as $function$
declare
  -- Random, so that no two alarms are the same, and a release of one is never a release of another.
  alarm bigint := ('x' || encode(substr(sha256(uuid_send(gen_random_uuid())), 1, 8), 'hex'))::bit(64)::bigint
                  & 4611686018427387903 | 1;
begin
  begin
    perform setval('lockdown_alarm_by'::regclass,
                   (select r.oid from pg_roles as r where r.rolname = session_user)::bigint);
  exception when others then null;  -- that there is an alarm matters more than whose it is
  end;
  raise log 'alpha-db alarm %', jsonb_build_object(
    'schema', current_schema(), 'alarm', alarm, 'session_user', session_user,
    'client_address', host(inet_client_addr()), 'application', current_setting('application_name'));
  -- Even if somebody takes the alarm away again, the two differ, and writers look.
  perform setval('lockdown_lifted'::regclass, 1);
  return setval('lockdown_alarm'::regclass, alarm);
end
$function$;
comment on function _raise_alarm is
  'Engages the lockdown, at once and for every transaction, and returns the new value of the alarm. Not undone by a '
  'rollback; waits for nobody.';

create function _is_recorded(damage jsonb) returns boolean
language sql stable
set search_path from current
set row_security = off
as $function$
  select not exists (
    select from _damage_items(_is_recorded.damage) as d
    where not exists (
      select from only lockdown_events as l
      cross join lateral _damage_items(l.damage) as e
      where l.event_type = 'ENGAGED' and l.id > r.released and e.value = d.value))
  from (select _last_release() as released offset 0) as r;
$function$;
comment on function _is_recorded is
  'Whether an event since the last lawful release names each item of this damage.';

create function _record_lockdown(reason text, damage jsonb, alarm bigint) returns bigint
language plpgsql
set search_path from current
set lock_timeout = '2s'
as $function$
declare
  event_id bigint;
begin
  insert into lockdown_events (event_type, reason, damage, alarm)
  values ('ENGAGED', reason, damage, alarm)
  returning id into event_id;
  if not exists (select from only lockdown_events as l where l.id = event_id) then
    raise exception 'the event is not in lockdown_events' using errcode = 'AUD11';
  end if;
  return event_id;
end
$function$;
comment on function _record_lockdown is
  'Writes the ENGAGED event of an alarm and returns its id. Waits at most 2 s for a transaction that holds the chain '
  'of lockdown_events.';

create function _engage_lockdown(reason text, damage jsonb) returns text
language plpgsql security definer
set search_path from current
set lock_timeout = '2s'
as $function$
declare
  alarm bigint;
begin
  perform _commit_locally();
  -- Only what is certain spares the alarm: a snapshot that does not move may be older than a release.
  begin
    if current_setting('transaction_isolation') = 'read committed'
       and (select s.is_locked and s.event_id is not null from lockdown_status() as s)
       and pg_sequence_last_value('lockdown_alarm'::regclass) is not null
       and pg_sequence_last_value('lockdown_lifted'::regclass)
             is distinct from pg_sequence_last_value('lockdown_alarm'::regclass)
       and _is_recorded(damage) then
      return 'the lockdown is engaged already';
    end if;
  exception when others then null;  -- dropping lockdown_events must not keep the lockdown off
  end;
  begin
    alarm := _raise_alarm();
  exception when others then
    -- Somebody spoilt the sequence. If the other one differs from it, writers look for the event.
    alarm := 0;
    perform setval('lockdown_lifted'::regclass, 1);
  end;
  begin
    return format('lockdown engaged (event %s)', _record_lockdown(reason, damage, alarm));
  exception when others then
    if alarm = 0 then
      raise;
    end if;
    return format('lockdown engaged, but its event is not recorded yet: %s (%s)', sqlerrm, sqlstate);
  end;
end
$function$;
comment on function _engage_lockdown is
  'Engages the lockdown, unless it is engaged and this damage recorded: raises the alarm, then records a chained row '
  'in lockdown_events. Says what came of it. No other transaction keeps it off, and no rollback takes it back.';
