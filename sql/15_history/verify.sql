-- Does a tracked table hold what its history says?
--
-- verify_tracked replays the history and compares. History and table are read by one query, so in one snapshot. A
-- change and its entry are committed together, so it sees both or neither, whatever writers do. Before that it takes
-- the lock of a reader on the table, because TRUNCATE and ALTER TABLE do not respect older snapshots; from then on they
-- wait. In REPEATABLE READ the snapshot is older than that lock, so there it compares only if nobody has written a
-- history since.
--
-- The table is read with "tablesample", all of it. A view cannot be, so a view that the table's owner puts in its place
-- at the last moment gives an error (0A000), and runs none of its code with the rights of alpha_owner.
--
-- It looks at the table's columns, its key and its triggers, too. What the triggers' functions say is a guard.

create function _tracking_problems(
  table_name text, relation regclass, key_columns text[], columns jsonb
) returns table (problem text, detail text)
language sql stable
set search_path from current
as $function$
  select 'trigger_changed',
         format('the trigger %s %s', w.tgname, case
           when t.oid is null then 'is gone'
           when t.tgenabled = 'D' then 'is disabled'
           when t.tgenabled <> 'A' then 'is not ENABLE ALWAYS'
           else 'is not the one that track_table made' end)
  from (values ('_000_alpha_history', 29, _history_function(_tracking_problems.table_name), ''),
               ('_000_alpha_history_lock', 30, '_take_history_lock', ''),
               ('_000_alpha_history_truncate', 34, '_record_truncate', _tracking_problems.table_name))
       as w(tgname, tgtype, function_name, argument)
  left join pg_trigger as t on t.tgrelid = relation and t.tgname = w.tgname
  where t.oid is null
     or t.tgenabled <> 'A' or t.tgtype <> w.tgtype or t.tgqual is not null or t.tgattr::text <> '' or t.tgdeferrable
     or t.tgfoid is distinct from to_regprocedure(format('%I.%I()', current_schema(), w.function_name))
     or t.tgargs <> case when w.argument = '' then '' else convert_to(w.argument, 'UTF8') || decode('00', 'hex') end
  union all
  select 'key_changed', format('the primary key is (%s); it was (%s)', array_to_string(k.present, ', '),
                               array_to_string(key_columns, ', '))
  from (select array(select a.attname::text
                     from pg_index as x
                     cross join unnest(x.indkey) with ordinality as k(number, place)
                     join pg_attribute as a on a.attrelid = x.indrelid and a.attnum = k.number
                     where x.indrelid = relation and x.indisprimary and k.place <= x.indnkeyatts
                     order by k.place) as present) as k
  where k.present <> key_columns
  union all
  select 'column_changed',
         case when p.column_name is null then format('the column %s is gone', c.key)
              else format('the column %s is of type %s; it was %s', c.key, p.type_name, c.value) end
  from jsonb_each_text(columns) as c
  left join _printed_columns(relation) as p on p.column_name = c.key
  where p.type_name is distinct from c.value;
$function$;
comment on function _tracking_problems is
  'What is wrong with a tracked table besides its rows: triggers, key, columns. A column that was added is not.';

create function _verify_tracked_table(tracked tracked_table) returns table (
  table_name text, problem text, key jsonb, recorded jsonb, present jsonb, detail text
)
language plpgsql volatile
set search_path from current
set row_security = off
set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'postgres' set bytea_output = 'hex'
set extra_float_digits = 1 set lc_monetary = 'C'
as $function$
#variable_conflict use_column
declare
  relation  regclass := to_regclass(tracked.table_name);
  place     record;
  lost      text[];
begin
  select n.nspname, c.relname into place
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = relation and c.relkind = 'r';
  if not found then
    return query select tracked.table_name, 'table_gone', null::jsonb, null::jsonb, null::jsonb,
                        'the table was dropped, renamed or moved to another schema';
    return;
  end if;
  return query select tracked.table_name, p.problem, null::jsonb, null::jsonb, null::jsonb, p.detail
               from _tracking_problems(tracked.table_name, relation, tracked.key_columns, tracked.columns) as p;
  if found and not has_table_privilege(relation, 'select') then
    return;  -- another table, perhaps
  end if;
  execute format('lock table only %I.%I in access share mode', place.nspname, place.relname);
  if current_setting('transaction_isolation') <> 'read committed'
     -- A standby cannot read the mark, and a crash or a promotion sets it back. What is compared agrees in a snapshot
     -- unless the table was truncated or rewritten since: then its file is another one than that snapshot's pg_class
     -- has.
     and coalesce(not _snapshot_sees(pg_sequence_last_value('writer_table_changes'::regclass)),
                  pg_relation_filenode(relation) is distinct from
                  (select c.relfilenode from pg_class as c where c.oid = relation)) then
    raise exception 'a history has grown since this transaction''s snapshot'
      using errcode = '40001', hint = 'Compare in READ COMMITTED, or run the transaction again.';
  end if;
  lost := array(select c.key from jsonb_object_keys(tracked.columns) as c(key)
                where c.key not in (select p.column_name from _printed_columns(relation) as p));
  if lost && tracked.key_columns then
    return;  -- no row has a key that could be compared
  end if;
  return query execute _fill($query$
    with
    recorded as materialized (
      select r.key, r.entry_id, r.row_data, r.is_there, r.is_contradicted
      from _replayed($1, (select max(c.id) from only table_changes as c
                          where c.table_name = $1 and c.operation in ('TRACK', 'TRUNCATE', 'UNTRACK')),
                     9223372036854775807, $2) as r
    ), present as materialized (
      select (select jsonb_object_agg(k.name, t.printed -> k.name) from unnest($3) as k(name)) as key,
             jsonb_strip_nulls(t.printed) as row_data
      from (select {printed:s} as printed from only {schema:I}.{table:I} as t tablesample system (100) offset 0) as t
    )
    select $1, d.problem, coalesce(r.key, p.key), case when r.is_there then r.row_data end, p.row_data,
           case d.problem
             when 'missing_row' then format('entry %s says that it is there', r.entry_id)
             when 'extra_row' then 'no entry says that it came'
             when 'changed_row' then format('it is not as entry %s says', r.entry_id)
             else 'entries contradict each other: it was changed before without an entry' end
    from recorded as r
    full join present as p on p.key = r.key
    cross join lateral (select case
      when p.key is null and r.is_there then 'missing_row'
      when p.key is not null and r.is_there is not true then 'extra_row'
      when p.row_data <> r.row_data then 'changed_row'
      when r.is_contradicted then 'unrecorded_change' end as problem) as d
    where d.problem is not null
    order by coalesce(r.key, p.key)
    $query$, 'printed', _row_sql(relation, 't', tracked.exclude), 'schema', place.nspname, 'table', place.relname)
    using tracked.table_name, lost, tracked.key_columns;
end
$function$;
comment on function _verify_tracked_table is
  'Compares one tracked table, a row of _tracked_tables, with its history; columns as in verify_tracked. Raises 40001 '
  'if it cannot in this transaction''s snapshot.';

create function verify_tracked("table" text default null)
returns table (table_name text, problem text, key jsonb, recorded jsonb, present jsonb, detail text)
language plpgsql volatile security definer
set search_path from current
as $function$
#variable_conflict use_column
declare
  name     text;
  tracked  tracked_table;
begin
  if "table" is not null then
    name := _tracked_or_error("table");
  end if;
  for tracked in select t.* from _tracked_tables() as t where name is null or t.table_name = name loop
    return query select v.* from _verify_tracked_table(tracked) as v;
  end loop;
end
$function$;
comment on function verify_tracked is
  'Compares tracked tables, or one, with their history: a row for each difference, so none if they hold what it says. '
  'problem is missing_row, extra_row, changed_row, unrecorded_change, trigger_changed, key_changed, column_changed or '
  'table_gone. Raises 42P01 for a table that is not tracked, and 42501 for one that may not be read.';

create function _compare_with_histories(result chain_verdict) returns chain_verdict
language plpgsql volatile
set search_path from current
set lock_timeout = '5s'  -- the owner of a table must not hold up the verdicts on all chains
as $function$
declare
  tracked     tracked_table;
  differs     record;
  mismatch    text;
  unreadable  text;
begin
  -- Each for itself: one that cannot be read must not hide another that differs.
  for tracked in select t.* from _tracked_tables() as t loop
    begin
      select count(*) as number,
             (array_agg(concat_ws(' ', v.problem, v.key::text) || ': ' || v.detail))[1] as first into differs
      from _verify_tracked_table(tracked) as v;
      if differs.number > 0 then
        mismatch := concat_ws('; ', mismatch, format('%s differs from its history in %s places, first %s',
                                               tracked.table_name, differs.number, differs.first));
      end if;
    exception when others then
      unreadable := concat_ws('; ', unreadable, format('%s could not be compared with its history: %s (%s)',
                                                       tracked.table_name, sqlerrm, sqlstate));
    end;
  end loop;
  if mismatch is not null then
    return _with_verdict(result, 'history_mismatch', concat_ws('; ', mismatch, unreadable), 'AUD-015');
  elsif unreadable is not null then
    return _with_verdict(result, 'not_run', unreadable);
  end if;
  return result;
end
$function$;
comment on function _compare_with_histories is
  'Turns a good verdict on table_changes into history_mismatch (AUD-015) if a tracked table does not hold what its '
  'history says, and into not_run if one cannot be compared.';

select _grant('execute on routine', '{verify_tracked}', '{app_auditor}');
