-- Which tables are tracked, and what their history says that they hold
--
-- No register says what is tracked: the last TRACK or UNTRACK entry does.
--
-- What a table holds follows from its entries since it was tracked last, or emptied: each says which row left a key,
-- and which one came. A key holds a row if more came than left. Which one? Normally the last that came. But a deferred
-- primary key lets two rows share a key until the transaction ends, and then it is the one that did not leave again. So
-- rows are counted, and the order of the entries matters only where that is not enough. This is one query, with no loop
-- over rows.
--
-- A row that left without having come was changed behind the triggers' back before. The count shows that, too.

create type tracked_table as (
  table_name   text,
  since        bigint,
  key_columns  text[],
  exclude      text[],
  columns      jsonb
);
comment on type tracked_table is 'A table that is tracked, as its last TRACK entry says.';
comment on column tracked_table.table_name  is 'The name under which its history is kept.';
comment on column tracked_table.since       is 'The entry that says so: older ones do not matter for what it holds.';
comment on column tracked_table.key_columns is 'The columns of its primary key.';
comment on column tracked_table.exclude     is 'The columns of which only the SHA-256 is recorded.';
comment on column tracked_table.columns     is 'Its columns then: {column: type}.';

create function _tracked_tables() returns setof tracked_table
language sql stable
set search_path from current
set row_security = off
as $function$
  select t.table_name, t.id,
         array(select k.value from jsonb_array_elements_text(t.new_row -> 'key') with ordinality as k(value, place)
               order by k.place),
         array(select e.value from jsonb_array_elements_text(t.new_row -> 'exclude') as e),
         t.new_row -> 'columns'
  from (select distinct on (c.table_name) c.table_name::text, c.id, c.operation, c.new_row
        from only table_changes as c
        where c.operation in ('TRACK', 'UNTRACK')
        order by c.table_name, c.id desc) as t
  where t.operation = 'TRACK'
  order by t.table_name collate "C";
$function$;
comment on function _tracked_tables is 'The tables that are tracked now.';

create function _history_needed_from() returns bigint
language sql stable
set search_path from current
as $function$
  select min(t.since) from _tracked_tables() as t;
$function$;
comment on function _history_needed_from is
  'The first entry of table_changes that a tracked table still needs; null if none is tracked. Retention asks it.';

create function _history_name(name text) returns text
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  parts    text[];
  matches  text[];
begin
  begin
    parts := parse_ident(name);
  exception when invalid_parameter_value then
    parts := null;
  end;
  if cardinality(parts) = 2 then
    matches := array(select _qualified_name(parts[1], parts[2])
                   where exists (select from only table_changes as c
                                 where c.table_name = _qualified_name(parts[1], parts[2])));
  elsif cardinality(parts) = 1 then
    matches := array(select distinct c.table_name::text from only table_changes as c
                   where c.operation in ('TRACK', 'TRUNCATE', 'UNTRACK')
                     and (parse_ident(c.table_name))[2] = parts[1]);
  end if;
  if cardinality(matches) is distinct from 1 then
    raise exception '% has no history', coalesce(name, 'NULL')
      using errcode = '42P01', table = coalesce(name, 'NULL'),
            hint = coalesce(
              'Name one of these, with its schema: '
              || (select string_agg(t.table_name, ', ') from _tracked_tables() as t) || '.',
              'No table is tracked. Begin with select track_table(''schema.table'').');
  end if;
  return matches[1];
end
$function$;
comment on function _history_name is
  'The name under which table_changes has a table, which may be gone; raises 42P01 if it has no history. A name '
  'without a schema does if only one fits.';

create function _tracked_or_error(name text) returns text
language plpgsql stable
set search_path from current
as $function$
declare
  known  text := _history_name(name);
begin
  if not exists (select from _tracked_tables() as t where t.table_name = known) then
    raise exception '% is not tracked any more', known
      using errcode = '42P01', table = known,
            hint = 'Begin again with select track_table(…). Its history can still be read.';
  end if;
  return known;
end
$function$;
comment on function _tracked_or_error is 'As _history_name; raises 42P01 for a table that is not tracked now, too.';

create function _replayed(table_name text, after_id bigint, through_id bigint, without text[])
returns table (key jsonb, entry_id bigint, row_data jsonb, is_there boolean, is_contradicted boolean)
language sql stable
set search_path from current
set row_security = off
as $function$
  with entries as (
    select c.id, c.key, m.sign, jsonb_strip_nulls(m.row_data) - without as row_data
    from only table_changes as c
    cross join lateral (values (1, c.new_row), (-1, c.old_row)) as m(sign, row_data)
    where c.table_name = _replayed.table_name and c.id > after_id and c.id <= through_id
      and c.key is not null and m.row_data is not null
  ), contents as (
    select e.key, e.row_data, sum(e.sign) as net, max(e.id) filter (where e.sign = 1) as entry_id, max(e.id) as last_id
    from entries as e
    group by e.key, e.row_data
  )
  select distinct on (c.key) c.key, coalesce(c.entry_id, c.last_id), c.row_data, sum(c.net) over k > 0,
         sum(c.net) over k not in (0, 1) or min(c.net) over k < 0
  from contents as c
  window k as (partition by c.key)
  order by c.key, c.net > 0 desc, c.entry_id desc nulls last;
$function$;
comment on function _replayed is
  'What a table held after an entry of table_changes, by those between: for each key the entry by which its row came, '
  'the row without nulls and without some columns, whether the key holds a row, and whether entries contradict each '
  'other.';

create function _complete_entry(moment timestamptz) returns bigint
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  low      bigint;
  high     bigint;
  probe    record;
  writer   bigint;
begin
  select coalesce(min(c.id), 1) - 1, coalesce(max(c.id), 0) into low, high from only table_changes as c;
  while low < high loop  -- the last entry up to that moment: times never decrease
    select c.id, c.created_at into probe from only table_changes as c
    where c.id >= (low + high + 1) / 2 order by c.id limit 1;
    if probe.created_at <= moment then
      low := probe.id;
    else
      high := (low + high + 1) / 2 - 1;
    end if;
  end loop;
  -- Not in the middle of a transaction.
  select c.transaction_id into writer from only table_changes as c where c.id = low;
  select c.transaction_id into probe from only table_changes as c where c.id > low order by c.id limit 1;
  if writer = probe.transaction_id then
    select coalesce(max(c.id), 0) into low from only table_changes as c where c.id < low and c.transaction_id <> writer;
  end if;
  return low;
end
$function$;
comment on function _complete_entry is
  'The last entry of table_changes by a transaction all of whose entries are from that moment or earlier.';
