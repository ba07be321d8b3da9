-- Tables that refuse changes
--
-- What each table refuses is a matter of triggers. PostgreSQL fires them by name, so their numbers are the
-- order:
--
--   _050_owner_only          refuses rows that alpha-db's own functions, which write as the owner, did not make
--   _100_reject_change       refuses UPDATE and DELETE; of a register, only outside of a migration
--   _200_reject_truncate     refuses TRUNCATE
--   _400_raise_alarm         raises the alarm of a replicated lockdown event (07_audit/attach.sql)
--   _500_validate            refuses rows of internal tables that cannot be right: each table has a function of its
--                            own, in its chapter
--   _500_sign                says who applied a migration, and when (06_guards/attach.sql)
--   zzz_chain                validates rows of the audit log, and links every row into the hash chain
--                            (04_chain/trigger.sql); last before the row is stored, because a later trigger could
--                            change what was hashed
--   _600_check_bootstrap     after the row, on agents: the bootstrap as a whole (12_consensus/validate.sql)
--   _900_refuse_in_lockdown  after the statement: compares the alarm once more (04_chain/attach.sql)
--
-- _100 and _200 are ENABLE ALWAYS: session_replication_role = replica must not switch them off. _050 is not, because
-- rows that are replicated or restored must pass. No trigger stops the owner from dropping a trigger; verify_guards()
-- reports that (06_guards).

-- The functions that triggers call

-- It calls _was_removed (04_chain/starts.sql) and _is_stray_node (13_merkle/nodes.sql).
create function _may_leave(table_name text, old_row jsonb) returns boolean
language plpgsql stable
set search_path from current
as $function$
begin
  -- A deletion is rare, so what it asks for may cost more than it saves.
  if table_name = 'log_nodes' then
    return _is_stray_node(old_row);
  end if;
  return old_row ->> 'id' ~ '^[0-9]{1,18}$' and _was_removed(table_name, (old_row ->> 'id')::bigint);
end
$function$;
comment on function _may_leave is
  'Whether a row may be deleted: one that retention removes, or a stored node that belongs to no row.';

create function _reject_change() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if tg_op = 'DELETE' and _may_leave(tg_argv[0], to_jsonb(old)) then
    return old;
  end if;
  perform _refuse(
    tg_argv[case tg_op when 'UPDATE' then 1 else 2 end],
    format('%s on %s refused', tg_op, tg_argv[0]),
    format('%s of %s would be changed by %s.',
           coalesce('Row ' || (to_jsonb(old) ->> 'id'), 'A row'), tg_argv[0], session_user),
    'Rows of this table are never changed or removed. To correct one, record a new row.',
    tg_argv[0], tg_op, (to_jsonb(old) ->> 'id')::bigint);
  return null;
end
$function$;
comment on function _reject_change is
  'Row trigger: refuses every UPDATE, and every DELETE but of what may leave. Arguments: table, code for UPDATE, code '
  'for DELETE.';

create function _reject_truncate() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  perform _refuse(
    tg_argv[1], format('TRUNCATE on %s refused', tg_argv[0]),
    format('All rows of %s would be removed by %s.', tg_argv[0], session_user),
    'Rows of this table are never changed or removed.',
    tg_argv[0], 'TRUNCATE');
  return null;
end
$function$;
comment on function _reject_truncate is 'Statement trigger: refuses TRUNCATE. Arguments: table, code.';

create function _refuse_foreign_row() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  is_risk  boolean := tg_argv[1] ~ '^RSK';
  id       text := to_jsonb(case tg_op when 'DELETE' then old else new end) ->> 'id';
begin
  perform _refuse(
    tg_argv[1],
    format(case when is_risk then '%s on %s was not made by an approved proposal'
                else '%s on %s did not come from alpha-db itself' end, tg_op, tg_argv[0]),
    format('%s tried it, directly%s.', session_user, ': row ' || id),
    case when is_risk then 'select propose(…), then vote(…): docs/risk.md.'
         else 'Only the functions of alpha-db write this table.' end,
    tg_argv[0], tg_op, case when id ~ '^-?[0-9]{1,18}$' then id::bigint end);
  return null;
end
$function$;
comment on function _refuse_foreign_row is
  'Row trigger: refuses rows that alpha-db''s own functions, which write as the owner, did not make. Arguments: '
  'table, code.';

-- Attaching them

create function _reject_changes(table_name text, update_code text, delete_code text, condition text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute _fill($create$
    create trigger _100_reject_change before update or delete on {table:I}
      for each row {condition:s} execute function _reject_change({table:L}, {update_code:L}, {delete_code:L});
    create trigger _200_reject_truncate before truncate on {table:I}
      for each statement execute function _reject_truncate({table:L}, {delete_code:L});
    alter table {table:I} enable always trigger _100_reject_change, enable always trigger _200_reject_truncate;
    $create$, 'table', table_name, 'condition', condition, 'update_code', update_code, 'delete_code', delete_code);
  execute format('comment on trigger _200_reject_truncate on %I is %L', table_name,
                 'Refuses TRUNCATE, even if session_replication_role is replica.');
end
$function$;
comment on function _reject_changes is
  'Attaches the triggers that refuse UPDATE and DELETE, if a condition holds, and TRUNCATE. Called by the two '
  'functions below it.';

create function _protect_table(table_name text, update_code text, delete_code text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts(update_code, table_name, 'UPDATE');
  perform _count_attempts(delete_code, table_name, 'DELETE');
  perform _count_attempts(delete_code, table_name, 'TRUNCATE');
  perform _reject_changes(table_name, update_code, delete_code, '');
  execute format('comment on trigger _100_reject_change on %I is %L', table_name,
                 'Refuses UPDATE and DELETE, even if session_replication_role is replica.');
end
$function$;
comment on function _protect_table is
  'Makes a table append-only: rejecting triggers, ENABLE ALWAYS, and their counters. Codes for UPDATE, and for '
  'DELETE and TRUNCATE.';

create function _owner_only(table_name text, code text, operations text[] default '{INSERT}') returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts(code, table_name, o.name) from unnest(operations) as o(name);
  -- The condition is judged as whoever runs the statement: in our SECURITY DEFINER functions that is the owner. A
  -- role that may write all data, or a superuser, gets no further than anybody else.
  execute _fill($create$
    create trigger _050_owner_only before {operations:s} on {table:I}
      for each row when (current_user <> {owner:L}) execute function _refuse_foreign_row({table:L}, {code:L})
    $create$,
    'operations', lower(array_to_string(operations, ' or ')), 'table', table_name, 'owner', _owner_role(),
    'code', code);
  execute format('comment on trigger _050_owner_only on %I is %L', table_name,
                 'Refuses rows that alpha-db''s own functions did not make.');
end
$function$;
comment on function _owner_only is
  'Closes a table to everyone but alpha-db''s functions. Where _protect_table refuses UPDATE and DELETE, INSERT '
  'is enough.';

create function _protect_register(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts('AUD-011', table_name, 'TRUNCATE');
  perform _reject_changes(table_name, 'AUD-011', 'AUD-011',
                          $$when (coalesce(current_setting('alpha.maintenance', true), '') = '')$$);
  execute format(
    'comment on trigger _100_reject_change on %I is %L', table_name,
    'Refuses UPDATE and DELETE except by a migration or a rollback, even if session_replication_role is replica.');
  perform _owner_only(table_name, 'AUD-011', '{INSERT,UPDATE,DELETE}');
end
$function$;
comment on function _protect_register is
  'Protects a register, which has no chain: only migrations and rollbacks change its rows, as the owner with '
  'alpha.maintenance set.';
