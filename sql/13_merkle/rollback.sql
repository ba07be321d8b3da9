-- Before 006_checkpoints is taken back: refuses while there are runs, then undoes what functions made.

do $rollback_first$
begin
  if exists (select from only checkpoint_runs) then
    raise exception 'alpha-db: 006_checkpoints is not rolled back, because checkpoint_runs holds rows'
      using errcode = '55000', hint = 'To delete the log and its checkpoints on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
drop procedure seal_logs;
select _chain_detach('checkpoint_runs'), _forget_attempts('checkpoint_runs'), _forget_attempts('log_nodes');
