-- Reading a history: one row's, or the whole table as it was

create function table_history("table" text, key text)
returns table (
  id bigint, operation text, old_row jsonb, new_row jsonb, changed_columns text[], other_key jsonb, recorded_by text,
  acting_role text, application_name text, client_address inet, transaction_id bigint, created_at timestamptz
)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
#variable_conflict use_column
declare
  name         text := _history_name("table");
  key_columns  text[];
  wanted       jsonb;
begin
  -- As the last entry says: a table whose key changes begins a history again.
  select array(select jsonb_object_keys(c.key) order by 1) into key_columns from only table_changes as c
  where c.table_name = name and c.key is not null order by c.id desc limit 1;
  if cardinality(key_columns) = 1 and key !~ '^[[:space:]]*[{]' then
    wanted := jsonb_build_object(key_columns[1], key);
  else
    begin
      select jsonb_object_agg(e.key, e.value) into wanted from jsonb_each_text(key::jsonb) as e;
    exception when others then
      wanted := null;
    end;
    if key_columns is not null
       and array(select jsonb_object_keys(wanted) order by 1) is distinct from key_columns then
      raise exception 'the key of % is (%)', name, array_to_string(key_columns, ', ')
        using errcode = '22023', table = name,
              hint = format('Give it as an object, each value as the history prints it: ''%s''.',
                            (select jsonb_object_agg(k.name, '…') from unnest(key_columns) as k(name)));
    end if;
  end if;
  return query
    select c.id, c.operation::text, c.old_row, c.new_row, c.changed_columns, c.other_key, c.recorded_by,
           c.acting_role::text, c.application_name::text, c.client_address, c.transaction_id, c.created_at
    from only table_changes as c
    where c.table_name = name and jsonb_hash(c.key) = jsonb_hash(wanted) and c.key = wanted
       or c.table_name = name and c.operation = 'TRUNCATE'
    order by c.id;
end
$function$;
comment on function table_history is
  'The history of the row with a key: the value, or an object if the key has several columns, each value as the '
  'history prints it. A TRUNCATE belongs to the history of every row. Raises 42P01 for a table without a history, '
  '22023 for an object that is not its key.';

create function table_as_of("table" text, moment timestamptz) returns setof jsonb
language plpgsql stable security definer
set search_path from current
set row_security = off
set timezone = 'UTC' set datestyle = 'ISO'
as $function$
declare
  name     text := _history_name("table");
  through  bigint := _complete_entry(moment);
  base     record;
begin
  select c.id, c.operation into base from only table_changes as c
  where c.table_name = name and c.id <= through and c.operation in ('TRACK', 'TRUNCATE', 'UNTRACK')
  order by c.id desc limit 1;
  if not found then
    raise exception 'the history of % does not go back to %', name, coalesce(moment::text, 'NULL')
      using errcode = '22023', table = name,
            hint = format('Give a moment from %s on.',
                          (select min(c.created_at) from only table_changes as c
                           where c.table_name = name and c.operation in ('TRACK', 'TRUNCATE', 'UNTRACK')));
  elsif base.operation = 'UNTRACK' then
    raise exception '% was not tracked at %', name, moment
      using errcode = '22023', table = name,
            hint = 'Give a moment at which it was: select * from table_changes.';
  end if;
  return query
    select c.new_row
    from _replayed(name, base.id, through, '{}') as r join only table_changes as c on c.id = r.entry_id
    where r.is_there
    order by r.key;
end
$function$;
comment on function table_as_of is
  'The rows that a tracked table held at a moment, each value as text; whole transactions only: one counts from its '
  'last entry on. Raises 22023 for a moment that the history does not cover, 42P01 for a table without one.';

select _grant('execute on routine', '{table_history,table_as_of}', '{app_auditor}');
