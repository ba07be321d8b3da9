-- lock_holders and its neighbours: what an operator asks about the server.

--
-- Who holds a chain: a writer does, until its transaction ends.
--

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

--
-- A login without time-outs may hold it as long as it likes.
--
begin;
create role forgetful login in role app_trading;
select * from logins_without_timeouts() where role = 'forgetful';
alter role forgetful set lock_timeout = '10s';
select lacks from logins_without_timeouts() where role = 'forgetful';
rollback;

--
-- This server is no standby, and none is connected. A heartbeat takes a transaction id, and needs a primary.
--
select * from replay_lag();
select heartbeat() is not null as committed;
begin read only;
select heartbeat();
rollback;
select count(*) from standbys('0/0');
