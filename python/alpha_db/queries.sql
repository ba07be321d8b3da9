-- All the SQL that the Python package sends. A "-- name:" line starts a query; queries.py reads this file.
-- Most are calls of functions. What is written out here either reads a table or view as it is, or has to run where
-- nothing may be installed yet: pin_names to migration_lock_holders.

-- name: pin_names
-- The first statement of every connection. Until it has run, any name could be somebody else's: all of its own are
-- PostgreSQL's, by name. A path without a schema that exists becomes pg_catalog's, where nothing is installed.
-- Behind a pooler the server's process is another than the one that libpq was told; there this lasts for the statement
-- only, so that nobody else finds it in a session that is not ours.
with pooler as materialized (
  select pg_catalog.pg_backend_pid() operator(pg_catalog.<>) %(pid)s::pg_catalog.int4 as is_there)
select pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ',
         coalesce(pg_catalog.quote_ident(pg_catalog.current_schema()), 'pg_catalog'), 'pg_temp'), is_there),
       pg_catalog.set_config('standard_conforming_strings', 'on', is_there),
       pg_catalog.set_config('transform_null_equals', 'off', is_there),
       pg_catalog.set_config('array_nulls', 'on', is_there),
       -- A policy that hides rows makes an error (42501), never a shorter log.
       pg_catalog.set_config('row_security', 'off', is_there),
       is_there
from pooler;

-- name: reset_session
-- Between two uses of a pool's connection. DISCARD ALL would drop statements that psycopg believes to be prepared.
close all; set session authorization default; reset all; unlisten *; discard temp; discard sequences;
select pg_catalog.pg_advisory_unlock_all();

-- name: pooled_path
-- The path of the login, or the caller's own; not what another client of the pooler left in this session.
select pg_catalog.set_config('search_path', coalesce(%(path)s::pg_catalog.text, s.reset_val), true)
from pg_catalog.pg_settings as s where s.name operator(pg_catalog.=) 'search_path'::pg_catalog.text;

-- name: pooled_schema
select coalesce(pg_catalog.current_schema(), 'pg_catalog')::pg_catalog.text, pg_catalog.pg_is_in_recovery();

-- name: pin_for_command
-- Defaults of the database or the role that would keep a command from reading or from recording what it found. What the
-- caller's own PGOPTIONS say counts, and so does a server's configuration that says read-only: it fences off a former
-- primary, and everybody is to keep out. jit: compiling takes seconds where the planner believes that our functions are
-- costly, and saves nothing, because hashing takes the time.
select s.name, case when not %(is_pooled)s::boolean then set_config(s.name, v.value, false) else v.value end
from (values ('default_transaction_read_only', 'off'), ('default_transaction_isolation', 'read committed'),
             ('default_transaction_deferrable', 'off'), ('statement_timeout', '0'), ('jit', 'off'),
             ('transaction_timeout', '0'), ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '0'))
     as v(name, value)
join pg_settings as s on s.name = v.name
where s.source <> 'client'
  and not (s.name = 'default_transaction_read_only' and s.source in ('configuration file', 'command line', 'global'));

-- name: where_am_i
-- Whoever put the schema first may have put anything into it. So that none of it fits a call better than PostgreSQL's
-- own, functions are qualified, and arguments have exactly the types that they take.
select pg_catalog.current_database()                                      as database,
       -- Without a schema that can be used, the first is pg_catalog, or what the session keeps temporary tables in.
       (select n.nspname::text from pg_namespace as n
        where n.nspname = pg_catalog.current_schema() and n.nspname <> 'pg_catalog'::name
          and n.oid <> pg_catalog.pg_my_temp_schema())                    as schema,
       session_user                                                       as session_user,
       pg_catalog.current_setting('server_version')                       as server_version,
       pg_catalog.pg_is_in_recovery()                                     as in_recovery,
       pg_catalog.current_setting('transaction_read_only')::boolean       as read_only,
       -- Whoever owns the schema could make a table of that name, but not as alpha_owner.
       exists (select from pg_class as c
               join pg_namespace as n on n.oid = c.relnamespace and n.nspname = pg_catalog.current_schema()
               join pg_roles as r on r.oid = c.relowner
                and r.rolname::text ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'::text
               where c.relname = 'installed_migrations'::name)            as installed,
       exists (select from pg_namespace as n
               where n.nspname = %(schema)s::name)                        as schema_exists,
       (select pg_catalog.array_agg(n.nspname::text order by n.nspname)
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_roles as r on r.oid = c.relowner
         and r.rolname::text ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'::text
        where c.relname = 'installed_migrations'::name)                   as installed_in;

-- name: installations
-- The schemas that hold an installation, or what is left of one, by the names of our tables: whose register of
-- migrations is gone, or whose tables belong to another role. The catalogues tell everybody, so a desk that a login may
-- not use is among them. Whoever owns the tables can replace the functions, so `may_act` says whether the login could
-- act as an owner.
select t.schema,
       pg_catalog.array_agg(distinct t.role)                              as owners,
       pg_catalog.bool_or(pg_catalog.pg_has_role(session_user, t.owner, 'member'::text)
                          or pg_catalog.pg_has_role(current_user, t.owner, 'member'::text)) as may_act,
       pg_catalog.bool_and(t.name = 'installed_migrations'::text)         as is_shell,
       session_user::text                                                 as login
from (select n.nspname::text as schema, c.relname::text as name, c.relowner as owner, r.rolname::text as role
      from pg_class as c
      join pg_namespace as n on n.oid = c.relnamespace
      join pg_roles as r on r.oid = c.relowner
      where c.relname::text = any(%(names)s::text[])) as t
group by t.schema
having pg_catalog.bool_or(t.role ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'::text)
    or pg_catalog.bool_or(t.name = 'installed_migrations'::text) and pg_catalog.bool_or(t.name = 'chains'::text)
   and pg_catalog.bool_or(t.name = 'guard_states'::text) and pg_catalog.bool_or(t.name = 'signals'::text)
order by t.schema;

-- name: go_to
select pg_catalog.set_config('search_path'::pg_catalog.text, %(path)s::pg_catalog.text, false);

-- name: remains
-- What of an installation is in the schema though the register of its migrations is not.
select pg_catalog.array_agg(c.relname::text order by c.relname)
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace and n.nspname = pg_catalog.current_schema()
join pg_roles as r on r.oid = c.relowner and r.rolname::text ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'::text
where c.relname::text in ('chains', 'guard_states', 'signals')
  and not exists (select from pg_class as m where m.relnamespace = n.oid and m.relname = 'installed_migrations'::name);

-- name: is_gone
-- Whether a migration is recorded, though what it made is in the schema no more.
select exists (select from installed_migrations as m where m.name = %(migration)s::text)
   and not exists (select from pg_class as c where c.relname = %(name)s::name and c.relnamespace = n.oid)
   and not exists (select from pg_proc as p where p.proname = %(name)s::name and p.pronamespace = n.oid)
   and not exists (select from pg_type as t where t.typname = %(name)s::name and t.typnamespace = n.oid)
from pg_namespace as n where n.nspname = current_schema();

-- name: missing_tables
select t.name
from unnest(%(names)s::text[]) with ordinality as t(name, place)
where not exists (select from pg_class as c
                  join pg_namespace as n on n.oid = c.relnamespace and n.nspname = current_schema()
                  where c.relname = t.name::name)
order by t.place;

-- name: database_exists
select true from pg_database where datname = %(name)s;

-- name: create_database
create database {} encoding 'UTF8' template template0;

-- name: be_read_only
set session characteristics as transaction read only;

-- name: installation
select installation_id, role_prefix, installed_at from installation;

-- name: installed_migrations
select name, checksum, applied_at, applied_by, server_version from installed_migrations
order by substring(name from '^[0-9]{1,18}')::bigint nulls first, name;

-- name: yoyo_history_exists
-- A table, not somebody's view of that name.
select exists (select from pg_class as c
               where c.oid = pg_catalog.to_regclass(
                               pg_catalog.quote_ident(current_schema()::text) || '._yoyo_migration')::oid
                 and c.relkind = 'r'::"char");

-- name: yoyo_history_writable
select coalesce(
  pg_catalog.has_table_privilege(
    pg_catalog.to_regclass(pg_catalog.quote_ident(current_schema()::text) || '._yoyo_migration')::oid,
    'select, insert'::text),
  true);

-- name: yoyo_history
select migration_id, applied_at_utc from _yoyo_migration order by migration_id;

-- name: may_create
select pg_catalog.has_schema_privilege(current_schema()::text, 'create'::text);

-- name: set_for_session
select set_config(%(name)s, %(value)s, false);

-- name: set_lock_timeout
select set_config('lock_timeout', %(timeout)s, false);

-- name: installed_here
-- Whether this transaction made the installation.
select exists (
  select from pg_class as c
  where c.oid = pg_catalog.to_regclass(pg_catalog.quote_ident(current_schema()::text) || '.installed_migrations')::oid
    and c.xmin = pg_current_xact_id()::xid);

-- name: become_owner
-- For this transaction, the role that owns the installation.
select set_config('role', pg_get_userbyid(c.relowner), true)
from pg_class as c
where c.oid = pg_catalog.to_regclass(pg_catalog.quote_ident(current_schema()::text) || '.lock_migrate_sessions')::oid;

-- name: migrate_lock
lock table only lock_migrate_sessions in share update exclusive mode;

-- name: migration_lock_holders
-- Who keeps migrations of this schema waiting: holders of the lock tables or, while no installation can be seen,
-- transactions that are making tables. A prepared transaction has no pid. %(own)s: the caller's own sessions.
select distinct l.pid, coalesce(a.usename::text, x.owner::text) as login, a.application_name as application, x.gid
from pg_locks as l
left join pg_class as c on c.oid = l.relation
left join pg_stat_activity as a on a.pid = l.pid
left join pg_locks as t on l.pid is null and t.pid is null and t.locktype = 'transactionid'
                           and t.virtualtransaction = l.virtualtransaction
left join pg_prepared_xacts as x on x.transaction = t.transactionid
where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
  and (l.pid is null or l.pid <> all (%(own)s::integer[]))
  and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
  and l.database = (select d.oid from pg_database as d where d.datname = current_database())
  and case when pg_catalog.to_regclass(pg_catalog.quote_ident(current_schema()::text) || '.lock_migrations') is null
           then c.oid is null
           else c.relnamespace = to_regnamespace(pg_catalog.quote_ident(current_schema()::text))::oid
                and c.relname in ('lock_migrations', 'lock_migrate_sessions') end
order by 1, 2;

-- name: chain_status
select table_name, last_id, head_hash, last_created_at, error_code, problem from chain_status();

-- name: lockdown_status
select is_locked, since, event_id, reason, damage from lockdown_status();

-- name: lock_holders
select lock_name, mode, granted, pid, gid, login, application, client_address, since, state, blocks,
       extract(epoch from clock_timestamp() - since)::double precision as seconds
from lock_holders();

-- name: lock_timeout
select setting::numeric / 1000 from pg_settings where name = 'lock_timeout';

-- name: prepare_command
-- A command neither waits for a lock for ever nor longer than its login is allowed to, and reads ISO dates.
select set_config('lock_timeout',
         case when not %(is_given)s::boolean and s.setting::bigint between 1 and %(milliseconds)s::bigint
              then s.setting else %(milliseconds)s::text end, %(is_pooled)s::boolean) as lock_timeout,
       set_config('datestyle', 'ISO', %(is_pooled)s::boolean) as datestyle
from pg_settings as s where s.name = 'lock_timeout';

-- name: limit_statements
-- For the session; behind a pooler, which gives each transaction another one, the caller pins it.
select set_config('statement_timeout', %(limit)s::text, %(is_pooled)s::boolean);

-- name: metrics
select name, labels, value from metrics();

-- name: costly_metrics
select name, labels, value from costly_metrics();

-- name: watch_events
select table_name, id, happened_at, event, what, detail from watch_events(after => %(after)s::jsonb);

-- name: notify
select pg_notify(%(channel)s, current_schema());

-- name: guards
select object_kind, object_name, fact, expected, found, problem from verify_guards();

-- name: attempts
select code, table_name, operation, attempts from vw_rejected_attempts order by code, table_name, operation;

-- name: widen_column
select widen_column(table_name => %(table_name)s::text, column_name => %(column_name)s::text,
                    length => %(length)s::integer)
from set_config('alpha.maintenance', %(reason)s::text, true);

-- name: chain_table
select chain_table(table_name => %(table_name)s::text, open_in_lockdown => %(open_in_lockdown)s::boolean);

-- name: extend_table
select extend_table(table_name => %(table_name)s::text);

-- name: chained_tables
select table_name, kind, last_id, not_covered, open_in_lockdown, keep::text as keep from chained_tables();

-- name: record_row
select record_row(table_name => %(table_name)s::text, content => %(content)s::jsonb) as result;

-- name: append_row
call append_row(table_name => %(table_name)s::text, content => %(content)s::jsonb);

-- name: track_table
select track_table("table" => to_regclass(%(table)s::text), exclude => %(exclude)s::text[]);

-- name: untrack_table
select untrack_table("table" => %(table)s::text);

-- name: table_history
select id, operation, created_at, recorded_by, acting_role, application_name, host(client_address) as client_address,
       transaction_id, changed_columns, other_key, old_row, new_row
from table_history("table" => %(table)s::text, key => %(key)s::text);

-- name: table_as_of
select table_as_of("table" => %(table)s::text, moment => %(moment)s::timestamptz) as row;

-- name: verify_tracked
select table_name, problem, key, recorded, present, detail from verify_tracked("table" => %(table)s::text);

-- name: verify_chain
select table_name, rows_checked, first_id, last_id, is_valid, error_code, verdict, broken_id, expected_hash,
       actual_hash, detail
from verify_chain_integrity(
  table_name => %(table_name)s::text, from_id => %(from_id)s::bigint, to_id => %(to_id)s::bigint,
  engage_lockdown => %(engage_lockdown)s::boolean);

-- name: verification_plan
select table_name, from_id, to_id, is_full, turn, after_run
from verification_plan(since_last => %(since_last)s::boolean, full_every => %(full_every)s::integer);

-- name: every_chain
-- What a run reads if verification_plan cannot say, and what its plan must not leave out.
select table_name from chains order by position;

-- name: verify_range
select table_name, rows_checked, first_id, last_id, is_valid, error_code, verdict, broken_id, expected_hash,
       actual_hash, detail
from verify_range(
  table_name => %(table_name)s::text, from_id => %(from_id)s::bigint, to_id => %(to_id)s::bigint,
  engage_lockdown => %(engage_lockdown)s::boolean);

-- name: changed_guards
select table_name, problems from changed_guards();

-- name: record_verification
select record_verification(
  is_full => %(is_full)s::boolean, last_ids => %(last_ids)s::jsonb, rows_checked => %(rows_checked)s::bigint,
  full_every => %(full_every)s::integer, turn => %(turn)s::integer, after_run => %(after_run)s::bigint);

-- name: logins_without_timeouts
select role, member_of, lacks from logins_without_timeouts();

-- name: growth
select table_name, rows_stored, bytes, oldest_id, oldest_created_at, last_id, rows_a_day, bytes_a_day,
       keep::text as keep, rows_overdue, error_code, problem
from growth();

-- name: headroom
select kind, name, used, due, usable, a_day, days_left, problem from headroom();

-- name: record_webhook
select * from record_webhook(
  raw_body => %(raw_body)s::bytea, source_ip => %(source_ip)s::inet, content_type => %(content_type)s::text,
  headers => %(headers)s::jsonb, signature => %(signature)s::text, hmac_verified => %(hmac_verified)s::boolean);

-- name: record_signal
select * from record_signal(
  signal_id => %(signal_id)s::text, symbol => %(symbol)s::text, side => %(side)s::text,
  price => %(price)s::numeric, quantity => %(quantity)s::numeric, raw_payload => %(raw_payload)s::jsonb,
  source_ip => %(source_ip)s::inet, hmac_verified => %(hmac_verified)s::boolean,
  correlation_id => %(correlation_id)s::uuid, delivery_id => %(delivery_id)s::bigint);

-- name: record_ai_debate
select * from record_ai_debate(
  correlation_id => %(correlation_id)s::uuid, model_name => %(model_name)s::text,
  reasoning_json => %(reasoning_json)s::jsonb, confidence_score => %(confidence_score)s::numeric,
  elapsed_ms => %(elapsed_ms)s::integer, is_timeout => %(is_timeout)s::boolean,
  model_version => %(model_version)s::text);

-- name: record_order
select * from record_order(
  correlation_id => %(correlation_id)s::uuid, order_type => %(order_type)s::text, symbol => %(symbol)s::text,
  side => %(side)s::text, quantity => %(quantity)s::numeric, price => %(price)s::numeric,
  exchange_order_id => %(exchange_order_id)s::text, status => %(status)s::text,
  client_order_id => %(client_order_id)s::text, stop_price => %(stop_price)s::numeric,
  decision_maker => %(decision_maker)s::text, exchange_status => %(exchange_status)s::text);

-- name: record_order_event
select * from record_order_event(
  order_execution_id => %(order_execution_id)s::bigint, event_type => %(event_type)s::text,
  fill_quantity => %(fill_quantity)s::numeric, fill_price => %(fill_price)s::numeric,
  zar_equity => %(zar_equity)s::numeric, positions_closed => %(positions_closed)s::jsonb,
  rejection_reason => %(rejection_reason)s::text, exchange_error_code => %(exchange_error_code)s::text,
  exchange_event_id => %(exchange_event_id)s::text, exchange_status => %(exchange_status)s::text);

-- name: record_signals
select * from record_signals(signals => %(signals)s::jsonb);

-- name: record_ai_debates
select * from record_ai_debates(ai_debates => %(ai_debates)s::jsonb);

-- name: record_orders
select * from record_orders(orders => %(orders)s::jsonb);

-- name: record_order_events
select * from record_order_events(order_events => %(order_events)s::jsonb);

-- name: append_webhook
-- A CALL that commits has no transaction around it, so through a pooler its names are not pinned: pooled.py puts the
-- schema in front, and the types are named with theirs.
call append_webhook(
  raw_body => %(raw_body)s::pg_catalog.bytea, source_ip => %(source_ip)s::pg_catalog.inet,
  content_type => %(content_type)s::pg_catalog.text, headers => %(headers)s::pg_catalog.jsonb,
  signature => %(signature)s::pg_catalog.text, hmac_verified => %(hmac_verified)s::boolean);

-- name: append_signal
call append_signal(
  signal_id => %(signal_id)s::pg_catalog.text, symbol => %(symbol)s::pg_catalog.text, side => %(side)s::pg_catalog.text,
  price => %(price)s::numeric, quantity => %(quantity)s::numeric, raw_payload => %(raw_payload)s::pg_catalog.jsonb,
  source_ip => %(source_ip)s::pg_catalog.inet, hmac_verified => %(hmac_verified)s::boolean,
  correlation_id => %(correlation_id)s::pg_catalog.uuid, delivery_id => %(delivery_id)s::bigint);

-- name: append_ai_debate
call append_ai_debate(
  correlation_id => %(correlation_id)s::pg_catalog.uuid, model_name => %(model_name)s::pg_catalog.text,
  reasoning_json => %(reasoning_json)s::pg_catalog.jsonb, confidence_score => %(confidence_score)s::numeric,
  elapsed_ms => %(elapsed_ms)s::integer, is_timeout => %(is_timeout)s::boolean,
  model_version => %(model_version)s::pg_catalog.text);

-- name: append_order
call append_order(
  correlation_id => %(correlation_id)s::pg_catalog.uuid, order_type => %(order_type)s::pg_catalog.text,
  symbol => %(symbol)s::pg_catalog.text, side => %(side)s::pg_catalog.text, quantity => %(quantity)s::numeric,
  price => %(price)s::numeric,
  exchange_order_id => %(exchange_order_id)s::pg_catalog.text, status => %(status)s::pg_catalog.text,
  client_order_id => %(client_order_id)s::pg_catalog.text, stop_price => %(stop_price)s::numeric,
  decision_maker => %(decision_maker)s::pg_catalog.text, exchange_status => %(exchange_status)s::pg_catalog.text);

-- name: append_order_event
call append_order_event(
  order_execution_id => %(order_execution_id)s::bigint, event_type => %(event_type)s::pg_catalog.text,
  fill_quantity => %(fill_quantity)s::numeric, fill_price => %(fill_price)s::numeric,
  zar_equity => %(zar_equity)s::numeric, positions_closed => %(positions_closed)s::pg_catalog.jsonb,
  rejection_reason => %(rejection_reason)s::pg_catalog.text,
  exchange_error_code => %(exchange_error_code)s::pg_catalog.text,
  exchange_event_id => %(exchange_event_id)s::pg_catalog.text,
  exchange_status => %(exchange_status)s::pg_catalog.text);

-- name: append_signals
call append_signals(signals => %(signals)s::pg_catalog.jsonb);

-- name: append_ai_debates
call append_ai_debates(ai_debates => %(ai_debates)s::pg_catalog.jsonb);

-- name: append_orders
call append_orders(orders => %(orders)s::pg_catalog.jsonb);

-- name: append_order_events
call append_order_events(order_events => %(order_events)s::pg_catalog.jsonb);

-- name: record_decision
select * from record_decision(
  correlation_id => %(correlation_id)s::uuid, symbol => %(symbol)s::text, side => %(side)s::text,
  quantity => %(quantity)s::numeric, price => %(price)s::numeric, "position" => %(position)s::numeric,
  allowed => %(allowed)s::boolean, reason => %(reason)s::text, mode => %(mode)s::text,
  risk_version => %(risk_version)s::bigint, state_hash => %(state_hash)s::text,
  decision_maker => %(decision_maker)s::text, decided_at => %(decided_at)s::timestamptz);

-- name: append_decision
call append_decision(
  correlation_id => %(correlation_id)s::pg_catalog.uuid, symbol => %(symbol)s::pg_catalog.text,
  side => %(side)s::pg_catalog.text, quantity => %(quantity)s::numeric, price => %(price)s::numeric,
  "position" => %(position)s::numeric, allowed => %(allowed)s::boolean, reason => %(reason)s::pg_catalog.text,
  mode => %(mode)s::pg_catalog.text, risk_version => %(risk_version)s::bigint,
  state_hash => %(state_hash)s::pg_catalog.text, decision_maker => %(decision_maker)s::pg_catalog.text,
  decided_at => %(decided_at)s::pg_catalog.timestamptz);

-- name: heartbeat
select heartbeat()::text::bigint as transaction;

-- name: replay_lag
select in_recovery, seconds from replay_lag();

-- name: active_risk_state
select version, state_text, state_hash, origin, is_locked, read_at, limits_valid_from from active_risk_state();

-- name: agent_keys
select agent_id::text, public_key, proposal_id::text, revoked_at is not null as revoked, name, role, signature
from agent_keys();

-- name: was_locked
select event_id, alarm from lockdown_evidence() where event_id is not null or alarm is not null limit 1;

-- name: lockdown_evidence
select alarm, event_id, event_type, event_alarm, proposal_id::text, damage_hash, row_hash
from lockdown_evidence();

-- name: damaged_rows
select "table", id, verdict, actual_hash, expected_hash, row_data from damaged_rows(%(proposal_id)s::uuid);

-- name: risk_evidence
select version, kind, previous, state_text, state_hash, proposal_text, proposer::text, proposer_key, proposal_signature,
       reason, payload::text, approved_by::text, approvals::text, applied_at
from risk_evidence(since_version => %(since)s::bigint);

-- name: listen_risk
listen alpha_risk;

-- name: listen_lockdown
listen alpha_lockdown;

-- name: bootstrap_agents
select agent_id, name, role, encode(public_key, 'hex') as public_key
from bootstrap_agents(agents => %(agents)s::jsonb);

-- name: agents_by_name
select agent_id, name, role, public_key, replaces, proposal_id, enrolled_at, revoked_at from agent_keys();

-- name: proposals
select proposal_id, kind, payload, reason, proposer, proposer_name, previous, digest, signed_text, expires_at,
       created_at, status, approvals, needed, direction
from vw_proposals
where (%(proposal)s::text is null or proposal_id::text like %(proposal)s || '%%')
  and (%(every)s::boolean or status = 'PENDING')
order by created_at;

-- name: proposal_signature
select proposer_key, signature, origin from proposals where proposal_id = %(proposal_id)s::uuid;

-- name: proposal_changes
select p.proposal_id, c.name, c.old_value as old, c.new_value as new, c.direction
from unnest(%(proposal_ids)s::uuid[]) as p(proposal_id) cross join lateral proposal_changes(p.proposal_id) as c;

-- name: proposal_voters
select p.proposal_id, v.agent_id, v.name, v.role, v.decision, v.signed_at, v.voted_at, v.counts, v.may_vote
from unnest(%(proposal_ids)s::uuid[]) as p(proposal_id) cross join lateral proposal_voters(p.proposal_id) as v;

-- name: vote_signatures
select agent_id, agent_key, decision, signed_at, signature from votes where proposal_id = %(proposal_id)s::uuid;

-- name: approval_message
select approval_message(
  proposal_id => %(proposal_id)s::uuid, agent_id => %(agent_id)s::uuid, decision => %(decision)s::text,
  signed_at => %(signed_at)s::timestamptz);

-- name: propose
select proposal_id, digest, created_at
from propose(
  proposal_id => %(proposal_id)s::uuid, kind => %(kind)s::text, payload => %(payload)s::jsonb,
  reason => %(reason)s::text, proposer => %(proposer)s::uuid, expires_at => %(expires_at)s::timestamptz,
  signature => %(signature)s::bytea, previous => %(previous)s::text);

-- name: vote
select vote(
  proposal_id => %(proposal_id)s::uuid, agent_id => %(agent_id)s::uuid, decision => %(decision)s::text,
  signed_at => %(signed_at)s::timestamptz, signature => %(signature)s::bytea);

-- name: verify_config_integrity
select source, hash, is_valid, detail from verify_config_integrity();

-- name: server_time
select clock_timestamp();

-- name: seal_log
select sealed_table, sealed_from, sealed_to
from seal_log(table_name => %(table_name)s::text, max_rows => %(max_rows)s::bigint);

-- name: record_checkpoint_run
select id from record_checkpoint_run();

-- name: run_to_sign
-- A run's row and its proof in the log that ends with it, and that log's root.
select r.row_data, r.previous_hash, r.proof, log_root(table_name => 'checkpoint_runs', size => %(id)s::bigint) as root
from row_to_prove(table_name => 'checkpoint_runs', id => %(id)s::bigint, size => %(id)s::bigint) as r;

-- name: recorded_heads
-- What the runs up to a size say of each log, each size and root once; of what somebody forged, all that can be read.
-- Without what was said of a table before a release of the lockdown acknowledged damage in it.
with acknowledged as materialized (
  select a.table_name, max(a.release_id) as release_id from acknowledged_damage() as a group by a.table_name
)
select min(r.id) as id, h.key as table_name, (h.value ->> 'size')::bigint as size, decode(h.value ->> 'root', 'hex') as root
from only checkpoint_runs as r
cross join lateral jsonb_each(case when jsonb_typeof(r.heads) = 'object' then r.heads else '{}' end) as h
where r.id <= %(size)s::bigint
  and case when h.value ->> 'size' ~ '^[0-9]{1,18}$' then h.value ->> 'root' ~ '^[0-9a-f]{64}$' end
  and not exists (select from acknowledged as a
                  where a.table_name = h.key
                    and case when r.heads #>> '{lockdown_events,size}' ~ '^[0-9]{1,18}$'
                        then (r.heads #>> '{lockdown_events,size}')::bigint < a.release_id end)
group by h.key, h.value ->> 'size', h.value ->> 'root';

-- name: consistency_proof
select consistency_proof(table_name => %(table_name)s::text, size1 => %(size1)s::bigint, size2 => %(size2)s::bigint);

-- name: consistency_proofs
-- The proofs of several sizes against one, in the order of the sizes.
select consistency_proof(table_name => %(table_name)s::text, size1 => s.size1, size2 => %(size2)s::bigint)
from unnest(%(sizes)s::bigint[]) with ordinality as s(size1, place)
order by s.place;

-- name: recompute_block_roots
-- Of several ranges, in their order.
select recompute_block_roots(table_name => %(table_name)s::text, from_id => r.from_id, to_id => r.to_id) as roots
from unnest(%(from_ids)s::bigint[], %(to_ids)s::bigint[]) with ordinality as r(from_id, to_id, place)
order by r.place;

-- name: row_hashes_after
select t.row_hash::text from only {} as t where t.id > %(after)s::bigint order by t.id;

-- name: recompute_log_root
select recompute_log_root(table_name => %(table_name)s::text, size => %(size)s::bigint);

-- name: verify_checkpoint
select table_name, rows_checked, first_id, last_id, is_valid, error_code, verdict, broken_id, expected_hash,
       actual_hash, detail
from verify_checkpoint(
  table_name => %(table_name)s::text, size => %(size)s::bigint, root => %(root)s::bytea,
  engage_lockdown => %(engage_lockdown)s::boolean);

-- name: wal_insert_position
select pg_current_wal_insert_lsn()::text;

-- name: commit_synchronously
set local synchronous_commit = on;

-- name: write_wal
-- A transaction that writes no WAL is not flushed, whatever synchronous_commit says.
select pg_logical_emit_message(true, 'alpha-db', '');

-- name: is_flushed
select pg_current_wal_flush_lsn() >= %(lsn)s::pg_lsn;

-- name: standbys
select name, has_replayed, is_visible from standbys(replayed_to => %(lsn)s::pg_lsn);

-- name: whereabouts
select i.installation_id::text as installation, guards_hash() as guards, pg_is_in_recovery() as in_recovery,
       (select c.system_identifier::text from pg_control_system() as c) as system_identifier,
       w.timeline, w.wal_lsn::text as wal_lsn
from only installation as i
cross join wal_position() as w;

-- name: guard_states_since
select id, reason, recorded_by, created_at from only guard_states where id > %(size)s::bigint order by id;

-- name: guards_since
select object_kind, object_name, fact, expected, found, problem from guards_since(state_id => %(size)s::bigint);

-- name: recorded_guards_hash
select state_hash::text as state_hash from only guard_states where id = %(size)s::bigint;

-- name: maintenance_since
select id, reason, command_tag, object_identity, recorded_by, created_at
from only maintenance_events where id > %(size)s::bigint order by id;

-- name: timeline_history
select pg_read_file(format('pg_wal/%%s.history', lpad(upper(to_hex(%(timeline)s::integer)), 8, '0')), 0, 1000000, true);

-- name: unsealed_rows
select unsealed_rows(table_name => %(table_name)s::text);

-- name: logs
select l.origin, l.table_name as "table", l.last_id, l.error_code, l.problem,
       coalesce((select max(s.id) from only chain_starts as s where s.table_name = l.table_name), 0) as start_id
from merkle_logs() with ordinality as l(origin, table_name, last_id, error_code, problem, place)
order by l.place;

-- name: chain_start
select coalesce(max(s.id), 0) from only chain_starts as s where s.table_name = %(table_name)s::text;

-- name: proven_start
-- The same, as far as signatures say that the rows were archived.
select id from _proven_start(table_name => %(table_name)s::text);

-- name: start_hash
select s.row_hash::text from only chain_starts as s
where s.table_name = %(table_name)s::text order by s.id desc limit 1;

-- name: segment_of_row
select first_id, through_id, segment_sha256
from only archived_segments
where table_name = %(table_name)s::text and %(id)s::bigint between first_id and through_id
order by id limit 1;

-- name: stored_nodes
select hash
from only log_nodes
where table_name = %(table_name)s::text and level = %(level)s::integer
  and index >= %(first)s::bigint and index < %(last)s::bigint
order by index;

-- name: retention_plan
select planned_table as "table", first_id, through_id, last_created_at, row_count as rows, bytes, limited_by
from retention_plan(before => %(before)s::timestamptz, table_name => %(table_name)s::text);

-- name: archived
-- What was approved, and how much of it is still here.
select s.id, s.table_name as "table", s.first_id, s.through_id, s.last_hash, s.last_created_at, s.root,
       s.segment_sha256, s.proposal_id, s.created_at, s.recorded_by,
       greatest(s.through_id - greatest(c.id, s.first_id - 1), 0) as still_here
from only archived_segments as s
cross join lateral (select coalesce(max(b.id), 0) as id from only chain_starts as b where b.table_name = s.table_name) as c
where %(table_name)s::text is null or s.table_name = %(table_name)s::text
order by s.id;

-- name: legal_holds
select table_name as "table", from_id, proposal_id, reason, held_since from legal_holds();

-- name: retention_policies
select p.table_name as "table", p.keep::text as keep
from only retention_policies as p join only chains as c on c.table_name = p.table_name
order by c.position;

-- name: prune_archived
call prune_archived(table_name => %(table_name)s::pg_catalog.text, batch => %(batch)s::integer);

-- name: log_root
select log_root(table_name => %(table_name)s::text, size => %(size)s::bigint);

-- name: chain_genesis
select chain_genesis(%(table_name)s::text);

-- name: row_hash
select row_hash
from chain_rows(table_name => %(table_name)s::text, from_id => %(before)s::bigint, to_id => %(before)s::bigint);

-- name: inclusion_proof_of_last
select inclusion_proof(table_name => %(table_name)s::text, id => %(before)s::bigint, size => %(before)s::bigint);

-- name: chain_rows_sql
select chain_rows_sql(%(table_name)s::text);

-- name: export_settings
-- As chain_rows() pins them; and by the primary key, for a sort of a large table would go through the disk.
select set_config('timezone', 'UTC', true), set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '1', true), set_config('intervalstyle', 'postgres', true),
       set_config('enable_sort', 'off', true);

-- name: export_rows
copy (
  select r.id::bigint, r.row_hash::text, convert_to(row_to_json(e)::text || E'\n', 'UTF8')
  from ({rows}) as r
  cross join lateral (select r.id, r.row_hash, r.row_data) as e
  where r.id between {from_id} and {to_id}
  order by r.id
) to stdout (format binary);

-- name: copy_row_hashes
copy (
  select t.id::bigint, t.row_hash::text from only {table} as t where t.id between {from_id} and {to_id} order by t.id
) to stdout (format binary);

-- name: row_to_prove
select row_data, row_hash, previous_hash, proof
from row_to_prove(table_name => %(table_name)s::text, id => %(id)s::bigint, size => %(size)s::bigint);

-- name: report_period
select begins_at, ends_at
from report_period(from_time => %(from_time)s::timestamptz, to_time => %(to_time)s::timestamptz);

-- name: report_figures
select figure, number from report_figures(from_time => %(from_time)s::timestamptz, to_time => %(to_time)s::timestamptz);

-- name: daily_activity
select table_name as "table", day, row_count
from daily_activity(from_time => %(from_time)s::timestamptz, to_time => %(to_time)s::timestamptz);

-- name: verification_activity
select day, full_runs, partial_runs, rows_checked, longest_pause, refused_attempts
from verification_activity(from_time => %(from_time)s::timestamptz, to_time => %(to_time)s::timestamptz);

-- name: report_trades
select correlation_id
from report_trades(from_time => %(from_time)s::timestamptz, to_time => %(to_time)s::timestamptz, newest => %(newest)s);

-- name: trade_rows
select correlation_id, step, table_name as "table", row_id
from trade_rows(correlation_ids => %(correlation_ids)s::uuid[]);

-- name: rows_as_hashed
select id, previous_hash, row_hash, row_data, characters, members::text as members
from rows_as_hashed(table_name => %(table_name)s::text, ids => %(ids)s::bigint[], longest => %(longest)s::integer);

-- name: inclusion_proofs
select i.id, inclusion_proof(table_name => %(table_name)s::text, id => i.id, size => %(size)s::bigint) as proof
from unnest(%(ids)s::bigint[]) with ordinality as i(id, place)
order by i.place;

-- name: orders_without_permission
select order_id, problem from vw_orders_without_permission
where correlation_id = any (%(correlation_ids)s::uuid[]) order by order_id;

-- name: limits_over_time
select version, applied_at, kind, proposal_id, proposer, approvers, reason, max_position_size_pct,
       daily_drawdown_limit_pct, max_leverage_ratio, kill_thresholds
from limits_over_time(from_time => %(from_time)s::timestamptz, to_time => %(to_time)s::timestamptz);

-- name: lockdown_events
select id, event_type, reason, recorded_by, created_at
from only lockdown_events where created_at < %(to_time)s::timestamptz order by id;

-- name: chain_damage
-- The first broken places of a chain; how many there are stands beside each.
select f.id, f.verdict, f.expected_hash, f.actual_hash, f.detail, count(*) over () as total
from find_chain_damage(table_name => %(table_name)s::text) as f limit 20;

-- name: proposals_of_period
select p.proposal_id, p.kind, p.reason, p.proposer_name, p.signed_text, p.expires_at, p.created_at, p.status,
       p.approvals, p.needed, encode(s.proposer_key, 'hex') as public_key, encode(s.signature, 'hex') as signature,
       count(*) over () as total
from vw_proposals as p
join only proposals as s on s.proposal_id = p.proposal_id
where p.created_at >= %(from_time)s::timestamptz and p.created_at < %(to_time)s::timestamptz
order by p.created_at desc, p.proposal_id limit %(newest)s;

-- name: votes_of_proposals
select v.proposal_id, a.name, v.decision::text as decision, v.signed_at, encode(v.agent_key, 'hex') as public_key,
       v.signed_text, encode(v.signature, 'hex') as signature
from only votes as v
join only agents as a on a.agent_id = v.agent_id
where v.proposal_id = any (%(proposal_ids)s::uuid[])
order by v.id;
