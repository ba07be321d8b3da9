-- track_table, table_history, table_as_of, verify_tracked, untrack_table: the history of a table that changes.

create table positions (account integer, symbol text, quantity numeric not null, pin text, primary key (account, symbol));
insert into positions values (1, 'BTC', 1.50, '4711'), (2, 'ETH', 20, null);
select track_table('positions', '{pin}');

--
-- Each change is an entry. An update of the key is two, and one that changes nothing is none.
--
update positions set quantity = 2.0 where account = 1;
update positions set account = 3 where account = 2;
update positions set quantity = quantity;
delete from positions where account = 3;
insert into positions values (4, 'XRP', 7, 'hunter2');
select id, operation, key, other_key, changed_columns from table_changes order by id;
select operation, old_row ->> 'quantity' as before, new_row ->> 'quantity' as after from table_history('positions', '{"account": 1, "symbol": "BTC"}');
select length(new_row ->> 'pin') as hash_of_the_pin from table_history('positions', '{"account": 4, "symbol": "XRP"}');

--
-- The table at a moment, in whole transactions.
--
select row - 'pin' as row from table_as_of('public.positions', (select created_at from table_changes where id = 4)) as row;
select table_as_of('positions', '2001-01-01');

--
-- Changes behind the triggers' back contradict the history. There is no lockdown over it.
--
select * from verify_tracked();
alter table positions disable trigger _000_alpha_history;
update positions set quantity = 1000000 where account = 1;
select problem, key, recorded ->> 'quantity' as recorded, present ->> 'quantity' as present, detail from verify_tracked('positions');
select verdict, error_code, detail from verify_chain_integrity('table_changes');
select is_locked from lockdown_status();

--
-- A fresh beginning takes the table as it is, and says that it differed.
--
select track_table('positions');
select new_row - 'columns' as tracked from table_changes where operation = 'TRACK' order by id;
select * from verify_tracked();

--
-- What is refused.
--
alter table positions rename to other;
delete from other;
alter table other rename to positions;
select track_table('signals');
select track_table('vw_trade_audit_full');
select track_table('positions', '{symbol}');
select * from table_history('positions', '1');
select untrack_table('positions');
select untrack_table('positions');
select verdict from verify_chain_integrity('table_changes');
