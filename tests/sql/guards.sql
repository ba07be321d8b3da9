-- verify_guards: what protects the log is as installed, or is named.

select * from verify_guards();
select count(*) > 500 as there_are_many from guard_facts();
select length(guards_hash());

--
-- Each change is named, with what was expected and what is there. A table of yours is no guard.
--
begin;
alter table signals disable trigger _100_reject_change;
grant update on signals to app_trading;
create table public.notes (note text);
select object_kind, object_name, fact, expected, found, problem from verify_guards();
select * from changed_guards();
select object_name, fact, problem from guards_since((select max(id) from guard_states));
select table_name, verdict, error_code, detail from verify_chain_integrity('signals', engage_lockdown => false);
rollback;

--
-- A change on purpose is accepted by the owner, in a chained record that says why.
--
drop index signals_created_at_idx;
select object_kind, object_name, fact, found, problem from verify_guards();
select record_guards('the index is of no use to us') > 1 as is_recorded;
select count(*) from verify_guards();
select reason from guard_states order by id desc limit 1;
-- An older state is still known.
select object_name, fact, found, problem from guards_since((select max(id) - 1 from guard_states));
set role app_auditor;
select record_guards('an auditor accepts nothing');
