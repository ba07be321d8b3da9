-- How often each kind of attempt was refused: 02_refusals counts them in sequences, which a rollback does not undo.

create view vw_rejected_attempts with (security_invoker = true) as
select a.code, a.table_name, a.operation, a.attempts
from rejected_attempts() as a (code, table_name, operation, attempts);
comment on view vw_rejected_attempts is
  'How often each kind of attempt was refused, even if it was rolled back. Details of each stand in the server''s log: '
  'alpha-db attempt {json}.';
comment on column vw_rejected_attempts.code       is 'Error code, AUD-001 and so on.';
comment on column vw_rejected_attempts.table_name is
  'The table that was protected; for AUD-001 found by a domain, the domain.';
comment on column vw_rejected_attempts.operation  is 'INSERT, UPDATE, DELETE, TRUNCATE, CAST or DDL.';
comment on column vw_rejected_attempts.attempts   is 'How often it was refused.';
