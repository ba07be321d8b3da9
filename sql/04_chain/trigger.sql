create function _chain_generate(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  chain       chains := _chain_or_error(table_name);
  columns     text;
  attributes  text;
  known_types text;
  other_types text;
  variables   text;
  printing    text;
  total       text;
  rounding    text;
  settings    text := '';
  lockdown    text := '';
  unhashed    text;
  described   record;
begin
  -- Only types whose JSON text depends on nothing, or on settings that are pinned here.
  select string_agg(h.column_name || ' ' || h.type_name, ', ') into unhashed
  from _hashed_columns(table_name) as h
  where h.type_name not in ('int2', 'int4', 'int8', 'numeric', 'text', 'varchar', 'bpchar', 'bool', 'uuid', 'json', 'jsonb',
                            'inet', 'cidr', 'date', 'timestamp', 'timestamptz', 'bytea', 'float4', 'float8', 'interval');
  if unhashed is not null then
    raise exception 'chain of %: no stable text for %', table_name, unhashed
      using errcode = '0A000', hint = 'Use text, numeric, jsonb or another plain type.';
  end if;
  -- What is hashed is what is stored. Values that may be long are printed before the lock is taken, whatever their type. The others
  -- go into the hashed row as they are: without a length, because a cast to varchar(20) cuts without a word.
  select string_agg(case when h.is_bounded then format('new.%I', h.column_name) else format('printed_%s', h.place) end, ', ' order by h.place),
         string_agg(format('%I %s', h.column_name, case when h.is_bounded then h.base_type else 'json' end), ', ' order by h.place),
         array_agg(case when h.is_bounded then h.declared_type end order by h.place)::text,
         string_agg(format('pg_typeof(new.%I) <> %L::regtype', h.column_name, h.declared_type::text), E'\n     or ' order by h.place)
           filter (where h.is_bounded),
         coalesce(string_agg(format(E'  printed_%s json;\n', h.place), '' order by h.place) filter (where not h.is_bounded), ''),
         -- A jsonb value of 100 kB may print to more than PostgreSQL can hold, one of less than 64 kB cannot.
         coalesce(string_agg(format(
           E'  if pg_column_size(new.%2$I) < 65536 and pg_column_compression(new.%2$I) is null then\n'
           '    printed_%1$s := to_json(new.%2$I);\n'
           '  elsif new.%2$I is not null then\n'
           '    printed_%1$s := _print_large(new.%2$I, tg_argv[0], %3$s);\n'
           '  end if;\n', h.place, h.column_name, chain.row_limit), '' order by h.place) filter (where not h.is_bounded), ''),
         string_agg(format('coalesce(pg_column_size(printed_%s), 0)', h.place), ' + ' order by h.place) filter (where not h.is_bounded),
         coalesce(string_agg(format(E'  new.%1$I := round(new.%1$I, %2$s);\n', h.column_name, h.decimal_scale), '')
                  filter (where h.decimal_scale is not null), '')
      || case when bool_or(h.column_name = 'recorded_by') then E'  new.recorded_by := session_user;\n' else '' end,
         case when bool_or(h.type_name = 'bytea')              then E'set bytea_output = ''hex''\n' else '' end
      || case when bool_or(h.type_name in ('float4','float8')) then E'set extra_float_digits = 1\n' else '' end
      || case when bool_or(h.type_name = 'interval')           then E'set intervalstyle = ''postgres''\n' else '' end
    into columns, attributes, known_types, other_types, variables, printing, total, rounding, settings
  from (select c.*, row_number() over () as place from _hashed_columns(table_name) as c) as h;
  if total is not null then
    printing := printing || format(E'  if %s > %s then\n    perform _refuse_large_row(tg_argv[0], %s, %s);\n  end if;\n',
                                   total, chain.row_limit, total, chain.row_limit);
  end if;

  -- Asked at every row, because the alarm may be raised at any moment; equal, also both null, means that there is none.
  if not chain.open_in_lockdown then
    lockdown := E'  if pg_sequence_last_value(''lockdown_alarm''::regclass) is distinct from pg_sequence_last_value(''lockdown_lifted''::regclass) then\n'
             || E'    perform _refuse_in_lockdown(tg_argv[0]);\n'
             || E'  end if;\n';
  end if;
  -- A row type with a name makes row_to_json a plain expression, which costs half of a query.
  if to_regtype(quote_ident('hashed_' || table_name)) is not null then
    execute format('drop type %I', 'hashed_' || table_name);
  end if;
  execute format('create type %I as (%s)', 'hashed_' || table_name, attributes);
  execute format('comment on type %I is %L', 'hashed_' || table_name,
                 format('The columns of %s that its row_hash covers, in the order in which row_data prints them.', table_name));
  for described in select h.column_name from _hashed_columns(table_name) as h loop
    execute format('comment on column %I.%I is %L', 'hashed_' || table_name, described.column_name,
                   format('As %s.%s.', table_name, described.column_name));
  end loop;
  -- Generated for each table, so that the path of every insert has neither dynamic SQL nor catalogue look-ups.
  execute format($template$
create or replace function %1$I() returns trigger
language plpgsql security definer
set search_path = %2$I, pg_temp
set timezone = 'UTC'
set enable_seqscan = off  -- a plan made while the table was empty must not read it whole later
%3$sas $chain$
#variable_conflict use_variable
declare
  hint             bigint;
  tail_id          bigint;
  tail_hash        text;
  tail_created_at  timestamptz;
  mark             bigint;
%13$sbegin
  if tg_relid <> %12$L::regclass then
    perform _refuse_other_relation(tg_argv[0], tg_relid);
  end if;
  if %14$s then
    perform _refuse_other_types(tg_argv[0], %15$L);
  end if;
%9$s%16$s  lock table only %4$I in share update exclusive mode;
  if pg_sequence_last_value(%5$L::regclass) is distinct from txid_current() then
    -- The transaction's first row, or others have had the lock since its last one.
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
      perform _admit_writer(tg_argv[0], %5$L);
    end if;
    mark := setval(%5$L::regclass, txid_current());
  end if;
%8$s  hint := pg_sequence_last_value(%6$L::regclass);
  select t.id, t.row_hash, t.created_at into tail_id, tail_hash, tail_created_at
  from only %7$I as t where t.id >= hint order by t.id desc limit 1;
  if tail_id is null then  -- an empty table, or the hint is of rows that were rolled back
    select t.id, t.row_hash, t.created_at into tail_id, tail_hash, tail_created_at
    from only %7$I as t order by t.id desc limit 1;
    if not found then
      tail_id := 0;
      tail_hash := chain_genesis(tg_argv[0]);
    end if;
  end if;
  new.id := setval(%6$L::regclass, tail_id + 1);
  new.created_at := greatest(clock_timestamp(), tail_created_at);
  new.row_hash := encode(sha256(decode(tail_hash, 'hex') || convert_to(
    row_to_json(row(%10$s)::%11$I)::text, 'UTF8')), 'hex');
  return new;
end
$chain$
$template$,
    'chain_' || table_name, current_schema(), settings, 'lock_' || table_name,
    quote_ident('writer_' || table_name), quote_ident('tail_' || table_name), table_name,
    lockdown, rounding, columns, 'hashed_' || table_name, quote_ident(table_name),
    variables, other_types, known_types, printing);
  execute format('comment on function %I() is %L', 'chain_' || table_name,
                 format('Row trigger of %s: takes the chain''s lock, assigns id, created_at and row_hash. Made by _chain_generate.', table_name));
  execute format('revoke all on function %I() from public', 'chain_' || table_name);
end
$function$;
comment on function _chain_generate is 'Writes the chain trigger function of a table for the columns that it has now.';
