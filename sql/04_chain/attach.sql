-- Making a table a chain, and undoing it
--
-- _chain_attach makes, for signals: an entry in chains, the lock (lock_signals), the mark (writer_signals), the hint
-- (tail_signals), the row type of what is hashed (hashed_signals), the trigger zzz_chain with its function
-- (_chain_signals), and, for a table that a lockdown closes, the trigger _900_refuse_in_lockdown. trigger.sql explains
-- each of them. It has autovacuum freeze the rows early. Migrations call it, and chain_table (14_own_tables) for a
-- table of the users.
--
-- It calls _chain_generate (trigger.sql) and chain_extend (extend.sql). The function of _900 is made by
-- 08_lockdown/writers.sql.

create function _chain_attach(
  table_name        text,
  open_in_lockdown  boolean default true,
  is_internal       boolean default true,
  validation        text    default '', -- plpgsql statements: new is the row, tg_argv[0] the table
  is_own            boolean default false
) returns void
language plpgsql
set search_path from current
as $function$
begin
  insert into chains (table_name, position, is_internal, open_in_lockdown, validation, is_own)
  select _chain_attach.table_name,
         coalesce(max(c.position), case when _chain_attach.is_own then 1000
                                        when _chain_attach.is_internal then 100 else 0 end) + 1,
         _chain_attach.is_internal, _chain_attach.open_in_lockdown, _chain_attach.validation, _chain_attach.is_own
  from only chains as c
  where (c.is_internal, c.is_own) = (_chain_attach.is_internal, _chain_attach.is_own);
  execute _fill($create$
    create table {lock:I} ();
    comment on table {lock:I} is {about_lock:L};
    create unlogged sequence {mark:I};
    comment on sequence {mark:I} is {about_mark:L};
    create unlogged sequence {hint:I};
    comment on sequence {hint:I} is {about_hint:L};
    $create$,
    'lock', 'lock_' || table_name, 'mark', 'writer_' || table_name, 'hint', 'tail_' || table_name,
    'about_lock', format('Empty. Its SHARE UPDATE EXCLUSIVE lock, the weakest that excludes itself, is the lock of the '
                         'chain of %s, held until the end of the transaction.', table_name),
    'about_mark', format('Id of the transaction that last took the chain lock of %s.', table_name),
    'about_hint', format('A hint where the tail of %s is; nothing depends on its being right.', table_name));
  perform setval(format('%I.%I', current_schema(), 'writer_' || table_name)::regclass, txid_current());
  perform _chain_generate(table_name);
  execute _fill($create$
    create trigger zzz_chain before insert on {table:I} for each row execute function {function:I}({table:L});
    comment on trigger zzz_chain on {table:I} is 'Links the row into the hash chain.';
    $create$, 'table', table_name, 'function', '_chain_' || table_name);
  if not open_in_lockdown then
    perform _close_in_lockdown(table_name);
  end if;
  if not is_internal then
    perform _count_attempts('AUD-011', table_name, 'INSERT'), _count_attempts('AUD-012', table_name, 'INSERT');
  end if;
  perform chain_extend(table_name), _freeze_early(table_name);
  if not is_own then
    perform _fill_index_pages(table_name);
  end if;
end
$function$;
comment on function _chain_attach is
  'Registers a table that has id, row_hash and created_at as a hash chain, and attaches its chain trigger. Migrations '
  'call it.';

-- Rows never change, so a vacuum freezes each page once, soon after it was filled and while it is still in memory. By
-- default a table of a billion rows gets a vacuum every 200 million inserts, which freezes nothing, until one has to
-- read and write all of it. Long values stand in the table's TOAST table, which has settings of its own.
create function _freeze_early(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute format('alter table %I set (autovacuum_vacuum_insert_threshold = 10000,'
                 ' autovacuum_vacuum_insert_scale_factor = 0, autovacuum_freeze_min_age = 0,'
                 ' autovacuum_multixact_freeze_min_age = 0)', table_name);
  if exists (select from pg_class as c
             where c.oid = format('%I.%I', current_schema(), table_name)::regclass and c.reltoastrelid <> 0) then
    execute format('alter table %I set (toast.autovacuum_vacuum_insert_threshold = 10000,'
                   ' toast.autovacuum_vacuum_insert_scale_factor = 0, toast.autovacuum_freeze_min_age = 0,'
                   ' toast.autovacuum_multixact_freeze_min_age = 0)', table_name);
  end if;
end
$function$;
comment on function _freeze_early is
  'Has autovacuum freeze the rows of an append-only table after every 10,000 inserts, and so the long values.';

-- Ids and times ascend, so what is on an index page stays alone there: the tenth that is kept free for later is wasted.
create function _fill_index_pages(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  index_name text;
begin
  for index_name in
    select c.relname
    from pg_index as i
    join pg_class as c on c.oid = i.indexrelid
    join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = format('%I.%I', current_schema(), table_name)::regclass and a.attname in ('id', 'created_at')
  loop
    execute format('alter index %I set (fillfactor = 100)', index_name);
  end loop;
end
$function$;
comment on function _fill_index_pages is
  'Has the indexes of a chained table on id and created_at fill their pages to the end.';

-- From PostgreSQL 18 on, new uuids ascend. They are 28 to 32 bytes a row in an index instead of 39, and neighbours
-- stand on one page: so after a checkpoint of the server not each row has a whole page copied into the WAL.
create function _uuid_generator() returns text
language sql stable
set search_path from current
as $function$
  select case when to_regprocedure('pg_catalog.uuidv7()') is null then 'gen_random_uuid()' else 'uuidv7()' end;
$function$;
comment on function _uuid_generator is
  'The call that makes a uuid on this version of PostgreSQL: uuidv7() from 18 on. Migrations write it into a default '
  'and a trigger.';

create function _default_uuid(table_name text, column_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute format('alter table %I alter %I set default %s', table_name, column_name, _uuid_generator());
end
$function$;
comment on function _default_uuid is 'Gives a column of a table a new uuid as its default.';

create function _close_in_lockdown(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts('AUD-009', table_name, 'INSERT');
  -- zzz_chain has looked at the alarm at each row. This looks again when the rows are stored: an alarm that was raised
  -- meanwhile is seen here. Without WHEN, which PostgreSQL would read from its text at each statement, and judge with
  -- the writer's rights.
  execute _fill($create$
    create trigger _900_refuse_in_lockdown after insert on {table:I}
      for each statement execute function _refuse_statement_in_lockdown({table:L});
    comment on trigger _900_refuse_in_lockdown on {table:I} is
      'Refuses (AUD-009) rows that were written while the lockdown was being engaged.';
    $create$, 'table', table_name);
end
$function$;
comment on function _close_in_lockdown is
  'Attaches the trigger that looks at the alarm when the rows of a statement are stored. Its function is made in 003.';

create function _chain_detach(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if exists (select from pg_trigger as t
             where t.tgrelid = format('%I.%I', current_schema(), table_name)::regclass
               and t.tgname = '_050_owner_only') then
    execute format('drop trigger _050_owner_only on %I', table_name);
  end if;
  execute _fill($drop$
    drop trigger zzz_chain on {table:I};
    drop trigger if exists _900_refuse_in_lockdown on {table:I};
    drop trigger _100_reject_change on {table:I};
    drop trigger _200_reject_truncate on {table:I};
    alter table {table:I} reset (
      autovacuum_vacuum_insert_threshold, autovacuum_vacuum_insert_scale_factor, autovacuum_freeze_min_age,
      autovacuum_multixact_freeze_min_age, toast.autovacuum_vacuum_insert_threshold,
      toast.autovacuum_vacuum_insert_scale_factor, toast.autovacuum_freeze_min_age,
      toast.autovacuum_multixact_freeze_min_age);
    drop function {function:I}();
    drop table {lock:I};
    drop sequence {mark:I}, {hint:I};
    drop type {hashed_type:I};
    $drop$,
    'table', table_name, 'function', '_chain_' || table_name, 'lock', 'lock_' || table_name,
    'mark', 'writer_' || table_name, 'hint', 'tail_' || table_name, 'hashed_type', 'hashed_' || table_name);
  delete from only chains as c where c.table_name = _chain_detach.table_name;
end
$function$;
comment on function _chain_detach is
  'Undoes _chain_attach, _protect_table and _owner_only. Rollbacks call it, which refuse while the audit tables hold '
  'rows.';
