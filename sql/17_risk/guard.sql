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

select _count_attempts('RSK-002', t.name, 'TRUNCATE'), _owner_only(t.name, 'RSK-002', '{INSERT,UPDATE,DELETE}')
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
