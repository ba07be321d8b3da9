-- Before 006_checkpoints is taken back.

select forget_attempts('log_nodes');
