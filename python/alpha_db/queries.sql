-- All the SQL that the Python package sends. A "-- name:" line starts a query; queries.py reads this file.

-- name: where_am_i
select current_database()                                      as database,
       current_schema()                                        as schema,
       session_user                                            as session_user,
       current_setting('server_version')                       as server_version,
       pg_is_in_recovery()                                     as in_recovery,
       current_setting('transaction_read_only')::boolean       as read_only,
       coalesce(to_regclass(quote_ident(current_schema()) || '.installed_migrations') is not null, false) as installed,
       exists (select from pg_namespace where nspname = %(schema)s)                  as schema_exists,
       (select array_agg(n.nspname::text order by n.nspname)
        from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where c.relname = 'installed_migrations' and c.relkind = 'r')                as installed_in;

-- name: database_exists
select true from pg_database where datname = %(name)s;

-- name: create_database
create database {} encoding 'UTF8' template template0;

-- name: be_read_only
set session characteristics as transaction read only;

-- name: installation
select installation_id, role_prefix, installed_at from installation;

-- name: installed_migrations
select name, checksum, applied_at, applied_by, server_version from installed_migrations order by name;

-- name: yoyo_history_exists
select to_regclass(quote_ident(current_schema()) || '._yoyo_migration') is not null;

-- name: yoyo_history_writable
select coalesce(has_table_privilege(to_regclass(quote_ident(current_schema()) || '._yoyo_migration'),
                                    'select, insert'), true);

-- name: yoyo_history
select migration_id, applied_at_utc from _yoyo_migration order by migration_id;

-- name: may_create
select has_schema_privilege(current_schema(), 'create');

-- name: try_migrate_lock
select pg_try_advisory_lock(hashtextextended('alpha-db/migrate-session/' || current_schema(), 0));

-- name: set_lock_timeout
select set_config('lock_timeout', %(timeout)s, false);

-- name: keep_idle_session
select set_config('idle_session_timeout', '0', false);

-- name: migrate_lock
select pg_advisory_lock(hashtextextended('alpha-db/migrate-session/' || current_schema(), 0));

-- name: chain_status
select table_name, last_id, head_hash, last_created_at from chain_status();

-- name: lockdown_status
select is_locked, since, event_id, reason, damage from lockdown_status();

-- name: guards
select object_kind, object_name, fact, expected, found, problem from verify_guards();

-- name: attempts
select code, table_name, operation, attempts from vw_rejected_attempts order by code, table_name, operation;

-- name: verify_chain
select table_name, rows_checked, first_id, last_id, is_valid, error_code, verdict, broken_id, expected_hash,
       actual_hash, detail
from verify_chain_integrity(
  table_name => %(table_name)s::text, from_id => %(from_id)s::bigint, to_id => %(to_id)s::bigint,
  engage_lockdown => %(engage_lockdown)s::boolean);

-- name: logins_without_timeouts
-- Login roles that are members of an application role, with the time-outs that none of the places sets where a
-- role's settings come from: role in this database, role, database, all roles, the server's own configuration.
with recursive members as (
  select r.oid, r.rolname::text as app_role
  from pg_roles as r
  where r.rolname in (select %(role_prefix)s::text || n
                      from unnest(array['alpha_owner', 'app_trading', 'app_auditor', 'app_risk']) as n)
  union
  select a.member, m.app_role
  from pg_auth_members as a
  join members as m on m.oid = a.roleid
),
effective as (
  select m.oid, m.app_role, g.name,
         coalesce(
           (select split_part(c, '=', 2)
            from pg_db_role_setting as s
            cross join lateral unnest(s.setconfig) as c
            where split_part(c, '=', 1) = g.name
              and s.setrole in (m.oid, 0)
              and s.setdatabase in ((select oid from pg_database where datname = current_database()), 0)
            order by s.setrole = 0, s.setdatabase = 0
            limit 1),
           (select reset_val from pg_settings as p
            where p.name = g.name and p.source in ('configuration file', 'command line', 'environment variable')),
           '0') as value
  from members as m
  cross join (values ('lock_timeout'), ('idle_in_transaction_session_timeout')) as g (name)
)
select r.rolname::text as role, array_agg(distinct e.app_role) as member_of, array_agg(distinct e.name) as lacks
from effective as e
join pg_roles as r on r.oid = e.oid
where r.rolcanlogin and e.value ~ '^\s*-?0+(\.0*)?\s*[a-z]*\s*$'
group by r.rolname
order by r.rolname;

-- name: record_signal
select * from record_signal(
  signal_id => %(signal_id)s::text, symbol => %(symbol)s::text, side => %(side)s::text,
  price => %(price)s::numeric, quantity => %(quantity)s::numeric, raw_payload => %(raw_payload)s::jsonb,
  source_ip => %(source_ip)s::inet, hmac_verified => %(hmac_verified)s::boolean,
  correlation_id => %(correlation_id)s::uuid);

-- name: record_ai_debate
select * from record_ai_debate(
  correlation_id => %(correlation_id)s::uuid, model_name => %(model_name)s::text,
  reasoning_json => %(reasoning_json)s::jsonb, confidence_score => %(confidence_score)s::numeric,
  elapsed_ms => %(elapsed_ms)s::integer, is_timeout => %(is_timeout)s::boolean);

-- name: record_order
select * from record_order(
  correlation_id => %(correlation_id)s::uuid, order_type => %(order_type)s::text, symbol => %(symbol)s::text,
  side => %(side)s::text, quantity => %(quantity)s::numeric, price => %(price)s::numeric,
  exchange_order_id => %(exchange_order_id)s::text, status => %(status)s::text);

-- name: record_order_event
select * from record_order_event(
  order_execution_id => %(order_execution_id)s::bigint, event_type => %(event_type)s::text,
  fill_quantity => %(fill_quantity)s::numeric, fill_price => %(fill_price)s::numeric,
  zar_equity => %(zar_equity)s::numeric, positions_closed => %(positions_closed)s::jsonb,
  rejection_reason => %(rejection_reason)s::text, exchange_error_code => %(exchange_error_code)s::text);

-- name: replay_lag
-- Whether this is a standby, and then for how many seconds it may have seen nothing of its primary. On an idle
-- primary that grows as well: whether a standby is behind cannot be told from the standby alone.
select pg_is_in_recovery(),
       case when pg_is_in_recovery()
            then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::double precision end;

-- name: active_risk_state
select version, state_text, state_hash, origin, is_locked, read_at, limits_valid_from from active_risk_state();

-- name: agent_keys
select agent_id::text, public_key, proposal_id::text, revoked_at is not null as revoked from agent_keys();

-- name: risk_evidence
select version, kind, previous, state_text, state_hash, proposal_text, proposer::text, proposer_key, proposal_signature,
       reason, payload::text, approved_by::text, approvals::text, applied_at
from risk_evidence(since_version => %(since)s::bigint);

-- name: listen_risk
listen alpha_risk;

-- name: listen_lockdown
listen alpha_lockdown;

-- name: set_statement_timeout
select set_config('statement_timeout', %(timeout)s, false);

-- name: bootstrap_agents
select agent_id, name, role, encode(public_key, 'hex') as public_key
from bootstrap_agents(agents => %(agents)s::jsonb);

-- name: agents_by_name
select agent_id, name, role, public_key, replaces, proposal_id, enrolled_at, revoked_at from agent_keys();

-- name: proposals
select proposal_id, kind, payload, reason, proposer, proposer_name, previous, digest, signed_text, expires_at, created_at,
       status, approvals, needed
from vw_proposals
where (%(proposal)s::text is null or proposal_id::text like %(proposal)s || '%%')
  and (%(every)s::boolean or status = 'PENDING')
order by created_at;

-- name: proposal_signature
select proposer_key, signature, origin from proposals where proposal_id = %(proposal_id)s::uuid;

-- name: votes
select v.agent_id, a.name, v.decision, v.signed_at
from votes as v
join vw_agents as a on a.agent_id = v.agent_id
where v.proposal_id = %(proposal_id)s::uuid
order by v.id;

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

-- name: open_damage
-- Damage of all chains that no release has acknowledged.
select d.damaged_table as "table", d.id, d.actual_hash, d.verdict
from chain_status() as c
cross join lateral find_chain_damage(c.table_name) as d
where not exists (
  select from acknowledged_damage() as a
  where a.table_name = d.damaged_table and a.id::text = d.id::text and a.actual_hash is not distinct from d.actual_hash);
