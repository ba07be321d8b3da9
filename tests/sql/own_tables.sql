-- chain_table, extend_table, record_row, append_row, chained_tables: users' own tables under the chain.

create table "Fees & more" (ref text primary key, amount numeric(12,2), note varchar(8));
insert into "Fees & more" values ('f-2', 2), ('f-1', 1.5);
select chain_table('Fees & more');
select id, ref, amount, recorded_by, row_hash from "Fees & more";
select reason from guard_states order by id desc limit 1;

--
-- A row comes by INSERT, or as JSON. A retry finds the row that is there.
--
set role app_trading;
insert into "Fees & more" (ref, amount) values ('f-3', 3);
call append_row('Fees & more', '{"ref": "f-4", "amount": "4.20"}');
call append_row('Fees & more', '{"ref": "f-4", "amount": 4.2, "note": null}');
begin;
select record_row('Fees & more', '{"ref": "f-5"}') ->> 'id' as id;
rollback;

--
-- Refused: rounding, other content, long texts, what is no column, what the chain assigns, another table.
--
call append_row('Fees & more', '{"ref": "f-5", "amount": 4.205}');
call append_row('Fees & more', '{"ref": "f-4", "amount": 5}');
call append_row('Fees & more', '{"ref": "f-5", "note": "too long a note"}');
call append_row('Fees & more', '{"ref": "f-5", "venue": "x"}');
call append_row('Fees & more', '{"ref": "f-5", "id": 9}');
call append_row('Fees & more', '["f-5"]');
call append_row('signals', '{}');
update "Fees & more" set amount = 0;
reset role;
update "Fees & more" set amount = 0;
delete from "Fees & more";
truncate "Fees & more";

--
-- A column that comes later.
--
alter table "Fees & more" add column venue text;
select table_name, not_covered from chained_tables() where kind = 'own';
select extend_table('Fees & more');
select extend_table('Fees & more');
insert into "Fees & more" (ref, venue) values ('f-5', 'luno');
select table_name, kind, last_id, not_covered, open_in_lockdown, keep from chained_tables() where kind = 'own';
select table_name, rows_checked, verdict from verify_chain_integrity('Fees & more');
select count(*) as changed from verify_guards();

--
-- What cannot be chained.
--
create view some_view as select 1 as a;
create type mood as enum ('good', 'bad');
create table moods (id bigserial primary key, state mood);
create table gaps (id bigint primary key);
insert into gaps values (1), (3);
create table plain (a integer);
insert into plain values (1);
select chain_table('some_view');
select chain_table('moods');
select chain_table('gaps');
select chain_table('plain');
select chain_table('Fees & more');
select chain_table('signals');
select chain_table('nothing');
select extend_table('signals');
