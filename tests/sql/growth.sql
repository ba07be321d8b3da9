-- growth and headroom: what fills the disk, and what runs out.

--
-- Rows, and how many of them a day. A rate is told of a day at least.
--
insert into signals (signal_id, symbol, side, price, quantity, raw_payload)
select 's-' || n, 'BTCUSDT', 'BUY', 1, 1, '{}' from generate_series(1, 300) as n;
select table_name, rows_stored, oldest_id, last_id, rows_a_day, rows_overdue, problem
from growth('7 days') where table_name = 'signals';

--
-- The last row is the sum of all tables.
--
select table_name, rows_stored >= 300 as has_these, bytes > 100000 as has_bytes, bytes_a_day > 0 as is_growing
from growth() where table_name is null;

--
-- Rows by day; a period has a beginning and an end.
--
select table_name, day = (now() at time zone 'UTC')::date as is_today, row_count
from daily_activity(now() - interval '1 year', now() + interval '1 hour') where table_name = 'signals';
select daily_activity(now(), now());

--
-- Nothing is older than its policy yet.
--
set alpha.maintenance = 'ticket 7';
set role alpha_owner;
select set_retention_policy('signals', '7 years');
select table_name, keep, rows_overdue from growth() where keep is not null;

--
-- A rate of less than a day would be guessed.
--
select growth('1 hour');

--
-- Ids and sequences last. Rows get old until a vacuum freezes them, which inserts start.
--
select kind, name, used, usable, a_day, days_left > 36525 as for_a_century, problem
from headroom() where kind in ('ids', 'sequence') and name ~ '^signals';
select kind, due, usable, problem from headroom() where name = 'signals' and due > 0;
