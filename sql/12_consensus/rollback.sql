-- Before 005_agent_consensus is taken back: no consensus is thrown away, and what functions made goes first.

do $rollback_first$
begin
  if exists (select from only agents) then
    raise exception 'alpha-db: 005_agent_consensus is not rolled back, for agents holds rows'
      using errcode = '55000', hint = 'Consensus is not thrown away by a rollback. Drop the schema by hand if you must.';
  end if;
end
$rollback_first$;
select _chain_detach(t.name), _forget_attempts(t.name)
from unnest(array['risk_change_log', 'votes', 'proposals', 'agent_revocations', 'agents']) as t(name);
select _forget_attempts('consensus');
