create function _chain_attach(table_name text, open_in_lockdown boolean default true, is_internal boolean default true)
returns void
language plpgsql
set search_path from current
as $function$
begin
  insert into chains (table_name, position, is_internal, open_in_lockdown)
  select _chain_attach.table_name,
         coalesce(max(c.position), case when _chain_attach.is_internal then 100 else 0 end) + 1,
         _chain_attach.is_internal, _chain_attach.open_in_lockdown
  from only chains as c where c.is_internal = _chain_attach.is_internal;
  -- The lock of the chain: an advisory lock could be held by anyone, this table is nobody's but the owner's.
  execute format('create table %I ()', 'lock_' || table_name);
  execute format('comment on table %I is %L', 'lock_' || table_name,
                 format('Empty. Its SHARE UPDATE EXCLUSIVE lock, the cheapest that keeps others with it out, is the lock of the chain of %s, held until the end of the transaction.', table_name));
  execute format('create unlogged sequence %I', 'writer_' || table_name);
  execute format('comment on sequence %I is %L', 'writer_' || table_name,
                 format('Id of the transaction that last took the chain lock of %s.', table_name));
  perform setval(format('%I.%I', current_schema(), 'writer_' || table_name)::regclass, txid_current());
  execute format('create unlogged sequence %I', 'tail_' || table_name);
  execute format('comment on sequence %I is %L', 'tail_' || table_name,
                 format('A hint where the tail of %s is; nothing depends on its being right.', table_name));
  perform _chain_generate(table_name);
  -- Sorts last among the BEFORE triggers: a later one could change what was hashed.
  -- Not ALWAYS: rows that are replicated or restored keep their hash.
  execute format('create trigger zzz_chain before insert on %I for each row execute function %I(%L)',
                 table_name, 'chain_' || table_name, table_name);
  execute format('comment on trigger zzz_chain on %I is %L', table_name, 'Links the row into the hash chain.');
  if not open_in_lockdown then
    perform _count_attempts('AUD-009', table_name, 'INSERT');
    -- Again when the rows stand in the table: whoever raised the alarm between a row's trigger and the row itself is seen here.
    -- Without WHEN, which PostgreSQL would read from its text at each statement, and judge with the writer's rights.
    execute format('create trigger _900_refuse_in_lockdown after insert on %I for each statement execute function _refuse_statement_in_lockdown(%L)',
                   table_name, table_name);
    execute format('comment on trigger _900_refuse_in_lockdown on %I is %L', table_name,
                   'Refuses (AUD-009) rows that were written while the lockdown was being engaged.');
  end if;
  if not is_internal then
    perform _count_attempts('AUD-011', table_name, 'INSERT'), _count_attempts('AUD-012', table_name, 'INSERT');
  end if;
  perform chain_extend(table_name);
end
$function$;
comment on function _chain_attach is
  'Registers a table that has id, row_hash and created_at as a hash chain, and attaches its chain trigger. Called by migrations.';

create function _chain_detach(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute format('drop trigger zzz_chain on %I', table_name);
  execute format('drop trigger if exists _900_refuse_in_lockdown on %I', table_name);
  if exists (select from pg_trigger as t
             where t.tgrelid = format('%I.%I', current_schema(), table_name)::regclass and t.tgname = '_050_owner_only') then
    execute format('drop trigger _050_owner_only on %I', table_name);
  end if;
  execute format('drop trigger _100_reject_change on %I', table_name);
  execute format('drop trigger _200_reject_truncate on %I', table_name);
  execute format('drop function %I()', 'chain_' || table_name);
  execute format('drop table %I', 'lock_' || table_name);
  execute format('drop sequence %I', 'writer_' || table_name);
  execute format('drop sequence %I', 'tail_' || table_name);
  execute format('drop type %I', 'hashed_' || table_name);
  delete from only chains as c where c.table_name = _chain_detach.table_name;
end
$function$;
comment on function _chain_detach is 'Undoes _chain_attach, _protect_table and _owner_only. Called by rollbacks, which refuse while the audit tables hold rows.';

create function chain_extend(table_name text) returns void
language plpgsql security definer
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
as $function$
declare
  known     text[];
  present   text[];
  added     text[];
  tail_id   bigint;
  older     jsonb := '{}';
  variants  bigint;
  sample    jsonb;
  added_column text;
begin
  perform _chain_or_error(table_name);
  execute format('lock table only %I in share update exclusive mode', 'lock_' || table_name);
  select array_agg(h.column_name) into present from _hashed_columns(table_name) as h;
  select c.column_names into known from only chain_columns as c
  where c.table_name = chain_extend.table_name order by c.id desc limit 1;
  if present = known then
    return;
  end if;
  if present[1:cardinality(known)] <> known then
    raise exception 'chain of %: columns may only be added at the end', table_name
      using errcode = '55000',
            detail = format('Hashed so far: %s. Present: %s.', array_to_string(known, ', '), array_to_string(present, ', '));
  end if;
  if exists (select from pg_attribute as a join pg_class as c on c.oid = a.attrelid
             where c.oid = format('%I.%I', current_schema(), table_name)::regclass and a.attgenerated <> '') then
    raise exception 'chain of %: a generated column is computed after the row was hashed', table_name using errcode = '0A000';
  end if;
  execute format('select coalesce(max(t.id), 0) from only %I as t', table_name) into tail_id;
  added := present[coalesce(cardinality(known), 0) + 1:];
  if known is not null then
    foreach added_column in array added loop
      execute format('select count(distinct coalesce(to_jsonb(t.%1$I), ''null'')::text), min(coalesce(to_jsonb(t.%1$I), ''null'')::text)::jsonb from only %2$I as t',
                     added_column, table_name) into variants, sample;
      if variants > 1 then
        raise exception 'chain of %: older rows hold different values in the new column %', table_name, added_column
          using errcode = '55000', hint = 'Add the column with a constant default or none: what older rows hold in it is recorded once for all.';
      end if;
      older := older || jsonb_build_object(added_column, coalesce(sample, 'null'));
    end loop;
  end if;
  perform _chain_generate(table_name);
  insert into chain_columns (table_name, from_id, column_names, older_values)
  values (table_name, tail_id + 1, present, older);
end
$function$;
comment on function chain_extend is
  'Covers the columns that a migration added to a chained table: newer rows are hashed with them, older ones stay verifiable. No effect if there are none.';

create function chain_limit(table_name text, row_limit bigint) returns void
language plpgsql security definer
set search_path from current
as $function$
begin
  perform _chain_or_error(table_name);
  if row_limit is null or row_limit not between 65536 and 134217728 then
    raise exception 'a row may print to 65,536 bytes at least and 134,217,728 at most, not to %', coalesce(row_limit::text, 'NULL')
      using errcode = '22023', hint = 'The limit is 16,777,216 (16 MiB) by default.';
  end if;
  execute format('lock table only %I in share update exclusive mode', 'lock_' || table_name);
  update only chains as c set row_limit = chain_limit.row_limit where c.table_name = chain_limit.table_name;
  perform _chain_generate(table_name);
end
$function$;
comment on function chain_limit is
  'Sets how many bytes the long values of a table''s row may print to before AUD-012 refuses it. A changed guard until record_guards accepts it. Only the owner may, with alpha.maintenance set.';
