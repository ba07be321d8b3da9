-- 003_attach_triggers: from here on the tables reject changes, validate what comes in, and chain it;
-- and the functions that write them.
-- Built from sql/ by bin/build; change it there.
-- depends: 002_audit_tables

-- The frame of every migration but the first: one DO block, so one transaction and one checksum however it is applied.
-- Somebody else's function could stand in front of PostgreSQL's own until search_path is set, so everything before that
-- is named with its schema. sql/01_install/migrations.sql explains the rest.

do $migration$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_migration' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not _begin_migration('003_attach_triggers') then return; end if;

-- sql/07_audit/validate.sql

-- Triggers that refuse what cannot be right, with a message that says why
--
-- A payload whose number lost digits on its way; a signal or an order that does not exist. The foreign keys would
-- refuse the latter, too, but only at the end of the statement, and without a hint.

create function _refuse_lost_digits(member text, given numeric, stored numeric, table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-001', format('%s lost digits between the payload and the column', member),
    format('The payload says %s, the column would hold %s: too near to be another number, and not the payload''s '
           'number rounded to 10 decimals.', _shortened(given), stored),
    'Parse the payload''s numbers as decimals, never as binary floats, and round them to 10 decimals at most.',
    table_name, 'INSERT', column_name => member);
end
$function$;
comment on function _refuse_lost_digits is
  'Raises AUD-001: a number of the payload is neither the column''s value nor rounds to it, but nearer to it than '
  'single precision can tell.';
create function _validate_signal() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  payload jsonb := new.raw_payload;
begin
  if new.correlation_id is null then
    new.correlation_id := gen_random_uuid();
  end if;
  -- Equal or correctly rounded is right; a number farther away than 2^-23 of it is another number. What lies between
  -- was a binary float. CASE, because only a number can be cast.
  if (case when jsonb_typeof(payload -> 'price') = 'number' then
        (payload -> 'price')::numeric <> new.price
        and abs((payload -> 'price')::numeric - new.price) > 0.00000000005
        and abs((payload -> 'price')::numeric - new.price)
            < abs((payload -> 'price')::numeric) * 0.00000011920928955078125 end) then
    perform _refuse_lost_digits('price', (payload -> 'price')::numeric, new.price, tg_argv[0]);
  end if;
  if (case when jsonb_typeof(payload -> 'quantity') = 'number' then
        (payload -> 'quantity')::numeric <> new.quantity
        and abs((payload -> 'quantity')::numeric - new.quantity) > 0.00000000005
        and abs((payload -> 'quantity')::numeric - new.quantity)
            < abs((payload -> 'quantity')::numeric) * 0.00000011920928955078125 end) then
    perform _refuse_lost_digits('quantity', (payload -> 'quantity')::numeric, new.quantity, tg_argv[0]);
  end if;
  return new;
end
$function$;
comment on function _validate_signal is
  'Row trigger of signals: generates correlation_id, and refuses (AUD-001) a payload whose price or quantity lost '
  'digits. Argument: table.';
create function _validate_correlation() returns trigger
language plpgsql security definer
set search_path from current
set enable_seqscan = off
as $function$
begin
  perform from only signals as s where s.correlation_id = new.correlation_id;
  if not found and new.correlation_id is not null then
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
       and _snapshot_sees(pg_sequence_last_value('writer_signals'::regclass)) is false then
      perform _refuse_stale_snapshot('signals');
    end if;
    perform _refuse(
      'AUD-008', format('correlation_id of %s does not exist', tg_argv[0]),
      format('There is no signal with correlation_id %s.', new.correlation_id),
      'Record the signal first, and pass the correlation_id that it got.',
      tg_argv[0], tg_op, column_name => 'correlation_id');
  end if;
  return new;
end
$function$;
comment on function _validate_correlation is
  'Row trigger of ai_debates and order_execution: refuses (AUD-008) a correlation_id that no signal has. Argument: '
  'table.';
create function _validate_order_event() returns trigger
language plpgsql security definer
set search_path from current
set enable_seqscan = off
as $function$
begin
  perform from only order_execution as o where o.id = new.order_execution_id;
  if not found and new.order_execution_id is not null then
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
       and _snapshot_sees(pg_sequence_last_value('writer_order_execution'::regclass)) is false then
      perform _refuse_stale_snapshot('order_execution');
    end if;
    perform _refuse(
      'AUD-008', format('order_execution_id of %s does not exist', tg_argv[0]),
      format('There is no order with id %s.', new.order_execution_id),
      'Record the order first, and pass the id that it got.',
      tg_argv[0], tg_op, column_name => 'order_execution_id');
  end if;
  return new;
end
$function$;
comment on function _validate_order_event is
  'Row trigger of order_events: refuses (AUD-008) an order_execution_id that does not exist. Argument: table.';

-- sql/08_lockdown/engage.sql

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
-- Releasing: the event names the alarm that was read before the damage was; a number that was raised since is another,
-- so the lockdown goes on. No number comes twice, because each is random.
--
-- docs/chain-format.md, "The lockdown", shows for every interleaving why no row slips through and why a release lifts
-- only what its voters saw. tests/concurrency/test_lockdown_interleavings.py tries each.

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

-- sql/08_lockdown/attend.sql

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

-- sql/08_lockdown/writers.sql

-- What writers ask. The chain trigger of each closed table (04_chain/trigger.sql) compares two sequences at each row; a
-- statement trigger compares them again after the statement, when its rows are stored. While they are equal, or neither
-- has a value, nobody is locked out, and that is all it costs. Only when they differ does a writer look at the events.

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
    'order_events stay open.',
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
  if pg_sequence_last_value('lockdown_alarm'::regclass)
       is distinct from pg_sequence_last_value('lockdown_lifted'::regclass) then
    perform _refuse_in_lockdown(tg_argv[0]);
  end if;
  return null;
end
$function$;
comment on function _refuse_statement_in_lockdown is
  'Statement trigger of the tables that a lockdown closes: refuses (AUD-009) rows that were written while the alarm '
  'was raised. Argument: table.';

-- sql/08_lockdown/release.sql

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

-- sql/07_audit/attach.sql

-- Triggers of the audit log and of the lockdown's two tables
--
-- PostgreSQL fires the triggers of a table in the order of their names: 02_refusals/protect.sql lists them.

perform _protect_table('signals',            'AUD-002', 'AUD-003');
perform _protect_table('ai_debates',         'AUD-004', 'AUD-005');
perform _protect_table('order_execution',    'AUD-006', 'AUD-007');
perform _protect_table('order_events',       'AUD-006', 'AUD-007');
perform _protect_table('lockdown_events',    'AUD-011', 'AUD-011');
perform _protect_table('maintenance_events', 'AUD-011', 'AUD-011');
perform _owner_only('lockdown_events', 'AUD-011'), _owner_only('maintenance_events', 'AUD-011');
create trigger _500_validate before insert on signals
  for each row execute function _validate_signal('signals');
create trigger _500_validate before insert on ai_debates
  for each row execute function _validate_correlation('ai_debates');
create trigger _500_validate before insert on order_execution
  for each row execute function _validate_correlation('order_execution');
create trigger _500_validate before insert on order_events
  for each row execute function _validate_order_event('order_events');
create trigger _500_validate before insert on lockdown_events
  for each row execute function _validate_lockdown_event('lockdown_events');
create trigger _400_raise_alarm before insert on lockdown_events
  for each row execute function _raise_lockdown_alarm();
alter table lockdown_events enable always trigger _400_raise_alarm;
  -- for rows that are replicated, too
comment on trigger _500_validate on signals            is 'Refuses a payload that lost digits (AUD-001).';
comment on trigger _500_validate on ai_debates         is 'Refuses a signal that does not exist (AUD-008).';
comment on trigger _500_validate on order_execution    is 'Refuses a signal that does not exist (AUD-008).';
comment on trigger _500_validate on order_events       is 'Refuses an order that does not exist (AUD-008).';
comment on trigger _500_validate on lockdown_events    is 'Refuses a release that no approved proposal made (AUD-009).';
comment on trigger _400_raise_alarm on lockdown_events is 'Raises the alarm of an event that is replicated.';
perform _count_attempts('AUD-001', 'signals',         'INSERT');
perform _count_attempts('AUD-008', 'ai_debates',      'INSERT');
perform _count_attempts('AUD-008', 'order_execution', 'INSERT');
perform _count_attempts('AUD-008', 'order_events',    'INSERT');
perform _count_attempts('AUD-009', 'lockdown_events', 'INSERT');
perform _count_attempts('AUD-010', 'signals',         'INSERT');
-- In the order in which a transaction that writes several takes them.
perform _chain_attach('signals',         open_in_lockdown => false, is_internal => false);
perform _chain_attach('ai_debates',      open_in_lockdown => false, is_internal => false);
perform _chain_attach('order_execution', open_in_lockdown => false, is_internal => false);
-- Open in a lockdown, so that a liquidation can be recorded against the order that opened the position.
perform _chain_attach('order_events',    open_in_lockdown => true,  is_internal => false);
perform _chain_attach('lockdown_events');
perform _chain_attach('maintenance_events');

-- sql/09_write/record.sql

-- Writing functions: one for each table of the audit log. They join the caller's transaction and return the stored row.
--
-- A plain INSERT works as well. What these functions add: a signal that is sent again is recognised by its signal_id,
-- a binary float is refused, and a value that is too long is refused by name.
--
-- Money is anycompatible, so that a binary float is seen and refused, not cast. The last parameter, money_type, is
-- never given: its default makes an untyped literal and an integer resolve to numeric.
--
-- A new column of a table touches, in SQL: its file in 07_audit; its function here (parameter, length, the lists of
-- _refuse_too_long, the INSERT; for signals _refuse_signal_reuse); append.sql (parameter, call); the views of 10_read.
-- In Python: writers.py (two signatures), arguments.py (how it is read) and queries.sql (two calls). In docs: design.md
-- and sql/application.md. In tests: security/test_grants.py, chain/test_row_limit.py, chain/test_append.py and
-- sql/record.sql, then python -m tests.sql.sessions. money_type stays the last parameter.

create function _refuse_signal_reuse(stored signals, sent signals) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  differing text := concat_ws(', ',
    case when stored.symbol        is distinct from sent.symbol        then 'symbol' end,
    case when stored.side          is distinct from sent.side          then 'side' end,
    case when stored.price         is distinct from sent.price         then 'price' end,
    case when stored.quantity      is distinct from sent.quantity      then 'quantity' end,
    case when stored.raw_payload   is distinct from sent.raw_payload   then 'raw_payload' end,
    case when stored.hmac_verified is distinct from sent.hmac_verified then 'hmac_verified' end);
begin
  if differing <> '' then
    perform _refuse(
      'AUD-010', format('signal_id %s was used before with other content', quote_literal(stored.signal_id)),
      format('It is row %s of signals; the difference is in %s.', stored.id, differing),
      'Send the same content again, or give another signal a signal_id of its own.', 'signals', 'INSERT');
  end if;
end
$function$;
comment on function _refuse_signal_reuse is
  'Raises AUD-010 if what was sent under an idempotency key is not what is stored under it; a retry may come from '
  'another address.';
create function record_signal(
  signal_id       text,
  symbol          text,
  side            text,
  price           anycompatible,
  quantity        anycompatible,
  raw_payload     jsonb,
  source_ip       inet           default null,
  hmac_verified   boolean        default false,
  correlation_id  uuid           default null,
  money_type      anycompatible  default null::numeric
) returns signals
language plpgsql
set search_path from current
set enable_seqscan = off  -- a plan made while the table was empty must not read it whole later
as $function$
declare
  stored  signals;
  sent    signals;
begin
  if pg_typeof(price) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('price or quantity', pg_typeof(price));
  end if;
  -- The lengths only spare the usual row a call: _refuse_too_long asks the columns.
  if char_length(signal_id) > 64 or char_length(symbol) > 20 or char_length(side) > 10 then
    perform _refuse_too_long('signals', '{signal_id,symbol,side}', array[signal_id, symbol, side]);
  end if;
  select * into stored from only signals as s where s.signal_id = record_signal.signal_id;
  if not found then
    insert into signals (correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip,
                         hmac_verified)
    values (coalesce(record_signal.correlation_id, gen_random_uuid()), record_signal.signal_id, record_signal.symbol,
            record_signal.side, record_signal.price::numeric, record_signal.quantity::numeric,
            record_signal.raw_payload, record_signal.source_ip, coalesce(record_signal.hmac_verified, false))
    on conflict on constraint signals_signal_id_key do nothing
    returning * into stored;
    if found then
      return stored;
    end if;
    -- Another session recorded it between the look-up and the insert: now it can be seen.
    select * into stored from only signals as s where s.signal_id = record_signal.signal_id;
    if not found then
      raise exception 'signal_id % is recorded, but this transaction cannot see it', quote_literal(signal_id)
        using errcode = '40001', hint = 'Run the transaction again.';
    end if;
  end if;
  sent.symbol := record_signal.symbol;
  sent.side := record_signal.side;
  sent.price := record_signal.price::numeric;
  sent.quantity := record_signal.quantity::numeric;
  sent.raw_payload := record_signal.raw_payload;
  sent.hmac_verified := coalesce(record_signal.hmac_verified, false);
  perform _refuse_signal_reuse(stored, sent);
  -- The row may be visible before it is on disk: this makes the caller's commit wait for it.
  perform pg_logical_emit_message(true, 'alpha-db', '');
  return stored;
end
$function$;
comment on function record_signal is
  'Records a signal and returns its row. Idempotent: the same signal_id with the same content returns the row already '
  'there. Raises AUD-001, AUD-009, AUD-010, AUD-012.';
create function record_ai_debate(
  correlation_id    uuid,
  model_name        text,
  reasoning_json    jsonb,
  confidence_score  anycompatible,
  elapsed_ms        integer,
  is_timeout        boolean        default false,
  money_type        anycompatible  default null::numeric
) returns ai_debates
language plpgsql
set search_path from current
as $function$
declare
  stored ai_debates;
begin
  if pg_typeof(confidence_score) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('confidence_score', pg_typeof(confidence_score));
  end if;
  if char_length(model_name) > 50 then
    perform _refuse_too_long('ai_debates', '{model_name}', array[model_name]);
  end if;
  insert into ai_debates (correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms, is_timeout)
  values (record_ai_debate.correlation_id, record_ai_debate.model_name, record_ai_debate.reasoning_json,
          record_ai_debate.confidence_score::numeric, record_ai_debate.elapsed_ms,
          coalesce(record_ai_debate.is_timeout, false))
  returning * into stored;
  return stored;
end
$function$;
comment on function record_ai_debate is
  'Records what a model said about a signal and returns the row. Raises AUD-001, AUD-008, AUD-009, AUD-012.';
create function record_order(
  correlation_id     uuid,
  order_type         text,
  symbol             text,
  side               text,
  quantity           anycompatible,
  price              anycompatible  default null::numeric,
  exchange_order_id  text           default null,
  status             text           default 'PENDING',
  money_type         anycompatible  default null::numeric
) returns order_execution
language plpgsql
set search_path from current
as $function$
declare
  stored order_execution;
begin
  if pg_typeof(quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('quantity or price', pg_typeof(quantity));
  end if;
  if char_length(symbol) > 20 or char_length(exchange_order_id) > 64 or char_length(order_type) > 20
     or char_length(side) > 10 or char_length(status) > 20 then
    perform _refuse_too_long('order_execution', '{symbol,exchange_order_id,order_type,side,status}',
                             array[symbol, exchange_order_id, order_type, side, status]);
  end if;
  insert into order_execution (correlation_id, order_type, symbol, side, quantity, price, exchange_order_id, status)
  values (record_order.correlation_id, record_order.order_type, record_order.symbol, record_order.side,
          record_order.quantity::numeric, record_order.price::numeric,
          record_order.exchange_order_id, coalesce(record_order.status, 'PENDING'))
  returning * into stored;
  return stored;
end
$function$;
comment on function record_order is
  'Records an order, PENDING before it is sent and again with its exchange_order_id, and returns the row. Raises '
  'AUD-001, AUD-008, AUD-009, AUD-012.';
create function record_order_event(
  order_execution_id   bigint,
  event_type           text,
  fill_quantity        anycompatible  default null::numeric,
  fill_price           anycompatible  default null::numeric,
  zar_equity           anycompatible  default null::numeric,
  positions_closed     jsonb          default null,
  rejection_reason     text           default null,
  exchange_error_code  text           default null,
  money_type           anycompatible  default null::numeric
) returns order_events
language plpgsql
set search_path from current
as $function$
declare
  stored order_events;
begin
  if pg_typeof(fill_quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('fill_quantity, fill_price or zar_equity', pg_typeof(fill_quantity));
  end if;
  if char_length(event_type) > 30 or char_length(exchange_error_code) > 50 then
    perform _refuse_too_long('order_events', '{event_type,exchange_error_code}',
                             array[event_type, exchange_error_code]);
  end if;
  insert into order_events (order_execution_id, event_type, fill_quantity, fill_price, zar_equity,
                            positions_closed, rejection_reason, exchange_error_code)
  values (record_order_event.order_execution_id, record_order_event.event_type,
          record_order_event.fill_quantity::numeric, record_order_event.fill_price::numeric,
          record_order_event.zar_equity::numeric, record_order_event.positions_closed,
          record_order_event.rejection_reason, record_order_event.exchange_error_code)
  returning * into stored;
  return stored;
end
$function$;
comment on function record_order_event is
  'Records what became of an order and returns the row; open also in a lockdown. Raises AUD-001, AUD-008, AUD-012.';

-- sql/09_write/append.sql

-- Procedures that make one row durable without holding the chain while it is written to disk
--
-- A chain's lock is held until the transaction commits, and an ordinary commit waits for the disk before it lets go, so
-- that writers queue behind every flush. These procedures commit twice:
--
--   1. the row, with synchronous_commit = off: its lock is free at once, and the row visible
--   2. at the end of the CALL, with the caller's setting, a message in the write-ahead log, which stands after the row
--
-- When CALL returns, the second commit has flushed the message and so the row. One flush acknowledges many writers.
-- After a crash, what survives of a chain is a prefix of it, because its rows stand in the log in their order. A
-- signal that was recorded before is acknowledged after a flush, too.
--
-- A procedure that commits can neither be SECURITY DEFINER nor pin its search_path. So each name in these bodies is
-- qualified, with the schema that they are installed into: _fill puts it in for {home:I}.

create procedure _begin_append()
language plpgsql
as $procedure$
declare
  ignored pg_catalog.text;
begin
  commit;
  set transaction isolation level read committed;
  ignored := pg_catalog.set_config('synchronous_commit', 'off', true);
end
$procedure$;
comment on procedure _begin_append is
  'Opens a transaction whose commit will not wait for the disk. Raises 2D000 inside a transaction, where no procedure '
  'can commit.';
do $append$
begin
  execute _fill($template$
create procedure append_signal(
  signal_id              text,
  symbol                 text,
  side                   text,
  price                  anycompatible,
  quantity               anycompatible,
  raw_payload            jsonb,
  source_ip              inet           default null,
  hmac_verified          boolean        default false,
  inout correlation_id   uuid           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.signals;
  message  pg_catalog.pg_lsn;
begin
  call {home:I}._begin_append(/* inside a transaction, use record_signal */);
  stored := {home:I}.record_signal(signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified,
                                   correlation_id, money_type);
  commit;  -- the first; the caller's synchronous_commit holds again
  -- The end of the CALL is the second. No commit here: cancelled while it waits for the disk, it would report a row as
  -- failed that is written.
  message := pg_catalog.pg_logical_emit_message(true, 'alpha-db', '');
  id := stored.id;
  correlation_id := stored.correlation_id;
  row_hash := stored.row_hash;
end
$procedure$;
$template$, 'home', current_schema());
end
$append$;
comment on procedure append_signal is
  'Records a signal as record_signal does, and returns its id, correlation_id and row_hash once it is on disk, without '
  'holding the chain while it waits. Raises 2D000 inside a transaction.';
do $append$
begin
  execute _fill($template$
create procedure append_ai_debate(
  inout correlation_id   uuid,
  model_name             text,
  reasoning_json         jsonb,
  confidence_score       anycompatible,
  elapsed_ms             integer,
  is_timeout             boolean        default false,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.ai_debates;
  message  pg_catalog.pg_lsn;
begin
  call {home:I}._begin_append(/* inside a transaction, use record_ai_debate */);
  stored := {home:I}.record_ai_debate(correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms,
                                      is_timeout, money_type);
  commit;
  message := pg_catalog.pg_logical_emit_message(true, 'alpha-db', '');
  id := stored.id;
  row_hash := stored.row_hash;
end
$procedure$;
$template$, 'home', current_schema());
end
$append$;
comment on procedure append_ai_debate is
  'Records a debate as record_ai_debate does, and returns once it is on disk, without holding the chain while it '
  'waits. Raises 2D000 inside a transaction.';
do $append$
begin
  execute _fill($template$
create procedure append_order(
  inout correlation_id   uuid,
  order_type             text,
  symbol                 text,
  side                   text,
  quantity               anycompatible,
  price                  anycompatible  default null::numeric,
  exchange_order_id      text           default null,
  status                 text           default 'PENDING',
  inout id               bigint         default null,
  inout row_hash         text           default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.order_execution;
  message  pg_catalog.pg_lsn;
begin
  call {home:I}._begin_append(/* inside a transaction, use record_order */);
  stored := {home:I}.record_order(correlation_id, order_type, symbol, side, quantity, price, exchange_order_id,
                                  status, money_type);
  commit;
  message := pg_catalog.pg_logical_emit_message(true, 'alpha-db', '');
  id := stored.id;
  row_hash := stored.row_hash;
end
$procedure$;
$template$, 'home', current_schema());
end
$append$;
comment on procedure append_order is
  'Records an order as record_order does, and returns once it is on disk, without holding the chain while it waits. '
  'Raises 2D000 inside a transaction.';
do $append$
begin
  execute _fill($template$
create procedure append_order_event(
  order_execution_id     bigint,
  event_type             text,
  fill_quantity          anycompatible  default null::numeric,
  fill_price             anycompatible  default null::numeric,
  zar_equity             anycompatible  default null::numeric,
  positions_closed       jsonb          default null,
  rejection_reason       text           default null,
  exchange_error_code    text           default null,
  inout correlation_id   uuid           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
  stored   {home:I}.order_events;
  message  pg_catalog.pg_lsn;
begin
  call {home:I}._begin_append(/* inside a transaction, use record_order_event */);
  select o.correlation_id into correlation_id
  from only {home:I}.order_execution as o where o.id operator(pg_catalog.=) order_execution_id;
  stored := {home:I}.record_order_event(order_execution_id, event_type, fill_quantity, fill_price, zar_equity,
                                        positions_closed, rejection_reason, exchange_error_code, money_type);
  commit;
  message := pg_catalog.pg_logical_emit_message(true, 'alpha-db', '');
  id := stored.id;
  row_hash := stored.row_hash;
end
$procedure$;
$template$, 'home', current_schema());
end
$append$;
comment on procedure append_order_event is
  'Records an order''s event as record_order_event does, and returns once it is on disk, without holding the chain '
  'while it waits. Raises 2D000 inside a transaction.';

perform _finish_migration('003_attach_triggers');
end
$migration$;
