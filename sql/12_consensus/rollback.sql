-- Before 005_agent_consensus is taken back: refuses while there are agents, then undoes what functions made.

do $rollback_first$
begin
  if exists (select from only agents) then
    raise exception 'alpha-db: 005_agent_consensus is not rolled back, because agents holds rows'
      using errcode = '55000', hint = 'To delete the log and its consensus on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
select _chain_detach(t.name), _forget_attempts(t.name)
from unnest(array['risk_change_log', 'votes', 'proposals', 'agent_revocations', 'agents']) as t(name);
select _forget_attempts('consensus');
