-- Before 006_checkpoints is taken back.

select _forget_attempts('log_nodes');
