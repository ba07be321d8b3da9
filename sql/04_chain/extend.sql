-- A chained table that changes
--
-- A migration may add columns at the end of a chained table, and calls chain_extend then. Older rows stay as they were
-- hashed. chain_columns records with which columns a range of rows was hashed, and what every older row holds in a
-- column that came later, so that an edit there is found too. rows.sql reads rows by it. chain_limit changes how long a
-- row may be.

-- SECURITY DEFINER, so that a superuser may call it, although _050_owner_only admits only the owner.
create function chain_extend(table_name text) returns void
language plpgsql security definer
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
as $function$
declare
  known    text[];
  present  text[];
  tail_id  bigint;
begin
  perform _require_primary('chain_extend');
  perform _chain_or_error(table_name);
  execute format('lock table only %I in share update exclusive mode', 'lock_' || table_name);
  select array_agg(h.column_name order by h.place) into present from _hashed_columns(table_name) as h;
  select c.column_names into known from only chain_columns as c
  where c.table_name = chain_extend.table_name order by c.id desc limit 1;
  if present = known then
    return;
  end if;
  if present[1:cardinality(known)] <> known then
    raise exception 'chain of %: columns may only be added at the end', table_name
      using errcode = '55000', table = table_name,
            detail = format('Hashed so far: %s. Present: %s.',
                            array_to_string(known, ', '), array_to_string(present, ', '));
  end if;
  if exists (select from pg_attribute as a
             where a.attrelid = format('%I.%I', current_schema(), table_name)::regclass and a.attgenerated <> '') then
    raise exception 'chain of %: a generated column is computed after the row was hashed', table_name
      using errcode = '0A000', table = table_name, hint = 'Make it an ordinary column, and let the writer compute it.';
  end if;
  execute format('select coalesce(max(t.id), 0) from only %I as t', table_name) into tail_id;
  perform _chain_generate(table_name);
  insert into chain_columns (table_name, from_id, column_names, older_values)
  values (table_name, tail_id + 1, present, _older_values(table_name, present[cardinality(known) + 1:]));
end
$function$;
comment on function chain_extend is
  'Covers the columns that a migration added to a chained table: newer rows are hashed with them, older ones stay '
  'verifiable. No effect if there are none.';

create function _older_values(table_name text, added text[]) returns jsonb
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  older         jsonb := '{}';
  added_column  text;
  variants      bigint;
  sample        jsonb;
begin
  foreach added_column in array coalesce(added, '{}') loop
    execute _fill($query$
      select count(distinct v.printed), min(v.printed)::jsonb
      from only {table:I} as t cross join lateral (select coalesce(to_jsonb(t.{column:I}), 'null')::text) as v(printed)
      $query$, 'table', table_name, 'column', added_column)
      into variants, sample;
    if variants > 1 then
      raise exception 'chain of %: older rows hold different values in the new column %', table_name, added_column
        using errcode = '55000', table = table_name,
              detail = 'What older rows hold in a new column is recorded once for all of them.',
              hint = 'Add the column without a default, or with a constant one.';
    end if;
    older := older || jsonb_build_object(added_column, coalesce(sample, 'null'));
  end loop;
  return older;
end
$function$;
comment on function _older_values is
  'What all rows of a table hold in the columns that were added: {column: value}. Raises 55000 if they differ. Empty '
  'for a new chain. Prints as its caller, chain_extend, has set.';

-- SECURITY DEFINER for the same reason as chain_extend.
create function chain_limit(table_name text, row_limit bigint) returns void
language plpgsql security definer
set search_path from current
as $function$
begin
  perform _require_primary('chain_limit');
  perform _chain_or_error(table_name);
  if row_limit is null or row_limit not between 65536 and 134217728 then
    raise exception 'a row may print to 65,536 bytes at least and 134,217,728 at most, not to %',
      coalesce(row_limit::text, 'NULL')
      using errcode = '22023', hint = 'Give a number between them. The default is 16777216 (16 MiB).';
  end if;
  execute format('lock table only %I in share update exclusive mode', 'lock_' || table_name);
  update only chains as c set row_limit = chain_limit.row_limit where c.table_name = chain_limit.table_name;
  perform _chain_generate(table_name);
end
$function$;
comment on function chain_limit is
  'Sets how many bytes the long values of a table''s row may print to before AUD-012 refuses it. A changed guard until '
  'record_guards accepts it. Only the owner may, with alpha.maintenance set.';
