-- What a chain must have before anything is read from it
--
-- A chain that is gone is no empty chain. Whatever reads a chain looks here first, and gets the chain's entry or an
-- error:
--
--   chain_genesis      what stands in the place of a previous hash in row 1
--   _require_register  the register itself, the table chains
--   _chain_or_error    the entry of a chain; 42P01 if there is none
--   _missing_part      what of the table is gone, in words
--   _require_chain     the entry; AUD-009 if the table or a hashed column is gone
--   _sees_every_row    no row-level security hides rows
--   _ahead_of_clock    whether the last row's time has not come yet
--
-- _missing_part reads guard_states (06_guards/states.sql), once that is there.

create function chain_genesis(table_name text) returns text
language sql immutable strict
set search_path from current
as $function$
  select encode(sha256(convert_to('alpha-db/chain/v1/' || chain_genesis.table_name, 'UTF8')), 'hex');
$function$;
comment on function chain_genesis is 'The previous hash of a table''s row 1, in hex.';

create function _require_register() returns void
language plpgsql stable
set search_path from current
as $function$
begin
  if to_regclass(format('%I.chains', current_schema())) is null then
    raise exception 'AUD-009: the register of the chains is gone: there is no table chains in schema %',
      current_schema()
      using errcode = 'AUD09', detail = 'It says which tables are chained, so nothing can be verified without it.',
            hint = 'Restore schema and data from a dump: docs/operations.md.';
  end if;
end
$function$;
comment on function _require_register is 'Raises AUD-009 if the table chains itself was dropped or renamed.';

create function _chain_or_error(table_name text) returns chains
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  chain chains;
begin
  select * into chain from only chains as c where c.table_name = _chain_or_error.table_name;
  if not found then
    raise exception '% is not a chained table', coalesce(quote_ident(table_name), 'NULL')
      using errcode = '42P01',
            hint = format('The chained tables are: %s.',
                          (select string_agg(c.table_name, ', ' order by c.position) from only chains as c));
  end if;
  return chain;
end
$function$;
comment on function _chain_or_error is 'The entry of a chained table; raises 42P01 if there is none.';

create function _missing_part(table_name text) returns text
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  relation  regclass := to_regclass(format('%I.%I', current_schema(), table_name));
  kind      text := (select c.relkind from pg_class as c where c.oid = relation);
  needed    text[] := '{id,created_at,row_hash}';
  lost      text[];
begin
  if relation is null then
    return format('the table %s is not there: it was dropped, renamed or moved to another schema', table_name);
  elsif kind <> 'r' then
    return format('%s is not an ordinary table any more, but %s', table_name,
                  case kind when 'v' then 'a view'
                            when 'm' then 'a materialized view'
                            when 'p' then 'a partitioned table'
                            when 'f' then 'a foreign table'
                            else 'something else' end);
  end if;
  if to_regclass(format('%I.chain_columns', current_schema())) is not null then
    needed := needed || array(select distinct u.name
                              from only chain_columns as c cross join lateral unnest(c.column_names) as u(name)
                              where c.table_name = _missing_part.table_name);
  end if;
  lost := array(select n.name from unnest(needed) as n(name)
                where not exists (select from pg_attribute as a
                                  where a.attrelid = relation and a.attname = n.name
                                    and a.attnum > 0 and not a.attisdropped));
  -- An entry of chain_columns may be forged: only what some state of the guards saw was ever there.
  if lost <> '{}' and not lost && '{id,created_at,row_hash}'
     and to_regclass(format('%I.guard_states', current_schema())) is not null then
    lost := array(select l.name from unnest(lost) as l(name)
                  where exists (select from only guard_states as g
                                where g.facts @> jsonb_build_array(
                                                   jsonb_build_array('column', table_name || '.' || l.name, 'type'))));
  end if;
  if lost <> '{}' then
    return format('%s has lost what its rows were hashed with: %s', table_name, array_to_string(lost, ', '));
  end if;
  return null;
end
$function$;
comment on function _missing_part is
  'What of a chained table is gone, in words: the table itself, or columns that its rows were hashed with. Null if '
  'nothing is.';

create function _require_chain(table_name text) returns chains
language plpgsql stable
set search_path from current
as $function$
declare
  chain    chains := _chain_or_error(table_name);
  missing  text := _missing_part(table_name);
begin
  if missing is not null then
    raise exception 'AUD-009: %', missing
      using errcode = 'AUD09', table = table_name, detail = 'Evidence is read from it, so none can be given.',
            hint = 'Restore the table from a dump: docs/operations.md. alpha-db verify-chain verifies all others.';
  end if;
  return chain;
end
$function$;
comment on function _require_chain is
  'The entry of a chained table; raises 42P01 if there is none, and AUD-009 if the table or a column of it is gone.';

create function _sees_every_row(table_names text[]) returns boolean
language plpgsql immutable
set search_path from current
as $function$
declare
  name text;
begin
  -- IMMUTABLE, so that it is asked when a query is planned: a policy that lets no row through makes a plan that asks
  -- nothing any more. What could change the answer (ALTER TABLE, SET ROLE, row_security) makes PostgreSQL plan again.
  foreach name in array table_names loop
    if row_security_active(quote_ident(name)) then
      raise exception 'row-level security of % would hide rows from %', name, current_user
        using errcode = '42501', table = name,
              detail = 'The audit log is read whole or not at all.',
              hint = format('Let its owner run: alter table %I disable row level security', name);
    end if;
  end loop;
  return true;
end
$function$;
comment on function _sees_every_row is
  'True, or raises 42501 if row-level security would hide rows of one of these tables from the caller. Views ask it, '
  'which can pin no setting.';

create function _ahead_of_clock(moment timestamptz) returns text
language sql volatile
set search_path from current
set intervalstyle = 'postgres'
as $function$
  -- Ten seconds are what two servers, one after the other, may differ by.
  select format('the last row is %s ahead of the server''s clock', date_trunc('second', moment - c.now)::text)
  from (select clock_timestamp() as now) as c
  where isfinite(moment) and moment > c.now + interval '10 seconds';
$function$;
comment on function _ahead_of_clock is
  'Says that the last row of a chain bears a time that has not come: a clock was wrong. Null within ten seconds. '
  'Later rows get that time, too, until the clock has passed it.';
