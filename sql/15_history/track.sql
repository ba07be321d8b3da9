-- Beginning and ending the history of a table
--
-- track_table and untrack_table run with the caller's rights, because only the owner of a table may give it triggers,
-- and alpha_owner is not that. What needs the rights of alpha_owner (the trigger's function, the entries) is in
-- functions that nobody else may execute. So both may only be called by a login that owns the table and is a member of
-- alpha_owner, or by a superuser.
--
-- A tracked table gets a function of its own, which is a guard. So both compare the guards before, and record them
-- after, as a migration does.

create function _refuse_untrackable(relation regclass) returns void
language plpgsql stable
set search_path from current
as $function$
declare
  item    record;
  reason  text;
  cure    text := 'Track an ordinary table with a primary key.';
begin
  select c.oid, c.relkind, c.relpersistence, c.relowner, c.relrowsecurity, n.nspname, c.relname,
         _qualified_name(n.nspname, c.relname) as name,
         (select e.extname from pg_depend as d join pg_extension as e on e.oid = d.refobjid
          where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_extension'::regclass
            and d.deptype = 'e' limit 1) as extension,
         (select k.what from _kept_elsewhere() as k where k.oid = c.oid limit 1) as kept_as
    into item
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation;
  if not found then
    raise exception 'there is no such table'
      using errcode = '42P01', table = coalesce(relation::text, 'NULL'),
            hint = 'Name one with its schema: ''schema.table''.';
  end if;
  case
    when item.nspname in ('pg_catalog', 'information_schema', 'pg_toast') then
      reason := 'is a table of PostgreSQL itself';
    when item.relkind = 'p' then
      reason := 'is partitioned';
      cure := 'Track each of its partitions: rows are stored there, and each can be emptied or detached by itself.';
    when item.relkind <> 'r' then
      reason := 'is ' || case item.relkind when 'v' then 'a view' when 'm' then 'a materialized view'
                                            when 'f' then 'a foreign table' else 'no table' end;
      cure := 'Track the table that the rows are stored in.';
    when item.relpersistence = 't' then
      reason := 'is temporary, and ends with its session';
    when item.relpersistence = 'u' then
      reason := 'is unlogged: a crash would empty it';
      cure := format('alter table %s set logged', item.name);
    when item.extension is not null then
      reason := format('belongs to the extension %s', item.extension);
    when item.kept_as is not null then
      reason := 'is ' || item.kept_as;
      cure := 'Track an ordinary table: the rows of this one change without its triggers.';
    when item.relowner = (select c.relowner from pg_class as c where c.oid = 'table_changes'::regclass) then
      reason := 'belongs to alpha-db';
      cure := 'Its own chain is its history: select * from chain_rows(…).';
    when item.relrowsecurity then
      reason := 'has row-level security, which would hide rows from the comparison';
      cure := format('alter table %s disable row level security', item.name);
    when not exists (select from pg_index as x where x.indrelid = relation and x.indisprimary and x.indisvalid) then
      reason := 'has no primary key';
      cure := 'A history says which row changed. Give the table a primary key.';
    when exists (select from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
                 join pg_namespace as n on n.oid = p.pronamespace
                 where t.tgrelid = relation and t.tgname = '_000_alpha_history' and n.nspname <> current_schema()) then
      reason := 'is tracked by the installation of another schema';
      cure := 'Let one installation keep its history.';
    else
      return;
  end case;
  raise exception '% % and cannot be tracked', item.name, reason
    using errcode = '42809', table = item.name, hint = cure;
end
$function$;
comment on function _refuse_untrackable is 'Raises 42809, with a reason and a hint, for what cannot be tracked.';

create function _begin_tracking(
  table_name text, relation regclass, key_columns text[], exclude text[]
) returns text[]
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  excluded  text[] := coalesce(exclude, (select t.exclude from _tracked_tables() as t
                                         where t.table_name = _begin_tracking.table_name), '{}');
  missing   text;
  previous  text := coalesce(current_setting('alpha.maintenance', true), '');
begin
  lock table only lock_migrations in share update exclusive mode;
  perform _require_guards(format('%s cannot be tracked', table_name));
  select e.name into missing from unnest(excluded) as e(name)
  where e.name is null or e.name not in (select p.column_name from _printed_columns(relation) as p);
  if found then
    raise exception '% has no column % to exclude', table_name, coalesce(quote_ident(missing), 'NULL')
      using errcode = '42703', table = table_name, hint = 'Give the names of columns as they are: array[''pin''].';
  elsif excluded && key_columns then
    raise exception 'a column of the key of % cannot be excluded', table_name
      using errcode = '22023', table = table_name,
            hint = 'The history names each row by its key. Give the table a key without a secret.';
  end if;
  -- A reason for the DDL guard, which records it.
  perform set_config('alpha.maintenance', format('track_table: %s', table_name), true);
  perform _history_generate(table_name, relation, key_columns, excluded);
  perform set_config('alpha.maintenance', previous, true);
  return excluded;
end
$function$;
comment on function _begin_tracking is
  'Makes the row trigger''s function of a table that track_table begins to track, and returns the columns that are '
  'excluded.';

create function _take_snapshot(
  table_name text, relation regclass, key_columns text[], exclude text[], differences bigint
) returns bigint
language plpgsql security definer
set search_path from current
set row_security = off
set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'postgres' set bytea_output = 'hex'
set extra_float_digits = 1 set lc_monetary = 'C'
as $function$
declare
  row_count  bigint;
  role_name  text := coalesce(nullif(current_setting('role'), 'none'), session_user);
begin
  insert into table_changes (table_name, operation, new_row, acting_role, application_name, client_address,
                             transaction_id)
  select _take_snapshot.table_name, 'TRACK',
         jsonb_build_object('key', key_columns, 'exclude', exclude, 'differences', differences,
                            'columns', (select jsonb_object_agg(p.column_name, p.type_name)
                                        from _printed_columns(relation) as p)),
         role_name, current_setting('application_name'), inet_client_addr(), txid_current();
  execute _fill($insert$
    insert into table_changes (table_name, operation, key, new_row, acting_role, application_name, client_address,
                               transaction_id)
    select {name:L}, 'SNAPSHOT', (select jsonb_object_agg(k.name, s.printed -> k.name) from unnest($1) as k(name)),
           s.printed, $2, current_setting('application_name'), inet_client_addr(), txid_current()
    from (select {printed:s} as printed from only {relation:s} as t tablesample system (100) offset 0) as s
    $insert$, 'name', table_name, 'printed', _row_sql(relation, 't', exclude), 'relation', relation::text)
    using key_columns, role_name;
  get diagnostics row_count = row_count;
  perform record_guards(format('track_table: %s', table_name));
  return row_count;
end
$function$;
comment on function _take_snapshot is
  'Records that a table is tracked, and each row that is there; returns how many. Records the guards, too.';

create function track_table("table" regclass, exclude text[] default null) returns bigint
language plpgsql
set search_path from current
as $function$
#variable_conflict use_column
declare
  relation     regclass := "table";
  item         record;
  excluded     text[];
  differences  bigint;
begin
  perform _refuse_citus(), _refuse_untrackable(relation), _require_primary('track_table');
  select n.nspname, c.relname, _qualified_name(n.nspname, c.relname) as name,
         format('%I.%I', n.nspname, c.relname) as sql,
         array(select a.attname::text
               from pg_index as x
               cross join unnest(x.indkey) with ordinality as k(number, place)
               join pg_attribute as a on a.attrelid = x.indrelid and a.attnum = k.number
               where x.indrelid = c.oid and x.indisprimary and k.place <= x.indnkeyatts order by k.place) as key
    into item
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation;
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'track_table runs in READ COMMITTED only'
      using errcode = '25001', table = item.name, detail = 'An older snapshot might not show rows that are there.',
            hint = 'Begin with: begin isolation level read committed.';
  end if;
  execute format('grant select on table %I.%I to %I', item.nspname, item.relname, _owner_role());
  if not has_schema_privilege(_owner_role(), item.nspname, 'usage') then
    execute format('grant usage on schema %I to %I', item.nspname, _owner_role());
  end if;
  if not has_schema_privilege(_owner_role(), item.nspname, 'usage') then
    raise exception '% may not use the schema %', _owner_role(), item.nspname
      using errcode = '42501', hint = format('Let its owner run: grant usage on schema %I to %I', item.nspname,
                                             _owner_role());
  end if;
  -- No writer until the end of the transaction: what is taken in is what the triggers then follow.
  execute format('lock table only %I.%I in share row exclusive mode', item.nspname, item.relname);
  if to_regclass(item.sql) is distinct from relation then
    raise exception '% was renamed meanwhile', item.name using errcode = '40001', hint = 'Call track_table again.';
  end if;
  differences := (select count(*) from verify_tracked(item.name)
                  where exists (select from _tracked_tables() as t where t.table_name = item.name));
  excluded := _begin_tracking(item.name, relation, item.key, exclude);
  execute _fill($create$
    create or replace trigger _000_alpha_history after insert or update or delete on {table:s}
      for each row execute function {home:I}.{function:I}();
    create or replace trigger _000_alpha_history_lock before insert or update or delete on {table:s}
      for each statement execute function {home:I}._take_history_lock();
    create or replace trigger _000_alpha_history_truncate before truncate on {table:s}
      for each statement execute function {home:I}._record_truncate({name:L});
    comment on trigger _000_alpha_history on {table:s} is
      'Records each change in the history that alpha-db keeps of this table.';
    comment on trigger _000_alpha_history_lock on {table:s} is
      'Lets one transaction at a time write the history, before it locks rows.';
    comment on trigger _000_alpha_history_truncate on {table:s} is
      'Records TRUNCATE in the history that alpha-db keeps of this table.';
    alter table only {table:s} enable always trigger _000_alpha_history,
      enable always trigger _000_alpha_history_lock, enable always trigger _000_alpha_history_truncate;
    $create$, 'table', item.sql, 'home', current_schema(), 'function', _history_function(item.name),
    'name', item.name);
  return _take_snapshot(item.name, relation, item.key, excluded, differences);
end
$function$;
comment on function track_table is
  'Keeps a history of a table from now on, in table_changes; returns how many rows it has now. Called again, it makes '
  'a fresh beginning, with the same excluded columns if none are given. Needs a member of alpha_owner who owns the '
  'table.';

create function _end_tracking(table_name text) returns void
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  previous  text := coalesce(current_setting('alpha.maintenance', true), '');
begin
  insert into table_changes (table_name, operation, acting_role, application_name, client_address, transaction_id)
  values (_end_tracking.table_name, 'UNTRACK', coalesce(nullif(current_setting('role'), 'none'), session_user),
          current_setting('application_name'), inet_client_addr(), txid_current());
  perform set_config('alpha.maintenance', format('untrack_table: %s', table_name), true);
  execute format('drop function %I()', _history_function(table_name));
  perform set_config('alpha.maintenance', previous, true);
  perform record_guards(format('untrack_table: %s', table_name));
end
$function$;
comment on function _end_tracking is
  'Records that a table is no longer tracked, drops its trigger''s function, and records the guards.';

create function _require_guards(complaint text) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  problem  text;
begin
  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from verify_guards() as g limit 1;
  if found then
    raise exception 'AUD-011: %, because the guards are not as installed: %', complaint, problem
      using errcode = 'AUD11',
            hint = 'List the changes: select * from verify_guards(). '
                   'Undo them, or accept them: select record_guards(''reason'').';
  end if;
end
$function$;
comment on function _require_guards is 'Raises AUD-011 with a complaint if a guard is not as recorded.';

create function untrack_table("table" text) returns void
language plpgsql
set search_path from current
as $function$
declare
  name   text := _tracked_or_error("table");
  place  record;
begin
  perform _require_primary('untrack_table');
  lock table only lock_migrations in share update exclusive mode;
  perform _require_guards(format('%s cannot be untracked', name));
  -- Wherever they are, if the table has another name now; none if it is gone.
  for place in
    select n.nspname, c.relname, t.tgname
    from pg_trigger as t
    join pg_class as c on c.oid = t.tgrelid
    join pg_namespace as n on n.oid = c.relnamespace
    where t.tgname ~ '^_000_alpha_history'
      and t.tgrelid in (select r.tgrelid from pg_trigger as r
                        where r.tgfoid = to_regprocedure(format('%I.%I()', current_schema(), _history_function(name)))
                        union all select to_regclass(name))
      and exists (select from pg_proc as p
                  where p.oid = t.tgfoid and p.pronamespace = quote_ident(current_schema())::regnamespace)
  loop
    execute format('drop trigger %I on %I.%I', place.tgname, place.nspname, place.relname);
  end loop;
  if to_regclass(name) is not null then
    execute format('revoke select on table %I.%I from %I', (parse_ident(name))[1], (parse_ident(name))[2],
                   _owner_role());
  end if;
  perform _end_tracking(name);
end
$function$;
comment on function untrack_table is
  'Ends the history of a table, which stays readable. Takes the name under which it is kept, because the table may be '
  'gone. Needs a member of alpha_owner who owns the table.';
