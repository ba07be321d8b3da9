-- Taking in a table's rows
--
-- A table that becomes a chain gets the columns that it lacks: id, created_at, recorded_by, row_hash. Its rows then
-- stand in the chain as if they had been written now, in this order:
--
--   with an id column      by id, which must count 1, 2, 3 without a gap
--   without                by created_at, if there is one, and by primary key. id numbers them so.
--
-- created_at and recorded_by, where they are new, hold when the table was chained and which login did that. The first
-- entry in chain_columns says from_id = n + 1: so everybody can see that rows 1 to n were taken in, and did not come
-- one by one.
--
-- A hash needs the one before it. So this is a loop over the rows in their order, which prints each row once, and
-- writes the hashes in bundles: an UPDATE by ctid needs no look-up. A million rows take some 20 s; the old versions of
-- the rows stay until VACUUM.

create function _add_chain_columns(table_name text) returns boolean
language plpgsql
set search_path from current
as $function$
declare
  relation    regclass := quote_ident(table_name)::regclass;
  has_id      boolean;
  is_filled   boolean;
  key         text;
begin
  select exists (select from pg_attribute as a where a.attrelid = relation and a.attname = 'id'
                 and not a.attisdropped) into has_id;
  if not has_id then
    select i.indexrelid::regclass::text into key from pg_index as i where i.indrelid = relation and i.indisprimary;
    execute format('select exists (select from only %I)', table_name) into is_filled;
    if key is null and is_filled then
      perform _refuse_to_chain(table_name, array[
        '55000', 'it holds rows and has neither an id nor a primary key, so nobody knows which came first',
        format('Number them yourself: alter table %s add id bigserial primary key takes them as they lie in the file.',
               relation)]);
    end if;
    execute format('alter table %I add column id bigint', table_name);
    execute format('comment on column %I.id is %L', table_name, 'Position in the chain.');
  end if;
  -- A constant, so that PostgreSQL need not rewrite the table.
  if not exists (select from pg_attribute as a where a.attrelid = relation and a.attname = 'created_at'
                 and not a.attisdropped) then
    execute _fill($alter$
      alter table {table:I} add column created_at timestamptz not null default {now:L};
      alter table {table:I} alter column created_at drop default;
      comment on column {table:I}.created_at is 'When the row was recorded; of a row that was taken in, when that was.';
      $alter$, 'table', table_name, 'now', clock_timestamp()::text);
  end if;
  if not exists (select from pg_attribute as a where a.attrelid = relation and a.attname = 'recorded_by'
                 and not a.attisdropped) then
    execute _fill($alter$
      alter table {table:I} add column recorded_by text not null default {login:L};
      alter table {table:I} alter column recorded_by drop default;
      comment on column {table:I}.recorded_by is
        'The login that recorded the row; of a row that was taken in, the one that did that.';
      $alter$, 'table', table_name, 'login', session_user::text);
  end if;
  execute format('alter table %I add column row_hash char(64)', table_name);
  execute format('comment on column %I.row_hash is %L', table_name, 'SHA-256 of the previous row_hash and this row.');
  return has_id;
end
$function$;
comment on function _add_chain_columns is
  'Adds what a table lacks to be a chain; whether it had an id before. Raises 55000 if its rows have no order.';

create function _rows_to_take_in_sql(table_name text, has_id boolean) returns text
language sql stable
set search_path from current
as $function$
  -- The columns go by number until the row is printed, because any name may be one of theirs.
  select _fill($query$
    select n.place, n.number, n.created_at, convert_to(row_to_json(e.*)::text, 'UTF8') as row_bytes
    from (select t.ctid as place, {number:s} as number, t.created_at, {numbered:s} from only {table:I} as t) as n
    cross join lateral (select {named:s}) as e
    order by n.number
    $query$,
    'table', table_name,
    'number', case when has_id then 't.id' else format(
      'row_number() over (order by %s)',
      (select concat_ws(', ', 't.created_at', string_agg(format('t.%I', a.attname), ', ' order by k.place))
       from pg_index as i
       cross join lateral unnest(i.indkey::smallint[]) with ordinality as k(attnum, place)
       join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
       where i.indrelid = quote_ident(table_name)::regclass and i.indisprimary)) end,
    'numbered', string_agg(format('t.%I as c%s', h.column_name, h.place), ', ' order by h.place),
    'named', string_agg(format('n.%I as %I', case when h.column_name = 'id' then 'number'
                                                  else 'c' || h.place end, h.column_name), ', ' order by h.place))
  from _hashed_columns(table_name) as h;
$function$;
comment on function _rows_to_take_in_sql is
  'Text of the query for the rows of a table that becomes a chain: where each lies, its number, and its row_data.';

create function _take_in_rows(table_name text, has_id boolean) returns bigint
language plpgsql
set search_path from current
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
-- so that a bundle is found by ctid
set enable_hashjoin = off set enable_mergejoin = off
as $function$
declare
  bundle     constant integer := 10000;
  place      tid;
  number     bigint;
  recorded   timestamptz;
  row_bytes  bytea;
  link       bytea := decode(chain_genesis(table_name), 'hex');
  row_count  bigint := 0;
  latest     timestamptz := '-infinity';
  places     tid[] := '{}';
  numbers    bigint[] := '{}';
  hashes     text[] := '{}';
  storing    text := _fill($query$
    update only {table:I} as t set row_hash = h.row_hash {number:s}
    from unnest($1, $2, $3) as h(place, number, row_hash) where t.ctid = h.place$query$,
    'table', table_name, 'number', case when has_id then '' else ', id = h.number' end);
begin
  for place, number, recorded, row_bytes in execute _rows_to_take_in_sql(table_name, has_id) loop
    row_count := row_count + 1;
    if number <> row_count then
      perform _refuse_to_chain(table_name, array[
        '55000', format('its ids are not 1, 2, 3 without a gap: row %s has the id %s', row_count, number),
        format('Rename the column, and the chain adds its own: alter table %I rename id to ….', table_name)]);
    elsif not isfinite(recorded) or recorded < latest then
      perform _refuse_to_chain(table_name, array[
        '55000', format('created_at of row %s is earlier than that of the row before it, or no time', row_count),
        format('Rename the column, and the chain adds its own: alter table %I rename created_at to ….', table_name)]);
    end if;
    latest := recorded;
    link := sha256(link || row_bytes);
    places := places || place;
    numbers := numbers || number;
    hashes := hashes || encode(link, 'hex');
    if cardinality(places) = bundle then
      execute storing using places, numbers, hashes;
      places := '{}';
      numbers := '{}';
      hashes := '{}';
      if row_count % 100000 = 0 then
        raise notice '% rows of % are in the chain', row_count, table_name;
      end if;
    end if;
  end loop;
  execute storing using places, numbers, hashes;
  if _ahead_of_clock(latest) is not null then
    perform _refuse_to_chain(table_name, array[
      '55000', 'created_at: ' || _ahead_of_clock(latest),
      format('Rename the column, and the chain adds its own: alter table %I rename created_at to ….', table_name)]);
  end if;
  return row_count;
end
$function$;
comment on function _take_in_rows is
  'Links the rows that a table holds into its chain, in the order of their numbers; returns how many they are. Raises '
  '55000 for a gap in the ids or a time that goes back.';

create function _complete_chain_columns(table_name text, has_id boolean) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute format('alter table %I alter column row_hash set not null', table_name);
  if not has_id then
    execute format('alter table %I alter column id set not null, add %s (id)', table_name,
                   case when exists (select from pg_index as i where i.indrelid = quote_ident(table_name)::regclass
                                     and i.indisprimary) then 'unique' else 'primary key' end);
  end if;
end
$function$;
comment on function _complete_chain_columns is
  'Makes the columns of a new chain not null, and an id that it added its key.';
