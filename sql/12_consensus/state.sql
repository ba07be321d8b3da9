-- The state: what the applied proposals lead to
--
-- The state is a text: its version, the limits, and the kill thresholds, in JSON that is always spelt alike. Each
-- proposal names the hash of the state that it was made for, so that it says what it changes, and can be applied to no
-- other state. Agents and quorum are not part of the text, but each change of them is a version, too: it makes every
-- older proposal stale.

create function _state_text(version bigint, limits jsonb, kill_thresholds jsonb) returns text
language sql immutable
set search_path from current
as $function$
  select format('{"version":%s,"limits":%s,"kill_thresholds":[%s]}', version,
    case when limits is null or limits = 'null' then 'null' else
      format('{"max_position_size_pct":%s,"daily_drawdown_limit_pct":%s,"max_leverage_ratio":%s}',
             round((limits ->> 'max_position_size_pct')::numeric, 4),
             round((limits ->> 'daily_drawdown_limit_pct')::numeric, 4),
             round((limits ->> 'max_leverage_ratio')::numeric, 2)) end,
    coalesce((select string_agg(format('{"asset":%s,"kill_loss_pct":%s,"kill_price":%s}', to_json(t.value ->> 'asset'),
                                       round((t.value ->> 'kill_loss_pct')::numeric, 4),
                                       coalesce(round((t.value ->> 'kill_price')::numeric, 10)::text, 'null')),
                                ',' order by t.value ->> 'asset' collate "C")
              from jsonb_array_elements(kill_thresholds) as t), ''));
$function$;
comment on function _state_text is
  'The canonical text of a risk state: JSON without spaces, decimals at column scale, thresholds sorted by asset.';

create function _next_state_text(previous_text text, kind text, payload jsonb) returns text
language sql immutable
set search_path from current
as $function$
  select _state_text(
    (s.state ->> 'version')::bigint + 1,
    case when kind = 'risk_config' then payload else s.state -> 'limits' end,
    case when kind = 'asset_kill_threshold' then
      coalesce((select jsonb_agg(t.value) from jsonb_array_elements(s.state -> 'kill_thresholds') as t
                where t.value ->> 'asset' <> payload ->> 'asset'), '[]')
      || case when (payload ->> 'retired')::boolean then '[]' else jsonb_build_array(payload) end
      else s.state -> 'kill_thresholds' end)
  from (select previous_text::jsonb as state) as s;
$function$;
comment on function _next_state_text is
  'The state that a proposal leads to from the one before. The replay of the change log uses nothing else.';

create function _current_state_text() returns text
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce((select c.state_text from only risk_change_log as c order by c.id desc limit 1),
                  _state_text(0, null, '[]'));
$function$;
comment on function _current_state_text is 'The state that the last applied proposal led to.';

create function _installation_origin() returns text
language sql stable
set search_path from current
as $function$
  select i.installation_id::text from only installation as i;
$function$;
comment on function _installation_origin is
  'Identity of this installation as signed texts name it: a signature for one desk is worth nothing at another.';
