-- The triggers of a tracked table
--
--   _000_alpha_history           after each row: records it
--   _000_alpha_history_lock      before a statement: takes the chain's lock, before the statement touches a row
--   _000_alpha_history_truncate  before a TRUNCATE: records it
--
-- All are ENABLE ALWAYS. Their names sort first, so that a change that another AFTER trigger makes comes later. Nobody
-- but alpha_owner may execute their functions, and PostgreSQL asks for that right when a trigger is made: so nobody can
-- attach them to a table of his own. The row trigger's function is written for the table, because a function that fits
-- any table would need dynamic SQL for each row; it does only until the next track_table, once a column was added.

create function _take_history_lock() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  lock table only lock_table_changes in share update exclusive mode;
  return null;
end
$function$;
comment on function _take_history_lock is
  'Statement trigger of a tracked table: takes the lock of the history''s chain, before a row is locked.';

create function _refuse_renamed(recorded_name text, relation_name text, operation text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-015', format('%s was renamed or moved, so its history does not go on', recorded_name),
    format('The table is %s now.', relation_name),
    format('Rename it back; or call untrack_table(%L), and track_table for the new name.', recorded_name),
    'table_changes', operation);
end
$function$;
comment on function _refuse_renamed is 'Raises AUD-015: a tracked table has another name than its history.';

create function _refuse_unchained(recorded_name text, operation text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-015', format('%s is tracked, so nothing may change it as a replica', recorded_name),
    'session_replication_role is replica, so the history could not be chained.',
    format('Set session_replication_role to origin. On a subscriber, call untrack_table(%L).', recorded_name),
    'table_changes', operation);
end
$function$;
comment on function _refuse_unchained is
  'Raises AUD-015: a tracked table would change while session_replication_role is replica.';

create function _record_change(
  table_name text, operation text, old_key jsonb, new_key jsonb, old_row jsonb, new_row jsonb
) returns void
language plpgsql
set search_path from current
as $function$
declare
  role_name  text := coalesce(nullif(current_setting('role'), 'none'), session_user);
  changed    text[];
begin
  if current_setting('session_replication_role') = 'replica' then
    perform _refuse_unchained(table_name, operation);
  end if;
  if operation = 'UPDATE' then
    if old_row = new_row then
      return;
    end if;
    changed := array(select n.key from jsonb_each(new_row) as n where n.value is distinct from old_row -> n.key);
    if old_key <> new_key then
      insert into table_changes (table_name, operation, key, other_key, old_row, changed_columns, acting_role,
                                 application_name, client_address, transaction_id)
      values (_record_change.table_name, _record_change.operation, old_key, new_key, _record_change.old_row, changed,
              role_name, current_setting('application_name'), inet_client_addr(), txid_current());
      insert into table_changes (table_name, operation, key, other_key, new_row, changed_columns, acting_role,
                                 application_name, client_address, transaction_id)
      values (_record_change.table_name, _record_change.operation, new_key, old_key, _record_change.new_row, changed,
              role_name, current_setting('application_name'), inet_client_addr(), txid_current());
      return;
    end if;
  end if;
  insert into table_changes (table_name, operation, key, old_row, new_row, changed_columns, acting_role,
                             application_name, client_address, transaction_id)
  values (_record_change.table_name, _record_change.operation, coalesce(new_key, old_key), _record_change.old_row,
          _record_change.new_row, changed, role_name, current_setting('application_name'), inet_client_addr(),
          txid_current());
end
$function$;
comment on function _record_change is
  'Records a change in table_changes. The caller runs as the owner. Raises AUD-015 while session_replication_role is '
  'replica, when the entry could not be chained.';

create function _record_truncate() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if _qualified_name(tg_table_schema, tg_table_name) <> tg_argv[0] then
    perform _refuse_renamed(tg_argv[0], _qualified_name(tg_table_schema, tg_table_name), tg_op);
  end if;
  perform _record_change(tg_argv[0], tg_op, null, null, null, null);
  return null;
end
$function$;
comment on function _record_truncate is 'Statement trigger of a tracked table: records a TRUNCATE. Argument: the name.';

create function _history_function(table_name text) returns text
language sql immutable strict
set search_path from current
as $function$
  -- The name of a table may be as long as that of a function.
  select '_history_' || left(encode(sha256(convert_to(table_name, 'UTF8')), 'hex'), 16);
$function$;
comment on function _history_function is 'Name of the row trigger''s function of a tracked table.';

create function _history_generate(
  table_name text, relation regclass, key_columns text[], exclude text[]
) returns void
language plpgsql
set search_path from current
as $function$
declare
  name   record;
  shape  record;
begin
  select n.nspname, c.relname into name
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation;
  select array_agg(p.column_name || ' ' || p.type_name order by p.place)::text as columns,
         case when bool_and(p.is_plain) then '' else
           E'set timezone = ''UTC'' set datestyle = ''ISO'' set intervalstyle = ''postgres''\n'
           'set bytea_output = ''hex'' set extra_float_digits = 1 set lc_monetary = ''C''\n' end as settings,
         (select format('jsonb_build_object(%s)',
                        string_agg(format('%1$L, {row} -> %1$L', k.name), ', ' order by k.place))
          from unnest(key_columns) with ordinality as k(name, place)) as key
    into shape
  from _printed_columns(relation) as p;
  execute _fill($template$
create or replace function {function:I}() returns trigger
language plpgsql security definer
set search_path = {home:I}, pg_temp
{settings:s}as $history$
declare
  old_row  jsonb;
  new_row  jsonb;
begin
  if tg_table_schema <> {schema:L} or tg_table_name <> {table:L} then
    perform _refuse_renamed({name:L}, _qualified_name(tg_table_schema, tg_table_name), tg_op);
  end if;
  if _has_columns({relation:L}::regclass, {columns:L}) then
    if tg_op <> 'INSERT' then
      old_row := {old_row:s};
    end if;
    if tg_op <> 'DELETE' then
      new_row := {new_row:s};
    end if;
  else
    if tg_op <> 'INSERT' then
      old_row := _print_row(old, tg_relid, {exclude:L});
    end if;
    if tg_op <> 'DELETE' then
      new_row := _print_row(new, tg_relid, {exclude:L});
    end if;
  end if;
  perform _record_change({name:L}, tg_op,
                         case when old_row is not null then {old_key:s} end,
                         case when new_row is not null then {new_key:s} end, old_row, new_row);
  return null;
end
$history$;
comment on function {function:I}() is {comment:L};
revoke all on function {function:I}() from public
$template$,
    'function', _history_function(table_name), 'home', current_schema(), 'settings', shape.settings,
    'schema', name.nspname, 'table', name.relname, 'name', table_name,
    'relation', format('%I.%I', name.nspname, name.relname), 'columns', shape.columns, 'exclude', exclude::text,
    'old_row', _row_sql(relation, 'old', exclude), 'new_row', _row_sql(relation, 'new', exclude),
    'old_key', replace(shape.key, '{row}', 'old_row'), 'new_key', replace(shape.key, '{row}', 'new_row'),
    'comment', format('Row trigger of %s: records each change in table_changes. Made by _history_generate.',
                      table_name));
end
$function$;
comment on function _history_generate is
  'Writes the function of the row trigger of a tracked table, for the columns that it has now.';
