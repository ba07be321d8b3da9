create function _reject_change() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  perform _refuse(
    tg_argv[case tg_op when 'UPDATE' then 1 else 2 end],
    format('%s on %s refused', tg_op, tg_argv[0]),
    format('%s of %s would be changed by %s.', coalesce('Row ' || (to_jsonb(old) ->> 'id'), 'A row'), tg_argv[0], session_user),
    'Rows of this table are never changed or removed. To correct one, record a new row.',
    tg_argv[0], tg_op, (to_jsonb(old) ->> 'id')::bigint);
  return null;
end
$function$;
comment on function _reject_change is
  'Row trigger: refuses every UPDATE and DELETE. Arguments: table, code for UPDATE, code for DELETE.';

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

create function _protect_table(table_name text, update_code text, delete_code text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts(update_code, table_name, 'UPDATE');
  perform _count_attempts(delete_code, table_name, 'DELETE');
  perform _count_attempts(delete_code, table_name, 'TRUNCATE');
  execute format('create trigger _100_reject_change before update or delete on %I for each row execute function _reject_change(%L, %L, %L)',
                 table_name, table_name, update_code, delete_code);
  execute format('create trigger _200_reject_truncate before truncate on %I for each statement execute function _reject_truncate(%L, %L)',
                 table_name, table_name, delete_code);
  -- ALWAYS: session_replication_role = replica must not switch them off.
  execute format('alter table %I enable always trigger _100_reject_change, enable always trigger _200_reject_truncate', table_name);
  execute format('comment on trigger _100_reject_change on %I is %L', table_name, 'Refuses UPDATE and DELETE, also under session_replication_role = replica.');
  execute format('comment on trigger _200_reject_truncate on %I is %L', table_name, 'Refuses TRUNCATE, also under session_replication_role = replica.');
end
$function$;
comment on function _protect_table is
  'Makes a table append-only: rejecting triggers, ENABLE ALWAYS, and their counters. Codes for UPDATE, and for DELETE and TRUNCATE.';

create function _refuse_foreign_row() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  id text := to_jsonb(case tg_op when 'DELETE' then old else new end) ->> 'id';
begin
  perform _refuse(
    tg_argv[1],
    format(case when tg_argv[1] ~ '^RSK' then '%s on %s was not made by an approved proposal'
                else '%s on %s did not come from alpha-db itself' end, tg_op, tg_argv[0]),
    format('%s tried it, directly%s.', session_user, ': row ' || id),
    case when tg_argv[1] ~ '^RSK' then 'select propose(…), then vote(…): docs/risk.md.'
         else 'Only the functions of alpha-db write this table.' end,
    tg_argv[0], tg_op, case when id ~ '^-?[0-9]{1,18}$' then id::bigint end);
  return null;
end
$function$;
comment on function _refuse_foreign_row is
  'Row trigger: refuses what alpha-db''s own functions, which write as the owner, did not make. Arguments: table, code.';

create function _owner_only(table_name text, code text, operations text[] default '{INSERT}') returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts(code, table_name, o.name) from unnest(operations) as o(name);
  -- The condition is judged as whoever runs the statement: inside our SECURITY DEFINER functions that is the owner. A
  -- role that may write all data, or a superuser, comes no further. Not ALWAYS: rows that are replicated or restored pass.
  execute format('create trigger _050_owner_only before %s on %I for each row when (current_user <> %L)'
                 ' execute function _refuse_foreign_row(%L, %L)',
                 lower(array_to_string(operations, ' or ')), table_name, _owner_role(), table_name, code);
  execute format('comment on trigger _050_owner_only on %I is %L', table_name,
                 'Refuses rows that alpha-db''s own functions did not make.');
end
$function$;
comment on function _owner_only is
  'Closes a table of the kit to everyone but its functions. Where _protect_table refuses UPDATE and DELETE, INSERT is enough.';

create function _protect_register(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts('AUD-011', table_name, 'TRUNCATE');
  execute format('create trigger _100_reject_change before update or delete on %I for each row'
                 ' when (coalesce(current_setting(''alpha.maintenance'', true), '''') = '''')'
                 ' execute function _reject_change(%L, %L, %L)',
                 table_name, table_name, 'AUD-011', 'AUD-011');
  execute format('create trigger _200_reject_truncate before truncate on %I for each statement'
                 ' execute function _reject_truncate(%L, %L)',
                 table_name, table_name, 'AUD-011');
  execute format('alter table %I enable always trigger _100_reject_change, enable always trigger _200_reject_truncate',
                 table_name);
  execute format('comment on trigger _100_reject_change on %I is %L', table_name,
                 'Refuses UPDATE and DELETE except by a migration or a rollback, also under session_replication_role = replica.');
  execute format('comment on trigger _200_reject_truncate on %I is %L', table_name,
                 'Refuses TRUNCATE, also under session_replication_role = replica.');
  perform _owner_only(table_name, 'AUD-011', '{INSERT,UPDATE,DELETE}');
end
$function$;
comment on function _protect_register is
  'Protects a register, which has no chain: only migrations and rollbacks change its rows, as the owner with alpha.maintenance set.';

create function _sign_migration() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  new.applied_at := clock_timestamp();
  new.applied_by := session_user;
  new.server_version := current_setting('server_version');
  return new;
end
$function$;
comment on function _sign_migration is
  'Row trigger of installed_migrations: sets who applied it, when, and on which version.';
