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
