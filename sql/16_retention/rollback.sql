-- Before 007_own_tables is taken back: refuses while rows were archived, then undoes what functions made.

do $rollback_first$
begin
  if exists (select from only archived_segments) then
    raise exception 'alpha-db: 007_own_tables is not rolled back, because archived_segments holds rows'
      using errcode = '55000', hint = 'To delete the log and its segments on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
select _release_own_tables();
drop procedure append_row;
drop procedure prune_archived;
do $rollback_second$
begin
  if exists (select from only table_changes) then
    raise exception 'alpha-db: 007_own_tables is not rolled back, because table_changes holds rows'
      using errcode = '55000', hint = 'To delete the log and its histories on purpose, drop the schema yourself.';
  end if;
end
$rollback_second$;
select _chain_detach('archived_segments'), _forget_attempts('archived_segments'),
       _forget_attempts('retention_policies'), _forget_attempts('retention'),
       _chain_detach('table_changes'), _forget_attempts('table_changes');
