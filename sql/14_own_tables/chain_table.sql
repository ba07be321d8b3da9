-- Putting a table under the chain
--
-- Before the first statement that changes anything, chain_table has the lock of the migrations and of the table, and
-- has compared the guards: like a migration, it records them as they are at its end, so it must not bless what anybody
-- changed before. All of it is one transaction: refused or cancelled, nothing is left of it.
--
-- The first part runs with its caller's rights, because only the owner of a table may give it away. The second,
-- _chain_own_table, runs as alpha_owner, so that nothing of the table ever runs with the rights of a superuser.

create function _own_relation(table_name text) returns regclass
language plpgsql stable
set search_path from current
as $function$
declare
  home      text := current_schema();
  relation  regclass := to_regclass(quote_ident(home) || '.' || quote_ident(table_name));
  other     regclass;
begin
  if relation is null then
    other := case when table_name ~ '^[^"]+$' then to_regclass(table_name) end;
    raise exception 'there is no table % in schema %', coalesce(quote_ident(table_name), 'NULL'), quote_ident(home)
      using errcode = '42P01', table = coalesce(table_name, 'NULL'),
            hint = coalesce(
              (select format('Move %s here: alter table %s set schema %I.', other, other, home)
               from pg_class as c where c.oid = other and c.relnamespace <> quote_ident(home)::regnamespace),
              (select format('Write the name as it is stored: %s.', quote_literal(c.relname))
               from pg_class as c where c.relnamespace = quote_ident(home)::regnamespace and c.relkind in ('r', 'p')
                 and lower(c.relname) = lower(table_name) limit 1),
              'Write the name as it is stored, without its schema.');
  end if;
  return relation;
end
$function$;
comment on function _own_relation is
  'The relation of this name in the schema of the installation; raises 42P01, with a hint where it may be, if there is '
  'none.';

create function _chain_own_table(table_name text, open_in_lockdown boolean) returns bigint
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  has_id     boolean;
  row_count  bigint;
  counter    text;
begin
  has_id := _add_chain_columns(table_name);
  row_count := _take_in_rows(table_name, has_id);
  perform _complete_chain_columns(table_name, has_id);
  perform _chain_attach(table_name, open_in_lockdown => open_in_lockdown, is_internal => false, is_own => true);
  if (select c.relrowsecurity from pg_class as c where c.oid = quote_ident('lock_' || table_name)::regclass) then
    -- An event trigger switches it on for each new table. Migrations take that back, too: _take_back_additions.
    execute format('alter table %I disable row level security', 'lock_' || table_name);
  end if;
  perform _protect_table(table_name, 'AUD-013', 'AUD-014');
  perform _count_attempts(c.code, table_name, 'INSERT') from unnest(array['AUD-001', 'AUD-010']) as c(code);
  perform _revoke_changes(table_name);
  perform _grant('select, insert on', array[table_name], '{app_trading}');
  perform _grant('select on', array[table_name], '{app_auditor, app_risk}');
  for counter in
    select s.relname
    from pg_depend as d join pg_class as s on s.oid = d.objid and s.relkind = 'S'
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype = 'a'
      and d.refobjid = quote_ident(table_name)::regclass and d.refobjsubid > 0
      and s.relnamespace = quote_ident(current_schema())::regnamespace
  loop
    perform _grant('usage on sequence', array[counter], '{app_trading}');
  end loop;
  execute format('analyze %I', table_name);
  perform record_guards(concat('chain_table ', table_name, case when row_count > 0 then
    format(': rows 1 to %s were there before, and were taken in', row_count) end));
  return row_count;
end
$function$;
comment on function _chain_own_table is
  'The part of chain_table that runs as the owner role: columns, rows, triggers, grants, guards.';

create function chain_table(table_name text, open_in_lockdown boolean default false) returns bigint
language plpgsql
set search_path from current
as $function$
declare
  relation   regclass := _own_relation(table_name);
  reason     text := coalesce(current_setting('alpha.maintenance', true), '');
  problem    text;
  row_count  bigint;
begin
  perform _require_primary('chain_table');
  if open_in_lockdown is null then
    raise exception 'open_in_lockdown is true or false, not NULL' using errcode = '22023';
  elsif current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'chain_table needs a transaction that sees what others have committed'
      using errcode = '25000', hint = 'Run it in a READ COMMITTED transaction.';
  end if;
  perform _refuse_citus(), _refuse_to_chain(table_name, _why_not_chained(relation));
  if not pg_has_role(current_user, (select c.relowner from pg_class as c where c.oid = relation), 'usage') then
    raise exception '% belongs to %', relation,
      (select quote_ident(pg_get_userbyid(c.relowner)) from pg_class as c where c.oid = relation)
      using errcode = '42501', table = table_name,
            hint = format('Have a superuser run: alter table %s owner to %I. Then call chain_table again.', relation,
                          current_user);
  end if;
  lock table only lock_migrations in share update exclusive mode;
  execute format('lock table only %I in access exclusive mode', table_name);
  if quote_ident(table_name)::regclass <> relation then
    raise exception '% was made again meanwhile', relation using errcode = '40001', hint = 'Call chain_table again.';
  end if;
  -- Again, because nothing can change any more.
  perform _refuse_to_chain(table_name, _why_not_chained(relation)),
          _refuse_to_chain(table_name, _why_not_its_name(table_name)),
          _refuse_to_chain(table_name, _why_not_its_columns(relation)),
          _refuse_to_chain(table_name, _why_not_its_code(relation));
  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from verify_guards() as g limit 1;
  if found then
    raise exception 'AUD-011: % cannot be chained, because the guards are not as installed: %', relation, problem
      using errcode = 'AUD11',
            hint = 'List the changes: select * from verify_guards(). '
                   'Undo them, or accept them: select record_guards(''reason'').';
  end if;
  perform set_config('alpha.maintenance', 'chain_table ' || table_name, true);  -- for the DDL guard
  execute format('alter table %I owner to %I', table_name, _owner_role());
  row_count := _chain_own_table(table_name, open_in_lockdown);
  perform set_config('alpha.maintenance', reason, true);
  return row_count;
end
$function$;
comment on function chain_table is
  'Puts a table of this schema under the chain: append-only, hashed, verified like the audit log. Adds id, created_at, '
  'recorded_by and row_hash where they are missing, and gives the table to the owner role. Returns how many rows were '
  'there and were taken in. Only a member of the owner role who owns the table may call it, or a superuser.';
