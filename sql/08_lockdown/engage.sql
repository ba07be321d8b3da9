-- The lockdown (docs/chain-format.md, "The lockdown"). It is engaged from the moment at which the alarm is raised, and a sequence
-- is what nobody can lock, roll back or fill up. The event that records it comes after, and may come late.

create function _raise_alarm() returns bigint
language plpgsql
set search_path from current
as $function$
declare
  -- Random, so that two alarms never are the same: a release of one can never be one of another.
  alarm bigint := ('x' || encode(substr(sha256(uuid_send(gen_random_uuid())), 1, 8), 'hex'))::bit(64)::bigint & 4611686018427387903 | 1;
begin
  begin
    perform setval('lockdown_alarm_by'::regclass, (select r.oid from pg_roles as r where r.rolname = session_user)::bigint);
  exception when others then null;  -- who it was is less than that it was
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
  'Engages the lockdown, at once and for every transaction, and returns the new value of the alarm. Not undone by a rollback; waits for nobody.';

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
comment on function _is_recorded is 'Whether an event since the last lawful release names each item of this damage.';

create function _record_lockdown(reason text, damage jsonb, alarm bigint) returns bigint
language plpgsql
set search_path from current
set lock_timeout = '2s'
as $function$
declare
  event_id bigint;
begin
  insert into lockdown_events (event_type, reason, damage, alarm) values ('ENGAGED', reason, damage, alarm) returning id into event_id;
  if not exists (select from only lockdown_events as l where l.id = event_id) then
    raise exception 'the event is not in lockdown_events' using errcode = 'AUD11';
  end if;
  return event_id;
end
$function$;
comment on function _record_lockdown is
  'Writes the ENGAGED event of an alarm and returns its id. Waits at most 2 s for a transaction that holds the chain of lockdown_events.';

create function _engage_lockdown(reason text, damage jsonb) returns text
language plpgsql security definer
set search_path from current
set lock_timeout = '2s'
as $function$
declare
  alarm bigint;
begin
  -- Only what is certain spares the alarm: a snapshot that does not move may be of before a release.
  begin
    if current_setting('transaction_isolation') = 'read committed'
       and (select s.is_locked and s.event_id is not null from lockdown_status() as s)
       and pg_sequence_last_value('lockdown_alarm'::regclass) is not null
       and pg_sequence_last_value('lockdown_lifted'::regclass) is distinct from pg_sequence_last_value('lockdown_alarm'::regclass)
       and _is_recorded(damage) then
      return 'the lockdown is engaged already';
    end if;
  exception when others then null;  -- whoever dropped lockdown_events does not keep it off
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
  'Engages the lockdown, unless it is engaged and this damage recorded: raises the alarm, then records a chained row in lockdown_events. Says what came of it. No transaction of anybody else keeps it off, and no rollback takes it back.';

create function _attend_alarm(wanted boolean) returns void
language plpgsql
set search_path from current
set row_security = off
set lock_timeout = '200ms'
set enable_seqscan = off
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
    perform setval('lockdown_lifted'::regclass, 1);  -- which costs the next writer a look, and no more
    if latest.event_type = 'ENGAGED' and latest.alarm = standing and current_setting('transaction_isolation') = 'read committed' then
      insert into lockdown_events (event_type, reason, damage, alarm)
      values ('ENGAGED', 'lockdown_lifted was set by force, which let rows in', '[]', _raise_alarm());
      return;
    end if;
  end if;
  if standing is not distinct from latest.alarm
     or exists (select from only lockdown_events as l where l.event_type = 'ENGAGED' and l.alarm = standing and l.id > (select _last_release())) then
    return;
  end if;
  if standing is null or exists (select from only lockdown_events as l where l.alarm = standing) then
    insert into lockdown_events (event_type, reason, damage, alarm)
    values ('ENGAGED', 'the alarm was set back by force', '[]', _raise_alarm());
  else
    insert into lockdown_events (event_type, reason, damage, alarm)
    values ('ENGAGED', format('an alarm that %s raised was not recorded: its transaction did not commit, or could not write the event',
                              coalesce(pg_get_userbyid(pg_sequence_last_value('lockdown_alarm_by'::regclass)::oid)::text, 'somebody')), '[]', standing);
  end if;
exception when others then null;  -- the next verification tries again; until then the lockdown holds all the same
end
$function$;
comment on function _attend_alarm is
  'Records an alarm that no event records, and raises it anew if somebody set it back, or had writers take it for lifted. Changes nothing while alarm and events agree.';

create function _refuse_in_lockdown(table_name text) returns void
language plpgsql
set search_path from current
set enable_seqscan = off  -- a plan made while the table was empty must not read it whole later
as $function$
declare
  alarm   bigint := pg_sequence_last_value('lockdown_alarm'::regclass);
  mark    bigint := pg_sequence_last_value('writer_lockdown_events'::regclass);
  latest  lockdown_events;
begin
  select * into latest from only lockdown_events as l order by l.id desc limit 1;
  if _lockdown_is_lifted(latest) then
    -- For good, because no alarm comes twice and a release that is committed stays; but not by a release that may still be rolled back.
    if mark is distinct from txid_current() and alarm is not null then
      perform setval('lockdown_lifted'::regclass, alarm);
    end if;
    return;
  end if;
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') and _snapshot_sees(mark) is false
     and pg_xact_status(mark::text::xid8) = 'committed' then
    perform _refuse_stale_snapshot('lockdown_events');  -- there may be a release that this snapshot does not see
  end if;
  perform _refuse(
    'AUD-009', format('INSERT on %s refused, because the lockdown is engaged', table_name),
    (select coalesce('Lockdown event ' || s.event_id || ': ' || s.reason, s.reason) from lockdown_status() as s),
    'select * from lockdown_status() shows the damage. Only an approved lockdown_release lifts the lockdown; order_events stay open.',
    table_name, 'INSERT');
end
$function$;
comment on function _refuse_in_lockdown is 'Raises AUD-009 while the lockdown is engaged. Remembers in lockdown_lifted that it was lawfully lifted.';

create function _refuse_statement_in_lockdown() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if pg_sequence_last_value('lockdown_alarm'::regclass) is distinct from pg_sequence_last_value('lockdown_lifted'::regclass) then
    perform _refuse_in_lockdown(tg_argv[0]);
  end if;
  return null;
end
$function$;
comment on function _refuse_statement_in_lockdown is
  'Statement trigger of the tables that a lockdown closes: refuses (AUD-009) rows that were written while the alarm was raised. Argument: table.';
