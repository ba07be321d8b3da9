-- Before 007_own_tables is taken back: undoes what functions made.

select _forget_attempts('retention_policies');
do $rollback_first$
begin
  if exists (select from only table_changes) then
    raise exception 'alpha-db: 007_own_tables is not rolled back, because table_changes holds rows'
      using errcode = '55000', hint = 'To delete the log and its histories on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
select _chain_detach('table_changes'), _forget_attempts('table_changes');
