-- 23_risk_config: risk limits and kill thresholds, versioned in time, changed only by approved proposals; and what was decided by them.
-- Built from sql/ by bin/build; change it there.
-- depends: 007_own_tables

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
if not _begin_migration('23_risk_config') then return; end if;

-- sql/17_risk/decimals.sql

-- Exact decimals for limits: as those of 03_values/decimals.sql, but what they cannot hold is refused with RSK-001

create domain risk_5_4 as numeric
  constraint risk_5_4_is_exact check (
    case when value is null then true
         when min_scale(value) <= 4 and abs(value) < 10 then true
         else _refuse_decimal(value, 'risk_5_4') end);
create domain risk_5_2 as numeric
  constraint risk_5_2_is_exact check (
    case when value is null then true
         when min_scale(value) <= 2 and abs(value) < 1000 then true
         else _refuse_decimal(value, 'risk_5_2') end);
create domain risk_28_10 as numeric
  constraint risk_28_10_is_exact check (
    case when value is null then true
         when min_scale(value) <= 10 and abs(value) < 1000000000000000000 then true
         else _refuse_decimal(value, 'risk_28_10') end);
comment on domain risk_5_4   is 'decimal(5,4) that refuses (RSK-001) where numeric(5,4) would round.';
comment on domain risk_5_2   is 'decimal(5,2) that refuses (RSK-001) where numeric(5,2) would round.';
comment on domain risk_28_10 is 'decimal(28,10) that refuses (RSK-001) where numeric(28,10) would round.';
perform _count_attempts('RSK-001', t.name, 'CAST') from unnest(array['risk_5_4', 'risk_5_2', 'risk_28_10']) as t(name);

-- sql/17_risk/limits.sql

-- Risk limits and kill thresholds, versioned in time
--
-- The tables are a projection of risk_change_log, which can replay them. There is at most one current row, no overlap
-- and no gap: a version has no end (valid_to) as long as it holds, each version but the first begins where the one
-- before it ended (prev_to, a foreign key to that row's valid_to), and each end exists once.

create table risk_configurations (
  id                        uuid         not null  default gen_random_uuid(),
  max_position_size_pct     risk_5_4     not null  default 0.01,
  daily_drawdown_limit_pct  risk_5_4     not null  default 0.03,
  max_leverage_ratio        risk_5_2     not null  default 1.0,
  reason_for_change         text         not null,
  approved_by_agent_id      uuid         not null,
  valid_from                timestamptz  not null,
  valid_to                  timestamptz  null,
  prev_to                   timestamptz  null,
  version                   bigint       not null,
  proposal_id               uuid         not null,
  state_hash                char(64)     not null,
  created_at                timestamptz  not null  default clock_timestamp(),
  constraint risk_configurations_pkey primary key (id),
  constraint idx_active_config unique nulls not distinct (valid_to),
  constraint risk_configurations_valid_from_key unique (valid_from),
  constraint risk_configurations_prev_to_key unique nulls not distinct (prev_to),
  constraint risk_configurations_version_key unique (version),
  constraint risk_configurations_prev_to_fkey foreign key (prev_to)
    references risk_configurations (valid_to) deferrable initially deferred,
  constraint risk_configurations_begins_at_prev_to check (prev_to is null or prev_to = valid_from),
  constraint risk_configurations_ends_after_it_begins check (valid_to > valid_from),
  constraint risk_configurations_is_finite check (isfinite(valid_from) and (valid_to is null or isfinite(valid_to))),
  constraint risk_configurations_max_position_size_pct_bounds
    check (max_position_size_pct >= 0 and max_position_size_pct <= 1),
  constraint risk_configurations_daily_drawdown_limit_pct_bounds
    check (daily_drawdown_limit_pct >= 0 and daily_drawdown_limit_pct <= 1),
  constraint risk_configurations_max_leverage_ratio_bounds
    check (max_leverage_ratio >= 0 and max_leverage_ratio <= 100),
  constraint risk_configurations_approved_by_fkey foreign key (approved_by_agent_id) references agents (agent_id),
  constraint risk_configurations_proposal_id_fkey foreign key (proposal_id) references proposals (proposal_id)
);
comment on table risk_configurations is
  'Risk limits, a row for each version; the row without valid_to is the current one. Changed only by approved '
  'proposals.';
comment on column risk_configurations.id                       is 'Identity of the version.';
comment on column risk_configurations.max_position_size_pct is
  'Largest position as a share of equity, 0 to 1. Safe direction: down.';
comment on column risk_configurations.daily_drawdown_limit_pct is
  'Largest loss of a day as a share of equity, 0 to 1. Safe direction: down.';
comment on column risk_configurations.max_leverage_ratio       is 'Highest leverage, 0 to 100. Safe direction: down.';
comment on column risk_configurations.reason_for_change        is 'The proposal''s reason.';
comment on column risk_configurations.approved_by_agent_id     is 'The agent whose approval completed the quorum.';
comment on column risk_configurations.valid_from               is 'From when it holds.';
comment on column risk_configurations.valid_to                 is 'Until when it held; null: it holds.';
comment on column risk_configurations.prev_to is
  'valid_to of the version before, equal to valid_from; null for the first.';
comment on column risk_configurations.version                  is 'Version of the state that brought it.';
comment on column risk_configurations.proposal_id              is 'The approved proposal.';
comment on column risk_configurations.state_hash               is 'Hash of that state.';
comment on column risk_configurations.created_at               is 'When the row was written.';
create table risk_asset_kill_thresholds (
  id                    uuid         not null  default gen_random_uuid(),
  asset                 varchar(20)  not null,
  kill_loss_pct         risk_5_4     not null,
  kill_price            risk_28_10   null,
  retired               boolean      not null  default false,
  reason_for_change     text         not null,
  approved_by_agent_id  uuid         not null,
  valid_from            timestamptz  not null,
  valid_to              timestamptz  null,
  prev_to               timestamptz  null,
  version               bigint       not null,
  proposal_id           uuid         not null,
  state_hash            char(64)     not null,
  created_at            timestamptz  not null  default clock_timestamp(),
  constraint risk_asset_kill_thresholds_pkey primary key (id),
  constraint risk_asset_kill_thresholds_asset_valid_to_key unique nulls not distinct (asset, valid_to),
  constraint risk_asset_kill_thresholds_asset_valid_from_key unique (asset, valid_from),
  constraint risk_asset_kill_thresholds_asset_prev_to_key unique nulls not distinct (asset, prev_to),
  constraint risk_asset_kill_thresholds_version_key unique (version),
  constraint risk_asset_kill_thresholds_prev_to_fkey foreign key (asset, prev_to)
    references risk_asset_kill_thresholds (asset, valid_to) deferrable initially deferred,
  constraint risk_asset_kill_thresholds_begins_at_prev_to check (prev_to is null or prev_to = valid_from),
  constraint risk_asset_kill_thresholds_ends_after_it_begins check (valid_to > valid_from),
  constraint risk_asset_kill_thresholds_is_finite
    check (isfinite(valid_from) and (valid_to is null or isfinite(valid_to))),
  constraint risk_asset_kill_thresholds_asset_is_given check (btrim(asset::text) <> ''::text),
  constraint risk_asset_kill_thresholds_kill_loss_pct_bounds check (kill_loss_pct >= 0 and kill_loss_pct <= 1),
  constraint risk_asset_kill_thresholds_kill_price_bounds check (kill_price > 0),
  constraint risk_asset_kill_thresholds_approved_by_fkey foreign key (approved_by_agent_id)
    references agents (agent_id),
  constraint risk_asset_kill_thresholds_proposal_id_fkey foreign key (proposal_id) references proposals (proposal_id)
);
comment on table risk_asset_kill_thresholds is
  'Kill thresholds for each asset, a row for each version. Changed only by approved proposals.';
comment on column risk_asset_kill_thresholds.id                   is 'Identity of the version.';
comment on column risk_asset_kill_thresholds.asset                is 'The asset.';
comment on column risk_asset_kill_thresholds.kill_loss_pct is
  'Loss, as a share, at which the position is killed. Safe direction: down.';
comment on column risk_asset_kill_thresholds.kill_price is
  'Price at which the position is killed; null: none.';
comment on column risk_asset_kill_thresholds.retired              is 'True for the row that ends a threshold.';
comment on column risk_asset_kill_thresholds.reason_for_change    is 'The proposal''s reason.';
comment on column risk_asset_kill_thresholds.approved_by_agent_id is 'The agent whose approval completed the quorum.';
comment on column risk_asset_kill_thresholds.valid_from           is 'From when it holds.';
comment on column risk_asset_kill_thresholds.valid_to             is 'Until when it held; null: it holds.';
comment on column risk_asset_kill_thresholds.prev_to is
  'valid_to of the version before, equal to valid_from; null for the first.';
comment on column risk_asset_kill_thresholds.version              is 'Version of the state that brought it.';
comment on column risk_asset_kill_thresholds.proposal_id          is 'The approved proposal.';
comment on column risk_asset_kill_thresholds.state_hash           is 'Hash of that state.';
comment on column risk_asset_kill_thresholds.created_at           is 'When the row was written.';

-- sql/17_risk/apply.sql

-- Applying a change of limits
--
-- _apply_proposal (12_consensus/apply.sql) calls _apply_risk_change after it has written the entry of risk_change_log.
-- It ends the current version, writes the next, and compares the state that then stands in the tables with the state in
-- the entry. The trigger _guard_risk_change refuses every other write to these tables.

create function _stored_limits() returns jsonb
language sql stable
set search_path from current
as $function$
  select to_jsonb(r) from (
    select c.max_position_size_pct, c.daily_drawdown_limit_pct, c.max_leverage_ratio
    from only risk_configurations as c where c.valid_to is null) as r;
$function$;
comment on function _stored_limits is 'The current limits as they stand in their table; null if there are none.';
create function _stored_kill_thresholds() returns jsonb
language sql stable
set search_path from current
as $function$
  select coalesce(jsonb_agg(jsonb_build_object('asset', t.asset, 'kill_loss_pct', t.kill_loss_pct,
                                               'kill_price', t.kill_price)), '[]')
  from only risk_asset_kill_thresholds as t where t.valid_to is null and not t.retired;
$function$;
comment on function _stored_kill_thresholds is 'The current kill thresholds as they stand in their table.';
create function _stored_state_text() returns text
language sql stable
set search_path from current
set row_security = off
as $function$
  select _state_text(coalesce((select c.version from only risk_change_log as c order by c.id desc limit 1), 0),
                     _stored_limits(), _stored_kill_thresholds());
$function$;
comment on function _stored_state_text is 'The canonical text of the state, made from the rows of the risk tables.';
create function _require_stored_state(expected text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if _stored_state_text() is distinct from expected then
    perform _refuse_consensus(
      'RSK-007', 'the risk tables do not hold what the applied proposals say',
      format('Stored: %s. Replayed: %s.', _stored_state_text(), expected),
      'The tables were changed by force: select * from verify_config_integrity() shows where.');
  end if;
end
$function$;
comment on function _require_stored_state is
  'Raises RSK-007 unless the risk tables hold this state: nothing is built on a limit that was changed by force.';
create function _apply_limits(change risk_change_log, proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
declare
  payload  jsonb := proposal.payload;
  ended    timestamptz;
begin
  -- A version begins after the one before, even if the clock was set back meanwhile.
  update only risk_configurations as c
  set valid_to = greatest(change.created_at, c.valid_from + interval '1 microsecond')
  where c.valid_to is null returning c.valid_to into ended;
  insert into risk_configurations (max_position_size_pct, daily_drawdown_limit_pct, max_leverage_ratio,
    reason_for_change, approved_by_agent_id, valid_from, prev_to, version, proposal_id, state_hash)
  values (round((payload ->> 'max_position_size_pct')::numeric, 4),
    round((payload ->> 'daily_drawdown_limit_pct')::numeric, 4), round((payload ->> 'max_leverage_ratio')::numeric, 2),
    proposal.reason, change.approved_by, coalesce(ended, change.created_at), ended, change.version,
    proposal.proposal_id, change.state_hash);
end
$function$;
comment on function _apply_limits is
  'Ends the current version of the limits and writes the next.';
create function _apply_kill_threshold(change risk_change_log, proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
declare
  payload  jsonb := proposal.payload;
  ended    timestamptz;
begin
  update only risk_asset_kill_thresholds as t
  set valid_to = greatest(change.created_at, t.valid_from + interval '1 microsecond')
  where t.valid_to is null and t.asset = payload ->> 'asset' returning t.valid_to into ended;
  insert into risk_asset_kill_thresholds (asset, kill_loss_pct, kill_price, retired,
    reason_for_change, approved_by_agent_id, valid_from, prev_to, version, proposal_id, state_hash)
  values (payload ->> 'asset', round((payload ->> 'kill_loss_pct')::numeric, 4),
    round((payload ->> 'kill_price')::numeric, 10), (payload ->> 'retired')::boolean,
    proposal.reason, change.approved_by, coalesce(ended, change.created_at), ended, change.version,
    proposal.proposal_id, change.state_hash);
end
$function$;
comment on function _apply_kill_threshold is
  'Ends the current version of an asset''s threshold and writes the next.';
create function _apply_risk_change(change risk_change_log, proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
begin
  case proposal.kind::text
    when 'risk_config'          then perform _apply_limits(change, proposal);
    when 'asset_kill_threshold' then perform _apply_kill_threshold(change, proposal);
    else perform _unknown_kind(proposal.kind::text);
  end case;
  perform _require_stored_state(change.state_text);
end
$function$;
comment on function _apply_risk_change is
  'Closes the current version and opens the next, as the last entry of risk_change_log says. Raises RSK-007 if the '
  'tables were changed by force. Called by _apply_proposal.';

-- sql/17_risk/guard.sql

-- Triggers: the risk tables are written by applied proposals, and by nothing else
--
-- A new row must say what the last entry of risk_change_log and its proposal say; the only update is the end of the
-- current version, at the moment of that entry. Everything else is refused with RSK-002.

create function _guard_risk_change() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  change    risk_change_log;
  payload   jsonb;
  reason    text;
begin
  select * into change from only risk_change_log as c order by c.id desc limit 1;
  select p.payload, p.reason into payload, reason from only proposals as p where p.proposal_id = change.proposal_id;
  if tg_op = 'INSERT' then
    if new.proposal_id = change.proposal_id and change.kind::text = tg_argv[1]
       and new.version = change.version and new.state_hash = change.state_hash
       and new.valid_from = coalesce(new.prev_to, change.created_at) and new.valid_from >= change.created_at
       and new.valid_to is null
       and new.approved_by_agent_id = change.approved_by and new.reason_for_change = reason
       -- what the payload says of this table's columns, as decimals, not as texts
       and not exists (
         select from jsonb_each_text(payload) as m
         where case when m.value ~ '^[0-9]+([.][0-9]+)?$'
                    then (to_jsonb(new) ->> m.key)::numeric is distinct from m.value::numeric
                    else to_jsonb(new) ->> m.key is distinct from m.value end) then
      return new;
    end if;
  elsif tg_op = 'UPDATE' then
    -- Only the end of the current version, at the moment of the last entry of the log, and not of the version that this
    -- entry made.
    if old.valid_to is null and new.valid_to = greatest(change.created_at, old.valid_from + interval '1 microsecond')
       and change.kind::text = tg_argv[1] and old.version < change.version
       and (tg_argv[1] = 'risk_config' or to_jsonb(old) ->> 'asset' = payload ->> 'asset')
       and to_jsonb(new) - 'valid_to' = to_jsonb(old) - 'valid_to' then
      return new;
    end if;
  end if;
  perform _refuse_direct_change(tg_argv[0], tg_op,
    format('Row %s would be changed by %s.', coalesce(to_jsonb(old), to_jsonb(new)) ->> 'id', session_user));
  return null;
end
$function$;
comment on function _guard_risk_change is
  'Row trigger: refuses (RSK-002) all but what the last applied proposal says. Arguments: table, kind of proposal.';
perform _count_attempts('RSK-002', t.name, 'TRUNCATE'), _owner_only(t.name, 'RSK-002', '{INSERT,UPDATE,DELETE}')
from unnest(array['risk_configurations', 'risk_asset_kill_thresholds']) as t(name);
create trigger _100_reject_change before insert or update or delete on risk_configurations
  for each row execute function _guard_risk_change('risk_configurations', 'risk_config');
create trigger _200_reject_truncate before truncate on risk_configurations
  for each statement execute function _reject_truncate('risk_configurations', 'RSK-002');
comment on trigger _100_reject_change   on risk_configurations is
  'Refuses every change that the last applied proposal does not say (RSK-002).';
comment on trigger _200_reject_truncate on risk_configurations is 'Refuses TRUNCATE (RSK-002).';
-- ALWAYS, so that session_replication_role = replica does not open it; a restore runs before its triggers are made.
alter table risk_configurations
  enable always trigger _100_reject_change, enable always trigger _200_reject_truncate;
create trigger _100_reject_change before insert or update or delete on risk_asset_kill_thresholds
  for each row execute function _guard_risk_change('risk_asset_kill_thresholds', 'asset_kill_threshold');
create trigger _200_reject_truncate before truncate on risk_asset_kill_thresholds
  for each statement execute function _reject_truncate('risk_asset_kill_thresholds', 'RSK-002');
comment on trigger _100_reject_change   on risk_asset_kill_thresholds is
  'Refuses every change that the last applied proposal does not say (RSK-002).';
comment on trigger _200_reject_truncate on risk_asset_kill_thresholds is 'Refuses TRUNCATE (RSK-002).';
-- ALWAYS, so that session_replication_role = replica does not open it; a restore runs before its triggers are made.
alter table risk_asset_kill_thresholds
  enable always trigger _100_reject_change, enable always trigger _200_reject_truncate;

-- sql/17_risk/verify.sql

-- Do the risk tables hold what the applied proposals say?
--
-- _risk_table_problems compares each version of limits and thresholds, closed ones too, with what the replay says
-- should stand there. verify_config_integrity compares three sources of the current state, each read by itself: the
-- hash in the log, the rows, and the replay.

create function _versions_due(changes replayed_change[])
returns table (table_name text, version bigint, content jsonb)
language sql stable
set search_path from current
as $function$
  with
  derived as (
    -- Each version begins at its change, or a microsecond after the one before, whichever is later.
    select d.*, d.shifted + d.place * interval '1 microsecond' as valid_from
    from (select c.version, c.kind, c.proposal_id, c.payload, c.reason, c.approved_by,
                 _text_digest(c.state_text) as state_hash, w.place, w.asset,
                 max(c.applied_at - w.place * interval '1 microsecond')
                   over (partition by c.kind, w.asset order by w.place) as shifted
          from (select u as change, u.payload ->> 'asset' as asset,
                       row_number() over (partition by u.kind, u.payload ->> 'asset' order by u.version) as place
                from unnest(changes) as u
                where u.problem is null and u.kind in ('risk_config', 'asset_kill_threshold')) as w
          cross join lateral (select (w.change).*) as c) as d
  )
  select case d.kind when 'risk_config' then 'risk_configurations' else 'risk_asset_kill_thresholds' end, d.version,
         jsonb_build_object(
           'valid_from', d.valid_from, 'prev_to', case when d.place > 1 then d.valid_from end,
           'valid_to', lead(d.valid_from) over (partition by d.kind, d.asset order by d.place),
           'reason', d.reason, 'approved_by', d.approved_by, 'proposal_id', d.proposal_id, 'state_hash', d.state_hash,
           'values', case d.kind
             when 'risk_config' then jsonb_build_array(
               round((d.payload ->> 'max_position_size_pct')::numeric, 4),
               round((d.payload ->> 'daily_drawdown_limit_pct')::numeric, 4),
               round((d.payload ->> 'max_leverage_ratio')::numeric, 2))
             else jsonb_build_array(
               d.asset, round((d.payload ->> 'kill_loss_pct')::numeric, 4),
               round((d.payload ->> 'kill_price')::numeric, 10), (d.payload ->> 'retired')::boolean) end)
  from derived as d;
$function$;
comment on function _versions_due is
  'What the applied proposals say should stand in the risk tables: each version, with its content.';
create function _versions_stored()
returns table (table_name text, version bigint, content jsonb)
language sql stable
set search_path from current
as $function$
  select 'risk_configurations', r.version,
         jsonb_build_object(
           'valid_from', r.valid_from, 'prev_to', r.prev_to, 'valid_to', r.valid_to, 'reason', r.reason_for_change,
           'approved_by', r.approved_by_agent_id, 'proposal_id', r.proposal_id, 'state_hash', r.state_hash,
           'values', jsonb_build_array(r.max_position_size_pct, r.daily_drawdown_limit_pct, r.max_leverage_ratio))
  from only risk_configurations as r
  union all
  select 'risk_asset_kill_thresholds', r.version,
         jsonb_build_object(
           'valid_from', r.valid_from, 'prev_to', r.prev_to, 'valid_to', r.valid_to, 'reason', r.reason_for_change,
           'approved_by', r.approved_by_agent_id, 'proposal_id', r.proposal_id, 'state_hash', r.state_hash,
           'values', jsonb_build_array(r.asset, r.kill_loss_pct, r.kill_price, r.retired))
  from only risk_asset_kill_thresholds as r;
$function$;
comment on function _versions_stored is
  'What stands in the risk tables: each version, with its content.';
-- Replaces the placeholder in 12_consensus/problems.sql, which finds nothing because the tables were not there yet.
create or replace function _risk_table_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select coalesce(d.table_name, s.table_name), coalesce(d.version, s.version),
         case when s.version is null then format('version %s is not there', d.version)
              when d.version is null then 'no applied proposal made this version'
              else 'it differs from the applied proposals: ' || (
                select string_agg(k.key, ', ' order by k.key) from jsonb_each(d.content) as k
                where k.value is distinct from s.content -> k.key) end
  from _versions_due(changes) as d
  full join _versions_stored() as s on s.table_name = d.table_name and s.version = d.version
  where d.content is distinct from s.content
    -- From the first entry that does not hold, nothing is known of what should stand here.
    and not exists (select from unnest(changes) as c where c.problem is not null);
$function$;
comment on function _risk_table_problems is
  'Versions of limits and thresholds, closed ones too, that are missing, altered or made by no applied proposal; none '
  'while the change log itself does not hold.';
create function _unless_gone(state text, source text) returns text[]
language sql immutable
set search_path from current
as $function$
  -- a table, a column, a function, a type that was dropped
  select case when state in ('42P01', '42703', '42883', '42704') then '{}'::text[] else array[source] end;
$function$;
comment on function _unless_gone is 'The source that could not be read, or none if what it reads is gone.';
create function _compare_states(stored text, recomputed text, replayed text, problems text[], unread text[])
returns table (source text, hash text, is_valid boolean, detail text)
language sql immutable
set search_path from current
as $function$
  select v.source, v.hash,
         case when v.source = any (unread) then null
              else coalesce(v.hash is not null and stored = recomputed and recomputed = replayed and v.problem is null,
                            case when unread = '{}' then false end) end,
         coalesce(v.problem, v.detail)
  from (values
    ('stored', stored, problems[1], 'state_hash of the last entry of risk_change_log'),
    ('recomputed', recomputed, problems[2],
     'SHA-256 of the state that stands in the risk tables; closed versions compared with the proposals'),
    ('replayed', replayed, problems[3],
     'SHA-256 of the state that the bootstrap and the approved proposals lead to; agents and releases compared with '
     'them')
  ) as v(source, hash, problem, detail);
$function$;
comment on function _compare_states is
  'The verdict on each of the three sources: valid if all agree and it has no problem, null if it could not be read.';
create function verify_config_integrity()
returns table (source text, hash text, is_valid boolean, detail text)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  changes     replayed_change[];
  last        replayed_change;
  stored      text;
  recomputed  text;
  replayed    text;
  in_entry    text;
  in_tables   text;
  in_log      text;
  unread      text[] := '{}';
begin
  -- Each by itself: what is gone is damage, what cannot be read is not known, and neither hides the others.
  begin
    stored := coalesce((select c.state_hash::text from only risk_change_log as c order by c.id desc limit 1),
                       _text_digest(_state_text(0, null, '[]')));
  exception when others then
    in_entry := sqlerrm;
    unread := unread || _unless_gone(sqlstate, 'stored');
  end;
  begin
    changes := array(select c from _replay_consensus() as c);
    last := changes[cardinality(changes)];
    if last.problem is null then
      replayed := _text_digest(coalesce(last.state_text, _state_text(0, null, '[]')));
    end if;
    select string_agg(concat_ws(' ', p.table_name, p.id::text) || ': ' || p.problem, '; ') into in_log
    from (select r.*
          from (select * from _agent_problems(changes) union all select * from _release_problems(changes)) as r
          order by r.table_name, r.id limit 5) as p;
  exception when others then
    replayed := null;
    in_log := sqlerrm;
    unread := unread || _unless_gone(sqlstate, 'replayed');
  end;
  begin
    recomputed := _text_digest(_stored_state_text());
    if 'replayed' <> all (unread) then
      select string_agg(format('%s %s: %s', p.table_name, p.id, p.problem), '; ') into in_tables
      from (select r.* from _risk_table_problems(changes) as r order by r.table_name, r.id limit 5) as p;
    end if;
  exception when others then
    recomputed := null;
    in_tables := sqlerrm;
    unread := unread || _unless_gone(sqlstate, 'recomputed');
  end;
  return query select c.* from _compare_states(stored, recomputed, replayed, array[in_entry, in_tables, in_log],
                                               unread) as c;
end
$function$;
comment on function verify_config_integrity is
  'Compares the stored hash, the hash of the rows, and the state replayed from bootstrap and approved proposals, and '
  'with it every version, agent, revocation and release; a row for each source, valid if all agree; null if one could '
  'not be read. Raises nothing.';

-- sql/17_risk/read.sql

-- What the trading applications read: the limits that hold now, and the evidence for each change of them

create function active_risk_state()
returns table (version bigint, state_text text, state_hash text, origin text, is_locked boolean, read_at timestamptz,
               limits_valid_from timestamptz)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  -- One statement, one snapshot: what it returns belongs together.
  select (s.text::jsonb ->> 'version')::bigint, s.text, _text_digest(s.text), _installation_origin(),
         (select l.is_locked from lockdown_status() as l), clock_timestamp(),
         (select c.valid_from from only risk_configurations as c where c.valid_to is null)
  from (select _stored_state_text() as text) as s;
$function$;
comment on function active_risk_state is
  'The current risk state as canonical text with its hash and version, and whether the lockdown is engaged: one row, '
  'one consistent read.';
create function risk_evidence(since_version bigint default 0)
returns table (version bigint, kind text, previous text, state_text text, state_hash text, proposal_text text,
               proposer uuid, proposer_key text, proposal_signature text, reason text, payload jsonb, approved_by uuid,
               approvals jsonb, applied_at timestamptz)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select c.version, c.kind::text, c.previous::text, c.state_text, c.state_hash::text, p.signed_text, p.proposer,
         encode(p.proposer_key, 'hex'), encode(p.signature, 'hex'), p.reason, p.payload, c.approved_by, c.approvals,
         c.created_at
  from only risk_change_log as c
  join only proposals as p on p.proposal_id = c.proposal_id
  where c.version > coalesce(since_version, 0)
  order by c.version;
$function$;
comment on function risk_evidence is
  'Every applied change after a version (null: all), with the signed texts and signatures by which anyone can check it '
  'without trusting this database.';
perform _grant('select on', '{risk_configurations, risk_asset_kill_thresholds}', '{app_risk, app_auditor}');
perform _grant('execute on routine', '{active_risk_state, risk_evidence, verify_config_integrity}',
              '{app_trading, app_auditor, app_risk}');

-- sql/17_risk/decisions.sql

-- What the guardrail answered: one row for each question about an order that the order path records
--
-- A refusal is recorded whatever the order was, so its columns are null where the guardrail could not read them. A
-- permission is complete. It names the version and the hash of the limits that it stands on. In Safe Mode no limits
-- hold, so a permission needs none; but there the order must reduce a position, at most to zero.
--
-- `limits` is not the writer's word: the trigger takes it from the applied change that has this version and this hash.

create table risk_decisions (
  id              bigserial      not null,
  correlation_id  uuid           null,
  symbol          varchar(500)   null,
  side            varchar(10)    null,
  quantity        decimal_28_10  null,
  price           decimal_28_10  null,
  position        decimal_28_10  null,
  allowed         boolean        not null,
  reason          text           not null,
  mode            varchar(20)    not null,
  risk_version    bigint         null,
  state_hash      char(64)       null,
  limits          jsonb          null,
  decision_maker  varchar(100)   null,
  decided_at      timestamptz    not null,
  row_hash        char(64)       not null,
  created_at      timestamptz    not null,
  recorded_by     text           not null,
  constraint risk_decisions_pkey primary key (id),
  constraint risk_decisions_correlation_id_fkey foreign key (correlation_id) references signals (correlation_id),
  constraint risk_decisions_side_is_known check (side::text = any (array['BUY'::text, 'SELL'::text])),
  constraint risk_decisions_mode_is_known check (mode::text = any (array['NORMAL'::text, 'SAFE_MODE'::text])),
  constraint risk_decisions_reason_is_given check (btrim(reason) <> ''::text),
  constraint risk_decisions_decided_at_is_finite check (isfinite(decided_at)),
  constraint risk_decisions_permission_is_complete check (
    not allowed or symbol is not null and btrim(symbol::text) <> ''::text and side is not null
                   and quantity is not null and quantity > 0),
  constraint risk_decisions_permission_names_its_limits check (
    not allowed or mode::text = 'SAFE_MODE'::text or risk_version is not null and state_hash is not null),
  constraint risk_decisions_safe_mode_only_reduces check (
    not allowed or mode::text <> 'SAFE_MODE'::text
    or position is not null and quantity <= abs(position)
       and case side::text when 'BUY'::text then position < 0 else position > 0 end)
);
create index risk_decisions_correlation_id_idx on risk_decisions (correlation_id);
create index risk_decisions_created_at_idx on risk_decisions (created_at);
comment on table risk_decisions is
  'What the guardrail answered about an order, allowed or refused, and the limits that it answered by. Append-only, '
  'hash-chained; open also in a lockdown.';
comment on column risk_decisions.id             is
  'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column risk_decisions.correlation_id is 'The signal that led to the question; null: none.';
comment on column risk_decisions.symbol         is 'Instrument of the order; null: it could not be read.';
comment on column risk_decisions.side           is 'BUY or SELL; null: it could not be read.';
comment on column risk_decisions.quantity       is 'Quantity of the order, exact; null: it could not be read.';
comment on column risk_decisions.price          is
  'Price at which the order was valued, exact; null: none was given, or it could not be read.';
comment on column risk_decisions.position       is
  'Position before the order, negative if short; null: it could not be read.';
comment on column risk_decisions.allowed        is 'Whether the order may be sent.';
comment on column risk_decisions.reason         is 'Why it was allowed or refused.';
comment on column risk_decisions.mode           is 'State of the guardrail: NORMAL or SAFE_MODE.';
comment on column risk_decisions.risk_version   is
  'Version of the limits that the guardrail held; null: none that it had verified.';
comment on column risk_decisions.state_hash     is
  'Hash of the state that it held; null in Safe Mode, where none holds.';
comment on column risk_decisions.limits         is
  'The limits of that state, and kill_threshold, that of the symbol or null. Computed from risk_change_log; null if no '
  'applied change has that version and that hash.';
comment on column risk_decisions.decision_maker is 'The person or algorithm that is responsible for the question.';
comment on column risk_decisions.decided_at     is 'When the guardrail answered, by its own clock.';
comment on column risk_decisions.row_hash       is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column risk_decisions.created_at     is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column risk_decisions.recorded_by    is 'The login that wrote the row.';
create function _limits_of_state(state jsonb, symbol text) returns jsonb
language sql immutable
set search_path from current
as $function$
  select case when jsonb_typeof(state -> 'limits') = 'object' then state -> 'limits'
              else '{"max_position_size_pct": null, "daily_drawdown_limit_pct": null, "max_leverage_ratio": null}' end
    || jsonb_build_object('kill_threshold', (
         select t.value from jsonb_array_elements(state -> 'kill_thresholds') as t
         where t.value ->> 'asset' = symbol));
$function$;
comment on function _limits_of_state is
  'The limits of a state, and kill_threshold, that of one symbol or null.';
create function _limits_of_decision(risk_version bigint, state_hash text, symbol text) returns jsonb
language plpgsql
set search_path from current
as $function$
declare
  query   constant text := 'select _limits_of_state(c.state_text::jsonb, $3) from only risk_change_log as c'
                           ' where c.version = $1 and c.state_hash = $2';
  limits  jsonb;
begin
  execute query into limits using risk_version, state_hash, symbol;  -- planned anew, because the log grows
  return limits;
end
$function$;
comment on function _limits_of_decision is
  'The limits of the state that a decision names; null if no applied change has that version and that hash.';
perform _protect_table('risk_decisions', 'AUD-013', 'AUD-014');
perform _count_attempts('AUD-008', 'risk_decisions', 'INSERT');
perform _chain_attach('risk_decisions', open_in_lockdown => true, is_internal => false, validation => $statements$
  new.limits := _limits_of_decision(new.risk_version, new.state_hash, new.symbol);
  if new.correlation_id is not null then
    perform _require_signal(tg_argv[0], new.correlation_id);
  end if;
$statements$);
create type recorded_decision as (
  id              bigint,
  correlation_id  uuid,
  symbol          text,
  side            text,
  quantity        numeric,
  price           numeric,
  position        numeric,
  allowed         boolean,
  reason          text,
  mode            text,
  risk_version    bigint,
  state_hash      text,
  limits          jsonb,
  decision_maker  text,
  decided_at      timestamptz,
  row_hash        text,
  created_at      timestamptz,
  recorded_by     text,
  is_new          boolean
);
comment on type recorded_decision is 'A row of risk_decisions, and whether this call recorded it: always true.';
perform _comment_result('recorded_decision', 'risk_decisions');
-- Money as in 09_write/record.sql.
create function record_decision(
  correlation_id  uuid,
  symbol          text,
  side            text,
  quantity        anycompatible,
  price           anycompatible,
  "position"      anycompatible,
  allowed         boolean,
  reason          text,
  mode            text,
  risk_version    bigint         default null,
  state_hash      text           default null,
  decision_maker  text           default null,
  decided_at      timestamptz    default null,
  money_type      anycompatible  default null::numeric
) returns recorded_decision
language plpgsql
set search_path from current
as $function$
declare
  stored  risk_decisions;
begin
  if pg_typeof(quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('quantity, price or position', pg_typeof(quantity));
  end if;
  if char_length(symbol) > 500 or char_length(side) > 10 or char_length(mode) > 20 or char_length(state_hash) > 64
     or char_length(decision_maker) > 100 then
    perform _refuse_too_long('risk_decisions', '{symbol,side,mode,state_hash,decision_maker}',
                             array[symbol, side, mode, state_hash, decision_maker]);
  end if;
  insert into risk_decisions as d (correlation_id, symbol, side, quantity, price, position, allowed, reason, mode,
                                   risk_version, state_hash, decision_maker, decided_at)
  values (record_decision.correlation_id, record_decision.symbol, record_decision.side,
          record_decision.quantity::numeric, record_decision.price::numeric, record_decision.position::numeric,
          record_decision.allowed, record_decision.reason, record_decision.mode, record_decision.risk_version,
          record_decision.state_hash, record_decision.decision_maker,
          coalesce(record_decision.decided_at, clock_timestamp()))
  returning d.* into stored;
  return row(stored.id, stored.correlation_id, stored.symbol, stored.side, stored.quantity, stored.price,
             stored.position, stored.allowed, stored.reason, stored.mode, stored.risk_version, stored.state_hash,
             stored.limits, stored.decision_maker, stored.decided_at, stored.row_hash, stored.created_at,
             stored.recorded_by, true)::recorded_decision;
end
$function$;
comment on function record_decision is
  'Records what the guardrail answered about an order and returns the row; open also in a lockdown. decided_at: now, '
  'if it is not given. Every call is a row. Raises AUD-001, AUD-008, AUD-012.';
-- As those of 09_write/append.sql.
perform _create_append('record_decision', $template$
create procedure append_decision(
  inout correlation_id   uuid,
  symbol                 text,
  side                   text,
  quantity               anycompatible,
  price                  anycompatible,
  "position"             anycompatible,
  allowed                boolean,
  reason                 text,
  mode                   text,
  risk_version           bigint         default null,
  state_hash             text           default null,
  decision_maker         text           default null,
  decided_at             timestamptz    default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.recorded_decision;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  stored := {home:I}.record_decision(correlation_id, symbol, side, quantity, price, "position", allowed, reason, mode,
                                     risk_version, state_hash, decision_maker, decided_at, money_type);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
end
$procedure$;
$template$);
comment on procedure append_decision is
  'Records a decision as record_decision does, and returns once it is on disk, without holding the chain while it '
  'waits. Raises 2D000 inside a transaction.';
perform _grant('select, insert on', '{risk_decisions}', '{app_trading}'),
       _grant('select on', '{risk_decisions}', '{app_auditor, app_risk}'),
       _grant('usage on sequence', '{risk_decisions_id_seq}', '{app_trading}');
perform _grant('execute on routine', '{record_decision, append_decision}', '{app_trading}');

-- sql/17_risk/permission.sql

-- Which order stands on which decision, and which orders stand on none
--
-- The rules, in plain words:
--
--   1. The order path decides, records the decision, records the order, and only then sends it. So an order stands on
--      the latest decision about the same signal, symbol and side that was recorded before the order was.
--   2. What counts is when the rows were recorded (created_at), not when anybody says that he decided.
--   3. A row that is recorded again, PENDING and then SUBMITTED, is one order if it has the same client_order_id. It
--      stands on what was decided before its first row. Without a client_order_id, rows of one signal, symbol and side
--      are one order as long as no status comes twice.
--   4. A permission is for one order. A second one of the same signal, symbol and side needs a decision of its own,
--      recorded after the first order.
--   5. No row may be larger than what was allowed, or have a worse price. What was allowed must stand on limits that
--      were in force once. A permission in Safe Mode needs none: there an order can only reduce a position.
--
-- A decision is the word of the login that recorded it, as an order is: what it says of the position and the price was
-- not checked, nor whether the guardrail was asked. How old a decision was is not looked at either.
--
-- created_at of two tables is compared, so a clock that was set back between a decision and its order makes the order
-- look as if it came first. It is listed then, and its decision is there to look at.

perform _make_trade_audit($columns$,
  rd.id                     as decision_id,
  rd.allowed                as decision_allowed,
  rd.reason                 as decision_reason,
  rd.mode::text             as decision_mode,
  rd.risk_version           as decision_version,
  rd.limits                 as decision_limits,
  rd.decision_maker::text   as decision_by,
  rd.decided_at             as decision_decided_at,
  rd.row_hash               as decision_hash$columns$, $joins$
left join lateral (
  select p.first_at
  from (select n.id, min(n.created_at) over (partition by n.client_order_id, n.place) as first_at
        from (select f.id, f.created_at, f.client_order_id,
                     row_number() over (partition by f.client_order_id, f.status order by f.id) as place
              from only order_execution as f
              where f.correlation_id = o.correlation_id and f.symbol::text = o.symbol::text
                and f.side::text = o.side::text) as n) as p
  where p.id = o.id) as fo on true
left join lateral (
  select d.id, d.allowed, d.reason, d.mode, d.risk_version, d.limits, d.decision_maker, d.decided_at, d.row_hash
  from only risk_decisions as d
  where d.correlation_id = s.correlation_id
    and (o.id is null or d.symbol::text = o.symbol::text and d.side::text = o.side::text
                         and d.created_at <= fo.first_at)
  order by d.id desc limit 1) as rd on true$joins$, ',risk_decisions');
comment on column vw_trade_audit_full.decision_id         is
  'The guardrail''s decision that the order stands on; for a signal without an order the latest about the signal.';
comment on column vw_trade_audit_full.decision_allowed    is 'Whether the guardrail allowed it.';
comment on column vw_trade_audit_full.decision_reason     is 'Why it was allowed or refused.';
comment on column vw_trade_audit_full.decision_mode       is 'State of the guardrail: NORMAL or SAFE_MODE.';
comment on column vw_trade_audit_full.decision_version    is 'Version of the limits that it answered by.';
comment on column vw_trade_audit_full.decision_limits     is
  'Those limits, from the log of applied changes; null if none has that version and hash.';
comment on column vw_trade_audit_full.decision_by         is
  'The person or algorithm that is responsible for the decision (its decision_maker).';
comment on column vw_trade_audit_full.decision_decided_at is 'When the guardrail answered, by its own clock.';
comment on column vw_trade_audit_full.decision_hash       is 'row_hash of the decision.';
create view vw_orders_without_permission with (security_invoker = true) as
with
placed as (
  select o.id, o.correlation_id, o.symbol::text as symbol, o.side::text as side, o.quantity, o.price, o.created_at,
         o.client_order_id::text as client_order_id, o.status::text as status, o.order_type::text as order_type,
         o.exchange_order_id::text as exchange_order_id, o.decision_maker::text as decision_maker, o.recorded_by,
         o.row_hash, row_number() over (partition by o.correlation_id, o.symbol, o.side, o.client_order_id, o.status
                                        order by o.id) as place
  from only order_execution as o
),
orders as (
  select p.*, min(p.created_at) over w as first_at, min(p.id) over w as first_id
  from placed as p
  window w as (partition by p.correlation_id, p.symbol, p.side, p.client_order_id, p.place)
),
decided as (
  select r.*, d.id as decision_id, d.allowed, d.reason, d.mode, d.quantity as allowed_quantity,
         d.price as allowed_price, d.risk_version, d.state_hash, d.limits,
         min(r.first_id) over (partition by d.id) as used_by
  from orders as r
  left join lateral (
    select x.id, x.allowed, x.reason, x.mode::text as mode, x.quantity, x.price, x.risk_version,
           x.state_hash, x.limits
    from only risk_decisions as x
    where x.correlation_id = r.correlation_id and x.symbol::text = r.symbol and x.side::text = r.side
      and x.created_at <= r.first_at
    order by x.id desc limit 1) as d on true
)
select
  d.id                 as order_id,
  d.correlation_id     as correlation_id,
  d.client_order_id    as client_order_id,
  d.symbol             as symbol,
  d.side               as side,
  d.quantity           as quantity,
  d.order_type         as order_type,
  d.status             as status,
  d.exchange_order_id  as exchange_order_id,
  d.decision_maker     as decision_maker,
  d.created_at         as created_at,
  d.recorded_by        as recorded_by,
  d.row_hash           as order_hash,
  d.decision_id        as decision_id,
  p.problem            as problem
from decided as d
cross join lateral (  -- with two relations here, every version of PostgreSQL prints the view alike
  select case when d.decision_id is null then 'no decision was recorded before it'
              when not d.allowed then concat('it was refused: ', d.reason)
              when d.limits is null and not (d.mode = 'SAFE_MODE'::text and d.state_hash is null) then
                format('the decision names a state that was never applied: version %s', d.risk_version)
              when d.quantity > d.allowed_quantity then
                format('its quantity is %s, and %s was allowed', d.quantity, d.allowed_quantity)
              when d.side = 'BUY'::text and d.price > d.allowed_price
                or d.side = 'SELL'::text and d.price < d.allowed_price then
                format('its price is %s, and it was judged at %s', d.price, d.allowed_price)
              when d.first_id <> d.used_by then
                format('order %s used this permission: it needs a decision of its own', d.used_by) end as problem) as p
where p.problem is not null and _sees_every_row('{order_execution,risk_decisions}'::text[]);
comment on view vw_orders_without_permission is
  'Every row of order_execution that no permission of the guardrail covers, and why.';
comment on column vw_orders_without_permission.order_id          is 'order_execution.id.';
comment on column vw_orders_without_permission.correlation_id    is 'The signal that led to the order.';
comment on column vw_orders_without_permission.client_order_id   is 'The id that the application gave the order.';
comment on column vw_orders_without_permission.symbol            is 'Instrument.';
comment on column vw_orders_without_permission.side              is 'BUY or SELL.';
comment on column vw_orders_without_permission.quantity          is 'Quantity ordered, exact.';
comment on column vw_orders_without_permission.order_type        is 'Its type.';
comment on column vw_orders_without_permission.status            is 'Status at submission.';
comment on column vw_orders_without_permission.exchange_order_id is 'The exchange''s id of the order.';
comment on column vw_orders_without_permission.decision_maker    is
  'The person or algorithm that is responsible for the order.';
comment on column vw_orders_without_permission.created_at        is 'When the order was recorded.';
comment on column vw_orders_without_permission.recorded_by       is 'The login that recorded it.';
comment on column vw_orders_without_permission.order_hash        is 'row_hash of the order.';
comment on column vw_orders_without_permission.decision_id       is
  'The decision that does not cover it; null if there is none.';
comment on column vw_orders_without_permission.problem           is 'Why no permission covers it, in words.';
perform _grant('select on', '{vw_orders_without_permission}', '{app_trading, app_auditor, app_risk}');

perform _finish_migration('23_risk_config');
end
$migration$;
