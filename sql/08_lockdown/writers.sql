-- What writers ask. The chain trigger of each closed table (04_chain/trigger.sql) compares two sequences at each row; a
-- statement trigger compares them again after the statement, when its rows are stored. While they are equal, or neither
-- has a value, nobody is locked out, and that is all it costs. Only when they differ does a writer look at the events.

create function _alarm_is_raised() returns boolean
language sql volatile
-- RETURN, because PostgreSQL resolves its names now, and puts it into the expression that calls it.
return pg_sequence_last_value('lockdown_alarm'::regclass)
       is distinct from pg_sequence_last_value('lockdown_lifted'::regclass);
comment on function _alarm_is_raised is
  'Whether an alarm was raised that no writer has seen lawfully lifted.';

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
    -- For good, because no alarm comes twice and a release that is committed stays; but not by a release that may
    -- still be rolled back.
    if mark is distinct from txid_current() and alarm is not null then
      perform setval('lockdown_lifted'::regclass, alarm);
    end if;
    return;
  end if;
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
     and _snapshot_sees(mark) is false
     and pg_xact_status(mark::text::xid8) = 'committed' then
    perform _refuse_stale_snapshot('lockdown_events');  -- there may be a release that this snapshot does not see
  end if;
  perform _refuse(
    'AUD-009', format('INSERT on %s refused, because the lockdown is engaged', table_name),
    (select coalesce('Lockdown event ' || s.event_id || ': ' || s.reason, s.reason) from lockdown_status() as s),
    'Look at the damage: select * from lockdown_status(). Only an approved lockdown_release lifts the lockdown; '
    'webhook_deliveries, risk_decisions and order_events stay open.',
    table_name, 'INSERT');
end
$function$;
comment on function _refuse_in_lockdown is
  'Raises AUD-009 while the lockdown is engaged. Remembers in lockdown_lifted that it was lawfully lifted.';

create function _refuse_statement_in_lockdown() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if _alarm_is_raised() then
    perform _refuse_in_lockdown(tg_argv[0]);
  end if;
  return null;
end
$function$;
comment on function _refuse_statement_in_lockdown is
  'Statement trigger of the tables that a lockdown closes: refuses (AUD-009) rows that were written while the alarm '
  'was raised. Argument: table.';
