-- Before 007_own_tables is taken back: undoes what functions made.

select _forget_attempts('retention_policies');
select _release_own_tables();
drop procedure append_row;
