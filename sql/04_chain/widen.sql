-- A text column that must take longer values
--
-- An exchange lists a longer symbol, and from then on every signal about it is refused (AUD-012). widen_column makes
-- the column longer, and nothing else: it records the state of the guards itself, so it must not bless what anybody
-- changed. It compares the guards before, and afterwards exactly one fact may differ, the type of that column.
--
-- What hangs on the column needs no change. A row's text does not contain the length (columns.sql). The types of
-- 09_write/results.sql have none. PostgreSQL keeps indexes, because a longer varchar is stored as before, and checks
-- constraints again. Our views show text. But PostgreSQL changes no column that a view reads, so each view of ours
-- says for a moment that it is empty, and then again what it said. It stays the same object all the time, with its
-- rights, its comments and the views that others made of it.
--
-- A lockdown does not refuse it, because no row changes, and because an order event must still be recorded then.
--
-- It calls what later chapters make: verify_guards, guards_since and record_guards (06_guards), and _record_maintenance
-- (08_lockdown/events.sql).

create function _refuse_users_of_column(relation regclass, column_number smallint) returns void
language plpgsql
set search_path from current
as $function$
declare
  users  text;
begin
  -- What PostgreSQL refuses, too, but one at a time and with its internal name.
  select string_agg(u.name, ', ' order by u.name) into users
  from (
    select distinct case when w.rulename = '_RETURN' then format('view %s', w.ev_class::regclass)
                         else pg_describe_object(d.classid, d.objid, d.objsubid) end as name
    from pg_depend as d
    join pg_class as t on t.oid = d.refobjid
    left join pg_rewrite as w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
    where d.refclassid = 'pg_class'::regclass and d.refobjid = relation and d.refobjsubid = column_number
      and d.classid in ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass,
                        'pg_publication_rel'::regclass)
      and not exists (select from pg_class as v
                      where v.oid = w.ev_class and v.relkind = 'v' and w.rulename = '_RETURN'
                        and v.relnamespace = t.relnamespace and v.relowner = t.relowner)) as u;
  if users is not null then
    raise exception 'the column is used by %', users
      using errcode = '2BP01',
            detail = 'PostgreSQL does not change the type of a column that these use.',
            hint = 'Drop them, call widen_column again, and make them again, all in one transaction.';
  end if;
end
$function$;
comment on function _refuse_users_of_column is
  'Raises 2BP01 if something that is not ours keeps the type of a column: a view, a rule, a policy, a function.';

create function _set_column_length(table_name text, relation regclass, column_name text, length integer) returns void
language plpgsql
set search_path from current
as $function$
declare
  item     record;
  restore  text := '';
begin
  -- The views are locked before the table, as whoever reads one locks them.
  for item in
    select v.oid, v.relname, pg_get_viewdef(v.oid) as query,
           coalesce(format('with (%s)', array_to_string(v.reloptions, ', ')), '') as options,
           (select string_agg(format('null::%s as %I', format_type(a.atttypid, a.atttypmod), a.attname), ', '
                              order by a.attnum)
            from pg_attribute as a where a.attrelid = v.oid and a.attnum > 0 and not a.attisdropped) as nothing
    from pg_class as v
    where v.relkind = 'v'
      and exists (select from pg_rewrite as w
                  join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
                  join pg_attribute as c on c.attrelid = d.refobjid and c.attnum = d.refobjsubid
                  where w.ev_class = v.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = relation
                    and c.attname = column_name)
    order by v.relname
  loop
    execute format('create or replace view %I %s as select %s where false', item.relname, item.options, item.nothing);
    restore := restore || format('create or replace view %I %s as %s;', item.relname, item.options,
                                 rtrim(item.query, ';'));
  end loop;
  execute format('alter table %I alter column %I type varchar(%s)', table_name, column_name, length);
  execute restore;
  execute format('analyze %I (%I)', table_name, column_name);  -- another type has no statistics
end
$function$;
comment on function _set_column_length is
  'Gives a varchar column another length, and takes the views of ours that show it out of the way meanwhile.';

-- SECURITY DEFINER for the same reason as chain_extend.
create function widen_column(table_name text, column_name text, length integer) returns integer
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  -- 500 characters of 4 bytes fit an index, whose entries end at 2,704 bytes. A longer one would be taken here, and
  -- refused when the row arrives.
  longest   constant integer := 500;
  reason    text := btrim(coalesce(current_setting('alpha.maintenance', true), ''));
  place     text := table_name || '.' || column_name;
  relation  regclass;
  stored  record;
  change    text;
  problem   text;
begin
  perform _require_primary('widen_column');
  if table_name is null or column_name is null or length is null then
    raise exception 'widen_column needs a table, a column and a length'
      using errcode = '22023', hint = 'For example: select widen_column(''signals'', ''symbol'', 40).';
  end if;
  -- A kill threshold names what a signal names, so its asset becomes as long as a symbol.
  if table_name <> 'risk_asset_kill_thresholds' and (_chain_or_error(table_name)).is_internal then
    raise exception '% is a table of alpha-db itself', table_name
      using errcode = '22023', detail = 'Its texts keep their lengths.',
            hint = format('Choose one of %s.', (select string_agg(c.table_name, ', ' order by c.position)
                                                from only chains as c where not c.is_internal));
  end if;
  if reason = '' then
    perform _refuse(
      'AUD-011', format('widen_column on %s refused', place), 'alpha.maintenance gives no reason.',
      'Say why, in the same transaction: begin; set local alpha.maintenance = ''the reason''; … commit. '
      'maintenance_events records it.', 'protected object', 'DDL');
  end if;
  lock table only lock_migrations in share update exclusive mode;
  relation := format('%I.%I', current_schema(), table_name)::regclass;
  select a.attnum, a.atttypid, a.atttypmod - 4 as length, format_type(a.atttypid, a.atttypmod) as type into stored
  from pg_attribute as a
  where a.attrelid = relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
  if not found then
    raise exception '% has no column %', table_name, quote_ident(column_name)
      using errcode = '42703', hint = 'Give the column that AUD-012 names.';
  elsif stored.atttypid <> 'varchar'::regtype or stored.length < 0 then
    raise exception '% is %, not a varchar with a length', place, stored.type
      using errcode = '42804', hint = 'Only a varchar can be widened. A text takes any length.';
  elsif length <= stored.length or length > longest then
    raise exception '% is %, and cannot become varchar(%)', place, stored.type, length
      using errcode = '22023',
            hint = case when stored.length >= longest then 'It is as long as a column may be. '
                                                             'Keep the value outside, and record its hash.'
                        else format('Give a length from %s to %s.', stored.length + 1, longest) end;
  end if;

  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from verify_guards() as g limit 1;
  if found then
    raise exception 'AUD-011: % cannot be widened, because the guards are not as installed: %', place, problem
      using errcode = 'AUD11',
            hint = 'List the changes: select * from verify_guards(). '
                   'Undo them, or accept them: select record_guards(''reason'').';
  end if;
  perform _refuse_users_of_column(relation, stored.attnum);
  perform _set_column_length(table_name, relation, column_name, length);
  -- What else differs was changed meanwhile, by somebody or by what was done here.
  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from guards_since((select max(s.id) from only guard_states as s)) as g
  where (g.object_kind, g.object_name, g.fact, g.found)
        is distinct from ('column', place, 'type', format('character varying(%s)', length))
  limit 1;
  if found then
    raise exception 'AUD-011: % was not widened, because that would change another guard: %', place, problem
      using errcode = 'AUD11', hint = 'Call widen_column again. If it says the same, the change is not safe here.';
  end if;

  change := format('%s from varchar(%s) to varchar(%s)', place, stored.length, length);
  perform _record_maintenance(reason, 'widen_column', change);
  perform record_guards(format('widen_column: %s', change));
  return stored.length;
end
$function$;
comment on function widen_column is
  'Makes a varchar column of the audit log longer, records that in maintenance_events, and accepts the new length as '
  'the guard. Returns the length before. Only the owner may, with a reason in alpha.maintenance.';
