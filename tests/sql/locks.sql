-- lock_holders: who holds a chain, which a writer does until its transaction ends.

begin;
select id from record_signal('tv-1', 'BTCUSD', 'BUY', 1, 1, '{}');
select lock_name, mode, granted, pid = pg_backend_pid() as is_this_session, login, blocks from lock_holders();

--
-- A prepared transaction has no session, and holds what it locked until somebody ends it.
--
prepare transaction 'forgotten';
select lock_name, mode, granted, pid, gid, login from lock_holders();
rollback prepared 'forgotten';
select count(*) from lock_holders();
