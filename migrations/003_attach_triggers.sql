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

-- sql/07_audit/receive.sql

-- What the database adds to a delivery, and what it leaves out
--
-- The hash and the size are those of all bytes that arrived, also of a body too large to keep (attach.sql). Whoever
-- passes all headers on need not think of the credentials among them: they are not stored.

create function _kept_headers(table_name text, headers jsonb) returns jsonb
language plpgsql
set search_path from current
as $function$
declare
  credentials  constant text := '^(http_)?((set[-_])?cookie2?|(proxy[-_])?authorization)$';
  form         text := jsonb_typeof(headers);
begin
  if form = 'array' and not exists (
       select from jsonb_array_elements(headers) as p(pair)
       where jsonb_typeof(p.pair) <> 'array' or jsonb_array_length(p.pair) <> 2
          or jsonb_typeof(p.pair -> 0) <> 'string') then
    headers := coalesce(
      (select jsonb_object_agg(h.name, case when cardinality(h.said) = 1 then h.said[1] else to_jsonb(h.said) end)
       from (select p.pair ->> 0 as name, array_agg(p.pair -> 1 order by p.place) as said
             from jsonb_array_elements(headers) with ordinality as p(pair, place) group by 1) as h), '{}');
  elsif form not in ('object', 'null') then
    -- Without the value, in which there may be credentials.
    raise exception 'headers must be a JSON object, not %', case form when 'array' then 'this array' else form end
      using errcode = '22023', column = 'headers', table = table_name,
            hint = 'Pass {"name": "value", …}, or an array of pairs [["name", "value"], …].';
  end if;
  return nullif(headers, 'null') - array(
    select k.name from jsonb_object_keys(case when form <> 'null' then headers end) as k(name)
    where k.name ~* credentials);
end
$function$;
comment on function _kept_headers is
  'A delivery''s headers as an object, also if they came as pairs, without cookies and authorization. Raises 22023.';

-- sql/07_audit/validate.sql

-- What refuses rows that cannot be right, with a message that says why
--
-- A payload whose number lost digits on its way; a delivery, a signal or an order that does not exist. The foreign keys
-- would refuse the latter, too, but only at the end of the statement, and without a hint. The chain triggers call these
-- functions (attach.sql).

create function _refuse_unknown(table_name text, column_name text, referred_table text, problem text, hint text)
returns void
language plpgsql
set search_path from current
as $function$
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
     and _snapshot_sees(pg_sequence_last_value(format('%I', 'writer_' || referred_table)::regclass)) is false then
    perform _refuse_stale_snapshot(referred_table);
  end if;
  perform _refuse('AUD-008', format('%s of %s does not exist', column_name, table_name), problem, hint,
                  table_name, 'INSERT', column_name => column_name);
end
$function$;
comment on function _refuse_unknown is
  'Raises AUD-008, because a row refers to another one that does not exist; or 40001, if it may exist, but is newer '
  'than this transaction''s snapshot.';
create function _require_delivery(table_name text, delivery_id bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  is_known  boolean;
begin
  -- A plan that was made while the table was small would read it whole later.
  if pg_sequence_last_value('tail_webhook_deliveries'::regclass) >= 1024 then
    is_known := exists (select from only webhook_deliveries as d where d.id = _require_delivery.delivery_id);
  else
    execute 'select exists (select from only webhook_deliveries as d where d.id = $1)'
      into is_known using delivery_id;
  end if;
  if not is_known then
    perform _refuse_unknown(
      table_name, 'delivery_id', 'webhook_deliveries',
      format('There is no delivery with id %s.', delivery_id),
      'Record the delivery first (record_webhook), and pass the id that it got.');
  end if;
end
$function$;
comment on function _require_delivery is
  'Refuses (AUD-008) a delivery_id that does not exist.';
create function _require_signal(table_name text, correlation_id uuid) returns void
language plpgsql
set search_path from current
as $function$
declare
  is_known  boolean;
begin
  -- A plan that was made while the table was small would read it whole later.
  if pg_sequence_last_value('tail_signals'::regclass) >= 1024 then
    is_known := exists (select from only signals as s where s.correlation_id = _require_signal.correlation_id);
  else
    execute 'select exists (select from only signals as s where s.correlation_id = $1)'
      into is_known using correlation_id;
  end if;
  if not is_known then
    perform _refuse_unknown(
      table_name, 'correlation_id', 'signals',
      format('There is no signal with correlation_id %s.', correlation_id),
      'Record the signal first, and pass the correlation_id that it got.');
  end if;
end
$function$;
comment on function _require_signal is
  'Refuses (AUD-008) a correlation_id that no signal has.';
create function _require_order(table_name text, order_execution_id bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  is_known  boolean;
begin
  -- A plan that was made while the table was small would read it whole later.
  if pg_sequence_last_value('tail_order_execution'::regclass) >= 1024 then
    is_known := exists (select from only order_execution as o where o.id = _require_order.order_execution_id);
  else
    execute 'select exists (select from only order_execution as o where o.id = $1)'
      into is_known using order_execution_id;
  end if;
  if not is_known then
    perform _refuse_unknown(
      table_name, 'order_execution_id', 'order_execution',
      format('There is no order with id %s.', order_execution_id),
      'Record the order first, and pass the id that it got.');
  end if;
end
$function$;
comment on function _require_order is
  'Refuses (AUD-008) an order_execution_id that does not exist.';
create function _require_digits(table_name text, member text, said jsonb, stored numeric) returns void
language plpgsql
set search_path from current
as $function$
begin
  -- Equal or correctly rounded is right; a number farther away than 2^-23 of it is another number. What lies between
  -- was a binary float. CASE, because only a number can be cast.
  if (case when jsonb_typeof(said) = 'number' then
        said::numeric <> stored
        and abs(said::numeric - stored) > 0.00000000005
        and abs(said::numeric - stored) < abs(said::numeric) * 0.00000011920928955078125 end) then
    perform _refuse(
      'AUD-001', format('%s lost digits between the payload and the column', member),
      format('The payload says %s, the column would hold %s: too near to be another number, and not the payload''s '
             'number rounded to 10 decimals.', _shortened(said::numeric), stored),
      'Parse the payload''s numbers as decimals, never as binary floats, and round them to 10 decimals at most.',
      table_name, 'INSERT', column_name => member);
  end if;
end
$function$;
comment on function _require_digits is
  'Refuses (AUD-001) a payload whose member is neither the column''s value nor rounds to it, but is nearer to it than '
  'single precision can tell.';

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

-- sql/08_lockdown/writers.sql

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

perform _protect_table('webhook_deliveries', 'AUD-013', 'AUD-014');
perform _protect_table('signals',            'AUD-002', 'AUD-003');
perform _protect_table('ai_debates',         'AUD-004', 'AUD-005');
perform _protect_table('order_execution',    'AUD-006', 'AUD-007');
perform _protect_table('order_events',       'AUD-006', 'AUD-007');
perform _protect_table('lockdown_events',    'AUD-011', 'AUD-011');
perform _protect_table('maintenance_events', 'AUD-011', 'AUD-011');
perform _owner_only('lockdown_events', 'AUD-011'), _owner_only('maintenance_events', 'AUD-011');
create trigger _500_validate before insert on lockdown_events
  for each row execute function _validate_lockdown_event('lockdown_events');
create trigger _400_raise_alarm before insert on lockdown_events
  for each row execute function _raise_lockdown_alarm();
alter table lockdown_events enable always trigger _400_raise_alarm;
  -- for rows that are replicated, too
comment on trigger _500_validate on lockdown_events    is 'Refuses a release that no approved proposal made (AUD-009).';
comment on trigger _400_raise_alarm on lockdown_events is 'Raises the alarm of an event that is replicated.';
perform _count_attempts('AUD-001', 'signals',         'INSERT');
perform _count_attempts('AUD-008', 'signals',         'INSERT');
perform _count_attempts('AUD-008', 'ai_debates',      'INSERT');
perform _count_attempts('AUD-008', 'order_execution', 'INSERT');
perform _count_attempts('AUD-008', 'order_events',    'INSERT');
perform _count_attempts('AUD-009', 'lockdown_events', 'INSERT');
perform _count_attempts('AUD-010', 'signals',         'INSERT');
perform _count_attempts('AUD-010', 'order_execution', 'INSERT');
perform _count_attempts('AUD-010', 'order_events',    'INSERT');
-- In the order in which a transaction that writes several takes them. Deliveries are open in a lockdown, so that what
-- arrives is kept; events, so that a liquidation can be recorded against the order that opened the position.
perform _chain_attach('webhook_deliveries', open_in_lockdown => true,  is_internal => false, validation => $statements$
  new.body_size := octet_length(new.raw_body);
  new.body_sha256 := encode(sha256(new.raw_body), 'hex');
  if new.body_size > 1048576 then
    new.raw_body := substr(new.raw_body, 1, 4096);
  end if;
  if new.headers is not null then
    new.headers := _kept_headers(tg_argv[0], new.headers);
  end if;
$statements$);
-- Most payloads say the very price and quantity, or none. Only for the others is it worth to look closer.
perform _chain_attach('signals', open_in_lockdown => false, is_internal => false, validation => _fill($statements$
  if new.correlation_id is null then
    new.correlation_id := {new_uuid:s};
  end if;
  if new.delivery_id is not null then
    perform _require_delivery(tg_argv[0], new.delivery_id);
  end if;
  if new.raw_payload -> 'price' <> to_jsonb(new.price) or new.raw_payload -> 'quantity' <> to_jsonb(new.quantity) then
    perform _require_digits(tg_argv[0], 'price', new.raw_payload -> 'price', new.price),
            _require_digits(tg_argv[0], 'quantity', new.raw_payload -> 'quantity', new.quantity);
  end if;
$statements$, 'new_uuid', _uuid_generator()));
perform _chain_attach('ai_debates',         open_in_lockdown => false, is_internal => false, validation => $statements$
  if new.correlation_id is not null then
    perform _require_signal(tg_argv[0], new.correlation_id);
  end if;
$statements$);
perform _chain_attach('order_execution',    open_in_lockdown => false, is_internal => false, validation => $statements$
  if new.correlation_id is not null then
    perform _require_signal(tg_argv[0], new.correlation_id);
  end if;
$statements$);
perform _chain_attach('order_events',       open_in_lockdown => true,  is_internal => false, validation => $statements$
  if new.order_execution_id is not null then
    perform _require_order(tg_argv[0], new.order_execution_id);
  end if;
$statements$);
perform _chain_attach('lockdown_events');
perform _chain_attach('maintenance_events');

-- sql/09_write/results.sql

-- What the writing functions return: the stored row, and whether it is new
--
-- is_new is false for a retry that found the row there already. A type has the columns of its table, each without the
-- length and the bounds that the table gives it: a column that is widened later changes nothing here.

create type recorded_signal as (
  id              bigint,
  correlation_id  uuid,
  signal_id       text,
  symbol          text,
  side            text,
  price           numeric,
  quantity        numeric,
  raw_payload     jsonb,
  source_ip       inet,
  hmac_verified   boolean,
  delivery_id     bigint,
  row_hash        text,
  created_at      timestamptz,
  recorded_by     text,
  is_new          boolean
);
comment on type recorded_signal is 'A row of signals, and whether this call recorded it.';
create type recorded_ai_debate as (
  id                bigint,
  correlation_id    uuid,
  model_name        text,
  reasoning_json    jsonb,
  confidence_score  numeric,
  elapsed_ms        integer,
  is_timeout        boolean,
  model_version     text,
  row_hash          text,
  created_at        timestamptz,
  recorded_by       text,
  is_new            boolean
);
comment on type recorded_ai_debate is 'A row of ai_debates, and whether this call recorded it: always true.';
create type recorded_order as (
  id                 bigint,
  correlation_id     uuid,
  order_type         text,
  symbol             text,
  side               text,
  quantity           numeric,
  price              numeric,
  exchange_order_id  text,
  status             text,
  client_order_id    text,
  stop_price         numeric,
  decision_maker     text,
  exchange_status    text,
  row_hash           text,
  created_at         timestamptz,
  recorded_by        text,
  is_new             boolean
);
comment on type recorded_order is 'A row of order_execution, and whether this call recorded it.';
create type recorded_order_event as (
  id                   bigint,
  order_execution_id   bigint,
  event_type           text,
  fill_quantity        numeric,
  fill_price           numeric,
  zar_equity           numeric,
  positions_closed     jsonb,
  rejection_reason     text,
  exchange_error_code  text,
  exchange_event_id    text,
  exchange_status      text,
  row_hash             text,
  created_at           timestamptz,
  recorded_by          text,
  is_new               boolean
);
comment on type recorded_order_event is 'A row of order_events, and whether this call recorded it.';
create type recorded_webhook as (
  id            bigint,
  body          jsonb,
  body_problem  text,
  is_whole      boolean,
  body_size     bigint,
  body_sha256   text,
  row_hash      text,
  created_at    timestamptz,
  recorded_by   text,
  is_new        boolean
);
comment on type recorded_webhook is
  'What became of a delivery: its body as jsonb, or why it is none; whether the whole body is kept; and is_new, always '
  'true, because every delivery is a row.';
-- Every column is described in the words of its table's column, so that they are written down once.
create function _comment_result(result text, stored text) returns void
language plpgsql
set search_path from current
as $function$
declare
  item record;
begin
  for item in
    select a.attname, coalesce(col_description(c.attrelid, c.attnum), case a.attname
      when 'is_new'       then 'Whether this call recorded the row; false for a retry.'
      when 'body'         then 'The body as jsonb; null if it is no JSON that PostgreSQL can hold.'
      when 'body_problem' then 'Why body is null; null if it is not.'
      when 'is_whole'     then 'Whether the whole body is kept; false for one over 1 MiB.' end) as words
    from pg_attribute as a
    left join pg_attribute as c on c.attrelid = stored::regclass and c.attname = a.attname
    where a.attrelid = result::regclass and a.attnum > 0
  loop
    execute format('comment on column %I.%I is %L', result, item.attname, item.words);
  end loop;
end
$function$;
comment on function _comment_result is
  'Describes the columns of a result''s type in the words of its table''s columns.';
perform _comment_result('recorded_webhook',     'webhook_deliveries'),
       _comment_result('recorded_signal',      'signals'),
       _comment_result('recorded_ai_debate',   'ai_debates'),
       _comment_result('recorded_order',       'order_execution'),
       _comment_result('recorded_order_event', 'order_events');

-- sql/09_write/reuse.sql

-- Idempotency keys
--
-- Senders retry, and workers crash between two steps. So what may be sent twice has a key:
--
--   signals           signal_id                       the sender's
--   order_execution   client_order_id, with status    the application's; the same order once for each status
--   order_events      exchange_event_id, with order   the exchange's, a trade id for instance
--
-- The semantics are the same for all. A key that is new makes a row. A key that is there, sent with the same content,
-- gives the row that is there, with is_new false. With other content it is refused (AUD-010). Content is all that the
-- writer passes, except where a signal came from (source_ip, delivery_id), whether it was verified (hmac_verified), and
-- its correlation_id: there the first word stands.
--
-- Rows under one client_order_id are one order, so they have the same signal, symbol and side. An event that stands at
-- one of them is found from each of them. Two workers at the same moment are not: record events at the order's first
-- row, and the index makes the event one.

create function _accept_retry(table_name text, key_name text, stored jsonb, sent jsonb) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  differing  text;
begin
  select string_agg(s.column_name, ', ' order by s.column_name) into differing
  from jsonb_each(sent) as s(column_name, value) where stored -> s.column_name is distinct from s.value;
  if differing is not null then
    perform _refuse(
      'AUD-010', format('%s %s was used before with other content', key_name, quote_literal(stored ->> key_name)),
      format('It is row %s of %s; the difference is in %s.', stored ->> 'id', table_name, differing),
      format('Send the same content again, or give what is new its own %s.', key_name), table_name, 'INSERT');
  end if;
  -- The row may be visible before it is on disk: this makes the caller's commit wait for it.
  perform pg_logical_emit_message(true, 'alpha-db', '');
end
$function$;
comment on function _accept_retry is
  'Raises AUD-010 unless what was sent is what is stored under the key; numbers are compared as numbers, JSON as '
  'jsonb.';
create function _require_same_order(client_order_id text, correlation_id uuid, symbol text, side text) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  other  order_execution;
begin
  select o.* into other from only order_execution as o
  where o.client_order_id = _require_same_order.client_order_id
    and (o.correlation_id <> _require_same_order.correlation_id or o.symbol <> _require_same_order.symbol
         or o.side <> _require_same_order.side) limit 1;
  if found then
    perform _refuse(
      'AUD-010', format('client_order_id %s is that of another order', quote_literal(client_order_id)),
      format('Row %s of order_execution has it: %s %s, of signal %s.', other.id, other.side, other.symbol,
             other.correlation_id),
      'Give each order its own client_order_id, and the same one whenever it is recorded again.',
      'order_execution', 'INSERT');
  end if;
end
$function$;
comment on function _require_same_order is
  'Raises AUD-010 if an order under this client_order_id, in whatever status, is of another signal, symbol or side.';
create function _refuse_unseen(key_name text, key text) returns void
language plpgsql
set search_path from current
as $function$
begin
  raise exception '% % is recorded, but this transaction cannot see it', key_name, quote_literal(key)
    using errcode = '40001', hint = 'Run the transaction again.';
end
$function$;
comment on function _refuse_unseen is
  'Raises 40001: another transaction recorded the row under this key after this one''s snapshot.';

-- sql/09_write/record.sql

-- Writing functions: one for each table of the audit log. They join the caller's transaction and return the stored row.
--
-- A plain INSERT works as well. What these functions add: what is sent again is recognised by its key (reuse.sql), a
-- binary float is refused, and a value that is too long is refused by name. With a key they look first, so that a retry
-- costs no chain lock and works in a lockdown, too; whoever comes second in a race finds the other's row at the insert.
-- The result is listed by name, so that a column added to a table leaves the functions as they are.
--
-- Money is anycompatible, so that a binary float is seen and refused, not cast. The last parameter, money_type, is
-- never given: its default makes an untyped literal and an integer resolve to numeric.
--
-- A new column of a table touches, in SQL: its file in 07_audit; its type in results.sql; its function here
-- (parameter, length, the lists of _refuse_too_long, the INSERT, what a retry is compared by, the result); append.sql
-- (parameter, call); many.sql; the views of 10_read. In Python: takes.py and service/results.py (types), arguments.py
-- (how it is read) and queries.sql (two calls). In docs: design.md and sql/application.md. In tests:
-- security/test_grants.py, chain/test_row_limit.py, chain/test_append.py and sql/record.sql, then python -m
-- tests.sql.sessions. money_type stays the last parameter.

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
  delivery_id     bigint         default null,
  money_type      anycompatible  default null::numeric
) returns recorded_signal
language plpgsql
set search_path from current
set enable_seqscan = off  -- a plan made while the table was empty must not read it whole later
as $function$
declare
  stored  signals;
  is_new  boolean := false;
begin
  if pg_typeof(price) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('price or quantity', pg_typeof(price));
  end if;
  -- The lengths only spare the usual row a call: _refuse_too_long asks the columns.
  if char_length(signal_id) > 64 or char_length(symbol) > 20 or char_length(side) > 10 then
    perform _refuse_too_long('signals', '{signal_id,symbol,side}', array[signal_id, symbol, side]);
  end if;
  select s.* into stored from only signals as s where s.signal_id = record_signal.signal_id;
  if not found then
    insert into signals as s (correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip,
                              hmac_verified, delivery_id)
    values (record_signal.correlation_id, record_signal.signal_id, record_signal.symbol,
            record_signal.side, record_signal.price::numeric, record_signal.quantity::numeric,
            record_signal.raw_payload, record_signal.source_ip, coalesce(record_signal.hmac_verified, false),
            record_signal.delivery_id)
    on conflict on constraint signals_signal_id_key do nothing
    returning s.* into stored;
    is_new := found;
    if not found then
      select s.* into stored from only signals as s where s.signal_id = record_signal.signal_id;
      if not found then
        perform _refuse_unseen('signal_id', signal_id);
      end if;
    end if;
  end if;
  if not is_new then
    perform _accept_retry('signals', 'signal_id', to_jsonb(stored), jsonb_build_object(
      'symbol', symbol, 'side', side, 'price', price::numeric, 'quantity', quantity::numeric,
      'raw_payload', raw_payload));
  end if;
  return row(stored.id, stored.correlation_id, stored.signal_id, stored.symbol, stored.side, stored.price,
             stored.quantity, stored.raw_payload, stored.source_ip, stored.hmac_verified, stored.delivery_id,
             stored.row_hash, stored.created_at, stored.recorded_by, is_new)::recorded_signal;
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
  model_version     text           default null,
  money_type        anycompatible  default null::numeric
) returns recorded_ai_debate
language plpgsql
set search_path from current
as $function$
declare
  stored  ai_debates;
begin
  if pg_typeof(confidence_score) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('confidence_score', pg_typeof(confidence_score));
  end if;
  if char_length(model_name) > 50 or char_length(model_version) > 100 then
    perform _refuse_too_long('ai_debates', '{model_name,model_version}', array[model_name, model_version]);
  end if;
  insert into ai_debates as d (correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms, is_timeout,
                               model_version)
  values (record_ai_debate.correlation_id, record_ai_debate.model_name, record_ai_debate.reasoning_json,
          record_ai_debate.confidence_score::numeric, record_ai_debate.elapsed_ms,
          coalesce(record_ai_debate.is_timeout, false), record_ai_debate.model_version)
  returning d.* into stored;
  return row(stored.id, stored.correlation_id, stored.model_name, stored.reasoning_json, stored.confidence_score,
             stored.elapsed_ms, stored.is_timeout, stored.model_version, stored.row_hash, stored.created_at,
             stored.recorded_by, true)::recorded_ai_debate;
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
  client_order_id    text           default null,
  stop_price         anycompatible  default null::numeric,
  decision_maker     text           default null,
  exchange_status    text           default null,
  money_type         anycompatible  default null::numeric
) returns recorded_order
language plpgsql
set search_path from current
set enable_seqscan = off
as $function$
declare
  stored  order_execution;
  is_new  boolean := false;
  given   text := coalesce(status, 'PENDING');
begin
  if pg_typeof(quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('quantity, price or stop_price', pg_typeof(quantity));
  end if;
  if char_length(symbol) > 20 or char_length(exchange_order_id) > 64 or char_length(order_type) > 20
     or char_length(side) > 10 or char_length(status) > 20 or char_length(client_order_id) > 64
     or char_length(decision_maker) > 100 then
    perform _refuse_too_long(
      'order_execution', '{symbol,exchange_order_id,order_type,side,status,client_order_id,decision_maker}',
      array[symbol, exchange_order_id, order_type, side, status, client_order_id, decision_maker]);
  end if;
  if client_order_id is not null then
    select o.* into stored from only order_execution as o
    where o.client_order_id = record_order.client_order_id and o.status = given;
    if not found then
      perform _require_same_order(client_order_id, correlation_id, symbol, side);
    end if;
  end if;
  if stored.id is null then
    insert into order_execution as o (correlation_id, order_type, symbol, side, quantity, price, exchange_order_id,
                                      status, client_order_id, stop_price, decision_maker, exchange_status)
    values (record_order.correlation_id, record_order.order_type, record_order.symbol, record_order.side,
            record_order.quantity::numeric, record_order.price::numeric, record_order.exchange_order_id, given,
            record_order.client_order_id, record_order.stop_price::numeric, record_order.decision_maker,
            record_order.exchange_status)
    on conflict on constraint order_execution_client_order_id_key do nothing
    returning o.* into stored;
    is_new := found;
    if not found then
      select o.* into stored from only order_execution as o
      where o.client_order_id = record_order.client_order_id and o.status = given;
      if not found then
        perform _refuse_unseen('client_order_id', client_order_id);
      end if;
    end if;
  end if;
  if not is_new then
    perform _accept_retry('order_execution', 'client_order_id', to_jsonb(stored), jsonb_build_object(
      'correlation_id', correlation_id, 'order_type', order_type, 'symbol', symbol, 'side', side,
      'quantity', quantity::numeric, 'price', price::numeric, 'exchange_order_id', exchange_order_id,
      'stop_price', stop_price::numeric, 'decision_maker', decision_maker, 'exchange_status', exchange_status));
  end if;
  return row(stored.id, stored.correlation_id, stored.order_type, stored.symbol, stored.side, stored.quantity,
             stored.price, stored.exchange_order_id, stored.status, stored.client_order_id, stored.stop_price,
             stored.decision_maker, stored.exchange_status, stored.row_hash, stored.created_at, stored.recorded_by,
             is_new)::recorded_order;
end
$function$;
comment on function record_order is
  'Records an order, PENDING before it is sent and again with its exchange_order_id, and returns the row. With a '
  'client_order_id it is idempotent for each status. Raises AUD-001, AUD-008, AUD-009, AUD-010, AUD-012.';
create function record_order_event(
  order_execution_id   bigint,
  event_type           text,
  fill_quantity        anycompatible  default null::numeric,
  fill_price           anycompatible  default null::numeric,
  zar_equity           anycompatible  default null::numeric,
  positions_closed     jsonb          default null,
  rejection_reason     text           default null,
  exchange_error_code  text           default null,
  exchange_event_id    text           default null,
  exchange_status      text           default null,
  money_type           anycompatible  default null::numeric
) returns recorded_order_event
language plpgsql
set search_path from current
set enable_seqscan = off
as $function$
#variable_conflict use_column
declare
  stored  order_events;
  is_new  boolean := false;
  given   bigint := coalesce(order_execution_id, 0);  -- as in the index order_events_exchange_event_id_key
begin
  if pg_typeof(fill_quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('fill_quantity, fill_price or zar_equity', pg_typeof(fill_quantity));
  end if;
  if char_length(event_type) > 30 or char_length(exchange_error_code) > 50 or char_length(exchange_event_id) > 64 then
    perform _refuse_too_long('order_events', '{event_type,exchange_error_code,exchange_event_id}',
                             array[event_type, exchange_error_code, exchange_event_id]);
  end if;
  if exchange_event_id is not null then
    select e.* into stored from only order_events as e
    where coalesce(e.order_execution_id, 0) = given and e.exchange_event_id = record_order_event.exchange_event_id;
    if not found then
      -- An order that is recorded again is several rows: the event may stand at another of them.
      select e.* into stored from only order_execution as g
      join only order_execution as o on o.client_order_id = g.client_order_id
      join only order_events as e on coalesce(e.order_execution_id, 0) = o.id
                                 and e.exchange_event_id = record_order_event.exchange_event_id
      where g.id = given limit 1;
      order_execution_id := coalesce(stored.order_execution_id, order_execution_id);
    end if;
  end if;
  if stored.id is null then
    insert into order_events as e (order_execution_id, event_type, fill_quantity, fill_price, zar_equity,
                                   positions_closed, rejection_reason, exchange_error_code, exchange_event_id,
                                   exchange_status)
    values (record_order_event.order_execution_id, record_order_event.event_type,
            record_order_event.fill_quantity::numeric, record_order_event.fill_price::numeric,
            record_order_event.zar_equity::numeric, record_order_event.positions_closed,
            record_order_event.rejection_reason, record_order_event.exchange_error_code,
            record_order_event.exchange_event_id, record_order_event.exchange_status)
    on conflict (coalesce(order_execution_id, 0), exchange_event_id) where exchange_event_id is not null do nothing
    returning e.* into stored;
    is_new := found;
    if not found then
      select e.* into stored from only order_events as e
      where coalesce(e.order_execution_id, 0) = given and e.exchange_event_id = record_order_event.exchange_event_id;
      if not found then
        perform _refuse_unseen('exchange_event_id', exchange_event_id);
      end if;
    end if;
  end if;
  if not is_new then
    perform _accept_retry('order_events', 'exchange_event_id', to_jsonb(stored), jsonb_build_object(
      'order_execution_id', order_execution_id, 'event_type', event_type, 'fill_quantity', fill_quantity::numeric,
      'fill_price', fill_price::numeric, 'zar_equity', zar_equity::numeric, 'positions_closed', positions_closed,
      'rejection_reason', rejection_reason, 'exchange_error_code', exchange_error_code,
      'exchange_status', exchange_status));
  end if;
  return row(stored.id, stored.order_execution_id, stored.event_type, stored.fill_quantity, stored.fill_price,
             stored.zar_equity, stored.positions_closed, stored.rejection_reason, stored.exchange_error_code,
             stored.exchange_event_id, stored.exchange_status, stored.row_hash, stored.created_at, stored.recorded_by,
             is_new)::recorded_order_event;
end
$function$;
comment on function record_order_event is
  'Records what became of an order and returns the row; open also in a lockdown. With an exchange_event_id it is '
  'idempotent. Raises AUD-001, AUD-008, AUD-010, AUD-012.';

-- sql/09_write/webhook.sql

-- Recording a webhook before it is read
--
-- The row is written whatever the body holds. What the caller gets beside it is the body as jsonb, or why it is none.
-- Call append_webhook (append.sql) where the delivery is acknowledged: when it returns, the bytes are on disk.

create function _read_json(raw_body bytea, out body jsonb, out body_problem text)
language plpgsql immutable
set search_path from current
as $function$
declare
  said    text;
  digits  numeric;
  detail  text;
begin
  -- A byte order mark is no part of the text; RFC 8259 lets a reader pass over it.
  said := convert_from(case when encode(substr(raw_body, 1, 3), 'hex') = 'efbbbf' then substr(raw_body, 4)
                            else raw_body end, 'UTF8');
  -- jsonb prints 1e131071 with all its digits: a body of 100 kB would be an answer of 1 GB.
  if said ~ '[0-9][eE][-+]?0*[1-9][0-9]{2}' then
    select sum(n.exponent[1]::numeric) into digits
    from regexp_matches(regexp_replace(said, E'"(?:[^"\\\\]|\\\\.)*"', '', 'g'),
                        '[0-9][eE][-+]?0*([1-9][0-9]{2,})', 'g') as n(exponent);
    if digits > 16777216 then
      body_problem := 'its numbers would print to more than 16777216 digits';
      return;
    end if;
  end if;
  body := said::jsonb;
exception when data_exception or program_limit_exceeded then
  -- No text in UTF-8; no JSON; or JSON that jsonb cannot hold: \u0000, half a surrogate pair, nested too deep.
  get stacked diagnostics detail = pg_exception_detail;
  body_problem := concat_ws(': ', sqlerrm, nullif(detail, ''));
end
$function$;
comment on function _read_json is 'The bytes as jsonb, or why they are none.';
create function record_webhook(
  raw_body       bytea,
  source_ip      inet     default null,
  content_type   text     default null,
  headers        jsonb    default null,
  signature      text     default null,
  hmac_verified  boolean  default false
) returns recorded_webhook
language plpgsql
set search_path from current
as $function$
declare
  stored  recorded_webhook;
begin
  insert into webhook_deliveries as d (source_ip, content_type, headers, raw_body, signature, hmac_verified)
  values (record_webhook.source_ip, record_webhook.content_type, record_webhook.headers,
          coalesce(record_webhook.raw_body, ''), record_webhook.signature,
          coalesce(record_webhook.hmac_verified, false))
  returning d.id, null, null, d.body_size = octet_length(d.raw_body), d.body_size, d.body_sha256, d.row_hash,
            d.created_at, d.recorded_by, true
  into stored;
  if stored.body_size = 0 then
    stored.body_problem := 'the body is empty';
  elsif stored.is_whole then
    select j.body, j.body_problem into stored.body, stored.body_problem from _read_json(raw_body) as j;
  else
    stored.body_problem := format(
      'the body has %s bytes; of one over 1048576 only the SHA-256, the size and the first 4096 bytes are kept',
      stored.body_size);
  end if;
  return stored;
end
$function$;
comment on function record_webhook is
  'Records a delivery, whatever its bytes are, and returns its id, and the body as jsonb or why it is none. Every call '
  'is a row, also for the same bytes. Open also in a lockdown. Raises AUD-012.';

-- sql/09_write/many.sql

-- Recording many at once: an array of objects, with the columns as members
--
-- Keys, checks and refusals are those of the function for one row. All elements are recorded, or none is; the results
-- come in the order given. Numbers are exact, because jsonb's are decimals.
--
-- An element that is refused is refused under the code that it would have alone; its place stands in DETAIL.
--
-- Each element goes through the function of its table, with one exception. Signals come in thousands, and most arrays
-- hold new and sound ones only: one INSERT takes those, at less cost. If it does not take all of them, it is undone,
-- and they go one by one.

create function _elements(items jsonb, known text[], out value jsonb, out place bigint) returns setof record
language plpgsql stable
set search_path from current
as $function$
declare
  unknown text;
begin
  if jsonb_typeof(items) is distinct from 'array' then
    raise exception 'an array of objects is expected, not %', coalesce(jsonb_typeof(items), 'NULL')
      using errcode = '22023', hint = 'Pass a JSON array: [{"column": value, …}, …].';
  end if;
  for value, place in select e.value, e.place from jsonb_array_elements(items) with ordinality as e(value, place) loop
    if jsonb_typeof(value) <> 'object' then
      raise exception 'an element of the array is no object, but %', jsonb_typeof(value)
        using errcode = '22023', detail = format('Element %s.', place),
              hint = 'Pass an object with the columns as members.';
    end if;
    select string_agg(quote_literal(m.name), ', ') into unknown
    from jsonb_object_keys(value) as m(name) where m.name <> all (known);
    if unknown is not null then
      raise exception 'an element of the array has members that are not known: %', unknown
        using errcode = '22023', detail = format('Element %s.', place),
              hint = format('Known are: %s.', array_to_string(known, ', '));
    end if;
    return next;
  end loop;
end
$function$;
comment on function _elements is
  'The elements of an array, each an object with no member but these. Raises 22023.';
create type _problem as (
  message          text,
  detail           text,
  hint             text,
  column_name      text,
  constraint_name  text,
  table_name       text
);
comment on type _problem is 'What an error says, beside its SQLSTATE.';
comment on column _problem.message          is 'Its message.';
comment on column _problem.detail           is 'Its DETAIL.';
comment on column _problem.hint             is 'Its HINT.';
comment on column _problem.column_name      is 'The column that it names.';
comment on column _problem.constraint_name  is 'The constraint that it names.';
comment on column _problem.table_name       is 'The table that it names.';
create function _refuse_element(place bigint, code text, problem _problem) returns void
language plpgsql
set search_path from current
as $function$
begin
  raise exception using
    errcode = code, message = problem.message,
    detail = concat_ws(' ', 'Element ' || place || '.', coalesce(nullif(problem.detail, ''), 'Nothing was recorded.')),
    hint = coalesce(nullif(problem.hint, ''),
                    case when code = '25006' then 'Send the array to the primary, in a transaction that may write.'
                         when code ~ '^(2|42|AUD)' then 'Mend the element, and send the array again.'
                         else 'Send the array again.' end),
    column = problem.column_name, constraint = problem.constraint_name,
    table = problem.table_name;
end
$function$;
comment on function _refuse_element is
  'Raises again what the element of an array raised, with its place in DETAIL; the place is null if none was reached.';
create function _record_new_signals(signals jsonb) returns boolean
language plpgsql
set search_path from current
as $function$
declare
  known    constant text[] := '{signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified,
                                correlation_id, delivery_id}';
  written  bigint;
begin
  -- What is large is left out, and nearly all that would be refused.
  insert into signals (correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified,
                       delivery_id)
  select e.correlation_id, e.signal_id, e.symbol, e.side, e.price, e.quantity,
         e.raw_payload, e.source_ip, coalesce(e.hmac_verified, false), e.delivery_id
  from rows from (
         jsonb_to_recordset(signals) as (signal_id text, symbol text, side text, price numeric, quantity numeric,
                                         raw_payload jsonb, source_ip inet, hmac_verified boolean, correlation_id uuid,
                                         delivery_id bigint),
         jsonb_array_elements(signals)) with ordinality as e(
           signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified, correlation_id, delivery_id,
           given, place)
  where e.given - known = '{}' and pg_column_size(e.given) < 8192
    and char_length(e.signal_id) <= 64 and char_length(e.symbol) <= 20 and char_length(e.side) <= 10
    and scale(e.price) <= 10 and scale(e.quantity) <= 10 and abs(e.price) < 1e18 and abs(e.quantity) < 1e18
    and (e.raw_payload -> 'price' = e.given -> 'price') is not false
    and (e.raw_payload -> 'quantity' = e.given -> 'quantity') is not false
    and (e.delivery_id is null or exists (select from only webhook_deliveries as d where d.id = e.delivery_id))
  order by e.place
  on conflict on constraint signals_signal_id_key do nothing;
  get diagnostics written = row_count;
  if written < jsonb_array_length(signals) then
    raise data_exception;  -- undoes what was written
  end if;
  return true;
exception when data_exception or integrity_constraint_violation or sqlstate 'AUD12' then
  return false;
end
$function$;
comment on function _record_new_signals is
  'Records all of the signals, if all are new and sound, and says whether it did; if not, it records none.';
create function record_signals(signals jsonb) returns setof recorded_signal
language plpgsql
set search_path from current
as $function$
declare
  value    jsonb;
  place    bigint;
  problem  _problem;
begin
  if jsonb_typeof(signals) = 'array' and not _alarm_is_raised() and _record_new_signals(signals) then
    return query execute  -- planned anew, as the table grows
      'select s.id, s.correlation_id, s.signal_id::text, s.symbol::text, s.side::text, s.price::numeric,'
      ' s.quantity::numeric, s.raw_payload, s.source_ip, s.hmac_verified, s.delivery_id, s.row_hash::text,'
      ' s.created_at, s.recorded_by, true'
      ' from jsonb_array_elements($1) with ordinality as e(given, place)'
      ' join only signals as s on s.signal_id = e.given ->> ''signal_id'' order by e.place'
      using signals;
    return;
  end if;
  for value, place in select e.value, e.place from _elements(signals,
    '{signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified, correlation_id,
      delivery_id}') as e
  loop
    return next record_signal(
      signal_id => value ->> 'signal_id', symbol => value ->> 'symbol', side => value ->> 'side',
      price => (value ->> 'price')::numeric, quantity => (value ->> 'quantity')::numeric,
      raw_payload => value -> 'raw_payload', source_ip => (value ->> 'source_ip')::inet,
      hmac_verified => (value ->> 'hmac_verified')::boolean,
      correlation_id => (value ->> 'correlation_id')::uuid, delivery_id => (value ->> 'delivery_id')::bigint);
  end loop;
exception when others then
  get stacked diagnostics problem.message = message_text, problem.detail = pg_exception_detail,
    problem.hint = pg_exception_hint, problem.column_name = column_name,
    problem.constraint_name = constraint_name, problem.table_name = table_name;
  perform _refuse_element(place, sqlstate, problem);
end
$function$;
comment on function record_signals is
  'Records signals, an array of objects with the columns as members, all or nothing, and returns their rows in the '
  'order given. Raises 22023, and what record_signal raises, with the element''s place in DETAIL.';
create function record_ai_debates(ai_debates jsonb) returns setof recorded_ai_debate
language plpgsql
set search_path from current
as $function$
declare
  value    jsonb;
  place    bigint;
  problem  _problem;
begin
  for value, place in select e.value, e.place from _elements(ai_debates,
    '{correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms, is_timeout, model_version}') as e
  loop
    return next record_ai_debate(
      correlation_id => (value ->> 'correlation_id')::uuid, model_name => value ->> 'model_name',
      reasoning_json => value -> 'reasoning_json',
      confidence_score => (value ->> 'confidence_score')::numeric,
      elapsed_ms => (value ->> 'elapsed_ms')::integer, is_timeout => (value ->> 'is_timeout')::boolean,
      model_version => value ->> 'model_version');
  end loop;
exception when others then
  get stacked diagnostics problem.message = message_text, problem.detail = pg_exception_detail,
    problem.hint = pg_exception_hint, problem.column_name = column_name,
    problem.constraint_name = constraint_name, problem.table_name = table_name;
  perform _refuse_element(place, sqlstate, problem);
end
$function$;
comment on function record_ai_debates is
  'Records debates, an array of objects with the columns as members, all or nothing, and returns their rows in the '
  'order given. Raises 22023, and what record_ai_debate raises, with the element''s place in DETAIL.';
create function record_orders(orders jsonb) returns setof recorded_order
language plpgsql
set search_path from current
as $function$
declare
  value    jsonb;
  place    bigint;
  problem  _problem;
begin
  for value, place in select e.value, e.place from _elements(orders,
    '{correlation_id, order_type, symbol, side, quantity, price, exchange_order_id, status, client_order_id,
      stop_price, decision_maker, exchange_status}') as e
  loop
    return next record_order(
      correlation_id => (value ->> 'correlation_id')::uuid, order_type => value ->> 'order_type',
      symbol => value ->> 'symbol', side => value ->> 'side', quantity => (value ->> 'quantity')::numeric,
      price => (value ->> 'price')::numeric, exchange_order_id => value ->> 'exchange_order_id',
      status => value ->> 'status', client_order_id => value ->> 'client_order_id',
      stop_price => (value ->> 'stop_price')::numeric, decision_maker => value ->> 'decision_maker',
      exchange_status => value ->> 'exchange_status');
  end loop;
exception when others then
  get stacked diagnostics problem.message = message_text, problem.detail = pg_exception_detail,
    problem.hint = pg_exception_hint, problem.column_name = column_name,
    problem.constraint_name = constraint_name, problem.table_name = table_name;
  perform _refuse_element(place, sqlstate, problem);
end
$function$;
comment on function record_orders is
  'Records orders, an array of objects with the columns as members, all or nothing, and returns their rows in the '
  'order given. Raises 22023, and what record_order raises, with the element''s place in DETAIL.';
create function record_order_events(order_events jsonb) returns setof recorded_order_event
language plpgsql
set search_path from current
as $function$
declare
  value    jsonb;
  place    bigint;
  problem  _problem;
begin
  for value, place in select e.value, e.place from _elements(order_events,
    '{order_execution_id, event_type, fill_quantity, fill_price, zar_equity, positions_closed, rejection_reason,
      exchange_error_code, exchange_event_id, exchange_status}') as e
  loop
    return next record_order_event(
      order_execution_id => (value ->> 'order_execution_id')::bigint, event_type => value ->> 'event_type',
      fill_quantity => (value ->> 'fill_quantity')::numeric, fill_price => (value ->> 'fill_price')::numeric,
      zar_equity => (value ->> 'zar_equity')::numeric,
      positions_closed => nullif(value -> 'positions_closed', 'null'),
      rejection_reason => value ->> 'rejection_reason', exchange_error_code => value ->> 'exchange_error_code',
      exchange_event_id => value ->> 'exchange_event_id', exchange_status => value ->> 'exchange_status');
  end loop;
exception when others then
  get stacked diagnostics problem.message = message_text, problem.detail = pg_exception_detail,
    problem.hint = pg_exception_hint, problem.column_name = column_name,
    problem.constraint_name = constraint_name, problem.table_name = table_name;
  perform _refuse_element(place, sqlstate, problem);
end
$function$;
comment on function record_order_events is
  'Records events, an array of objects with the columns as members, all or nothing, and returns their rows in the '
  'order given. Raises 22023, and what record_order_event raises, with the element''s place in DETAIL.';

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
-- row that was recorded before is acknowledged after a flush, too.
--
-- A procedure that commits can neither be SECURITY DEFINER nor pin its search_path. So each name in these bodies is
-- qualified, operators and types too, with the schema that they are installed into: {home:I}. How each of them begins
-- and ends stands once, in _create_append.

create procedure _begin_append()
language plpgsql
as $procedure$
declare
  setting  pg_catalog.text;
begin
  commit;
  set transaction isolation level read committed;
  setting := pg_catalog.set_config('synchronous_commit', 'off', true);
end
$procedure$;
comment on procedure _begin_append is
  'Opens a transaction whose commit will not wait for the disk. Raises 2D000 inside a transaction, where no procedure '
  'can commit.';
create function _create_append(record_function text, template text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute _fill(template, 'home', current_schema(),
    'begin', format('  call %I._begin_append(/* inside a transaction, use %s */);', current_schema(), record_function),
    'end', $end$
  commit;  -- the first; the caller's synchronous_commit holds again
  -- The end of the CALL is the second. No commit here: cancelled while it waits for the disk, it would report a row as
  -- failed that is written.
  message := pg_catalog.pg_logical_emit_message(true, 'alpha-db', '');$end$);
end
$function$;
comment on function _create_append is
  'Makes a procedure that records as a record_ function does, and returns once the row is on disk. The template holds '
  '{begin:s}, {end:s} and {home:I}, and declares message.';
perform _create_append('record_webhook', $template$
create procedure append_webhook(
  raw_body             bytea,
  source_ip            inet     default null,
  content_type         text     default null,
  headers              jsonb    default null,
  signature            text     default null,
  hmac_verified        boolean  default false,
  inout id             bigint   default null,
  inout row_hash       text     default null,
  inout is_new         boolean  default null,
  inout body           jsonb    default null,
  inout body_problem   text     default null,
  inout is_whole       boolean  default null
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.recorded_webhook;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  stored := {home:I}.record_webhook(raw_body, source_ip, content_type, headers, signature, hmac_verified);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
  body := stored.body;
  body_problem := stored.body_problem;
  is_whole := stored.is_whole;
end
$procedure$;
$template$);
comment on procedure append_webhook is
  'Records a delivery as record_webhook does, and returns its id and its body as jsonb, or why it is none, once the '
  'row is on disk, without holding the chain while it waits. Raises 2D000 inside a transaction.';
perform _create_append('record_signal', $template$
create procedure append_signal(
  signal_id              text,
  symbol                 text,
  side                   text,
  price                  anycompatible,
  quantity               anycompatible,
  raw_payload            jsonb,
  source_ip              inet           default null,
  hmac_verified          boolean        default false,
  delivery_id            bigint         default null,
  inout correlation_id   uuid           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
  stored   {home:I}.recorded_signal;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  -- The usual signal is inserted here, at less cost than a look for its key. record_signal answers for the others: one
  -- that is there already, one that it refuses, and all of them while the alarm is raised.
  is_new := pg_catalog.pg_typeof(price) operator(pg_catalog.=) 'numeric'::pg_catalog.regtype
            and coalesce(pg_catalog.char_length(signal_id), 0) operator(pg_catalog.<=) 64
            and coalesce(pg_catalog.char_length(symbol), 0) operator(pg_catalog.<=) 20
            and coalesce(pg_catalog.char_length(side), 0) operator(pg_catalog.<=) 10
            and not {home:I}._alarm_is_raised();
  if is_new then
    insert into {home:I}.signals as s (correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip,
                                       hmac_verified, delivery_id)
    values (correlation_id, signal_id, symbol, side, price, quantity,
            raw_payload, source_ip, coalesce(hmac_verified, false), delivery_id)
    on conflict on constraint signals_signal_id_key do nothing
    returning s.id, s.correlation_id, s.row_hash into id, correlation_id, row_hash;
    is_new := found;
  end if;
  if not is_new then
    stored := {home:I}.record_signal(signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified,
                                     correlation_id, delivery_id, money_type);
    id := stored.id;
    correlation_id := stored.correlation_id;
    row_hash := stored.row_hash;
    is_new := stored.is_new;
  end if;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_signal is
  'Records a signal as record_signal does, and returns where its row stands once that is on disk, without holding the '
  'chain while it waits. Raises 2D000 inside a transaction.';
perform _create_append('record_ai_debate', $template$
create procedure append_ai_debate(
  inout correlation_id   uuid,
  model_name             text,
  reasoning_json         jsonb,
  confidence_score       anycompatible,
  elapsed_ms             integer,
  is_timeout             boolean        default false,
  model_version          text           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.recorded_ai_debate;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  stored := {home:I}.record_ai_debate(correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms,
                                      is_timeout, model_version, money_type);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
end
$procedure$;
$template$);
comment on procedure append_ai_debate is
  'Records a debate as record_ai_debate does, and returns once it is on disk, without holding the chain while it '
  'waits. Raises 2D000 inside a transaction.';
perform _create_append('record_order', $template$
create procedure append_order(
  inout correlation_id   uuid,
  order_type             text,
  symbol                 text,
  side                   text,
  quantity               anycompatible,
  price                  anycompatible  default null::numeric,
  exchange_order_id      text           default null,
  status                 text           default 'PENDING',
  client_order_id        text           default null,
  stop_price             anycompatible  default null::numeric,
  decision_maker         text           default null,
  exchange_status        text           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.recorded_order;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  stored := {home:I}.record_order(correlation_id, order_type, symbol, side, quantity, price, exchange_order_id,
                                  status, client_order_id, stop_price, decision_maker, exchange_status, money_type);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
end
$procedure$;
$template$);
comment on procedure append_order is
  'Records an order as record_order does, and returns once it is on disk, without holding the chain while it waits. '
  'Raises 2D000 inside a transaction.';
perform _create_append('record_order_event', $template$
create procedure append_order_event(
  order_execution_id     bigint,
  event_type             text,
  fill_quantity          anycompatible  default null::numeric,
  fill_price             anycompatible  default null::numeric,
  zar_equity             anycompatible  default null::numeric,
  positions_closed       jsonb          default null,
  rejection_reason       text           default null,
  exchange_error_code    text           default null,
  exchange_event_id      text           default null,
  exchange_status        text           default null,
  inout correlation_id   uuid           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
  stored   {home:I}.recorded_order_event;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select o.correlation_id into correlation_id
  from only {home:I}.order_execution as o where o.id operator(pg_catalog.=) order_execution_id;
  stored := {home:I}.record_order_event(order_execution_id, event_type, fill_quantity, fill_price, zar_equity,
                                        positions_closed, rejection_reason, exchange_error_code, exchange_event_id,
                                        exchange_status, money_type);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
end
$procedure$;
$template$);
comment on procedure append_order_event is
  'Records an order''s event as record_order_event does, and returns once it is on disk, without holding the chain '
  'while it waits. Raises 2D000 inside a transaction.';

-- sql/09_write/append_many.sql

-- Procedures that make many rows durable at once: the twins of many.sql, as append.sql has them of record.sql
--
-- They return where each row stands, its key and whether it is new, not what it holds: 100 large rows would be an
-- answer that no client can read.

perform _create_append('record_signals', $template$
create procedure append_signals(signals jsonb, inout results jsonb default null)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
           'id', r.id, 'correlation_id', r.correlation_id, 'signal_id', r.signal_id,
           'row_hash', r.row_hash, 'is_new', r.is_new)), '[]')
  into results
  from {home:I}.record_signals(signals) as r;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_signals is
  'Records signals as record_signals does, and returns where their rows stand once all are on disk. Raises '
  '2D000 inside a transaction.';
perform _create_append('record_ai_debates', $template$
create procedure append_ai_debates(ai_debates jsonb, inout results jsonb default null)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
           'id', r.id, 'correlation_id', r.correlation_id, 'row_hash', r.row_hash, 'is_new', r.is_new)), '[]')
  into results
  from {home:I}.record_ai_debates(ai_debates) as r;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_ai_debates is
  'Records debates as record_ai_debates does, and returns where their rows stand once all are on disk. Raises '
  '2D000 inside a transaction.';
perform _create_append('record_orders', $template$
create procedure append_orders(orders jsonb, inout results jsonb default null)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
           'id', r.id, 'correlation_id', r.correlation_id, 'client_order_id', r.client_order_id,
           'row_hash', r.row_hash, 'is_new', r.is_new)), '[]')
  into results
  from {home:I}.record_orders(orders) as r;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_orders is
  'Records orders as record_orders does, and returns where their rows stand once all are on disk. Raises '
  '2D000 inside a transaction.';
perform _create_append('record_order_events', $template$
create procedure append_order_events(order_events jsonb, inout results jsonb default null)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
           'id', r.id, 'order_execution_id', r.order_execution_id, 'exchange_event_id', r.exchange_event_id,
           'row_hash', r.row_hash, 'is_new', r.is_new)), '[]')
  into results
  from {home:I}.record_order_events(order_events) as r;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_order_events is
  'Records events as record_order_events does, and returns where their rows stand once all are on disk. Raises '
  '2D000 inside a transaction.';

perform _finish_migration('003_attach_triggers');
end
$migration$;
