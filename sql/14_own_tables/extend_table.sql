-- A column that came later
--
-- The table's DBA adds a column with ALTER TABLE, and calls extend_table in the same transaction. Rows from then on are
-- hashed with it; what the older ones hold there is recorded (chain_extend). Like widen_column it records the guards
-- itself, so only the facts of the new columns may differ before, and nothing else may after it.

create function extend_table(table_name text) returns text[]
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  relation  regclass;
  added     text[];
  problem   text;
begin
  perform _require_primary('extend_table');
  if not (_chain_or_error(table_name)).is_own then
    raise exception '% is a table of alpha-db itself', quote_ident(table_name)
      using errcode = '42809', table = table_name, hint = 'Name a table that chain_table put under the chain.';
  end if;
  lock table only lock_migrations in share update exclusive mode;
  perform _require_chain(table_name);
  execute format('lock table only %I in share row exclusive mode', table_name);
  relation := quote_ident(table_name)::regclass;
  added := array(
    select h.column_name from _hashed_columns(table_name) as h
    where h.column_name <> all ((select c.column_names from only chain_columns as c
                                 where c.table_name = extend_table.table_name order by c.id desc limit 1)::text[])
    order by h.place);
  perform _refuse_to_chain(table_name, _why_not_its_code(relation));
  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from verify_guards() as g
  where not (g.object_kind = 'column' and g.problem = 'extra'
             and g.object_name in (select extend_table.table_name || '.' || a.name from unnest(added) as a(name)))
  limit 1;
  if found then
    raise exception 'AUD-011: % was not extended, because the guards are not as installed: %', relation, problem
      using errcode = 'AUD11',
            hint = 'List the changes: select * from verify_guards(). '
                   'Undo them, or accept them: select record_guards(''reason'').';
  end if;
  if added <> '{}' then
    perform chain_extend(table_name);
    perform record_guards(format('extend_table %s: %s', table_name, array_to_string(added, ', ')));
  end if;
  return added;
end
$function$;
comment on function extend_table is
  'Covers the columns that were added to a table of the users: newer rows are hashed with them, older ones stay '
  'verifiable. Accepts these columns as guards, and returns their names. Only the owner may.';
