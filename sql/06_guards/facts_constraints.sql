-- Guard facts about what checks and what fires: constraints, indexes and triggers of our relations.

create function _constraint_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'constraint', r.relname || '.' || c.conname, f.fact, f.value
  from unnest(relations) as r
  -- A NOT NULL, which 18 makes a constraint, is a fact of its column.
  join pg_constraint as c on c.conrelid = r.oid and c.contype <> 'n'
  cross join lateral (values
    ('definition', pg_get_constraintdef(c.oid)),
    ('enforced', concat_ws(', ', case when c.convalidated then 'validated' end,
                           case when coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true) then 'enforced' end,
                           case when c.condeferrable then 'deferrable' end)),
    ('triggers', case when c.contype = 'f' or c.condeferrable then
       coalesce((select string_agg(distinct t.tgenabled::text, '')
                 from pg_trigger as t where t.tgconstraint = c.oid), '') else '' end)
  ) as f(fact, value);
$function$;
comment on function _constraint_facts is 'Guard facts: what each constraint says, and whether it is enforced.';

create function _index_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'index', i.relname::text, f.fact, f.value
  from unnest(relations) as r
  join pg_index as x on x.indrelid = r.oid
  join pg_class as i on i.oid = x.indexrelid
  join pg_am as m on m.oid = i.relam
  cross join lateral (values
    ('columns', r.relname || '(' || coalesce((
       select string_agg(coalesce(a.attname::text, 'expression'), ', ' order by k.place)
       from unnest(x.indkey::smallint[]) with ordinality as k(attnum, place)
       left join pg_attribute as a on a.attrelid = r.oid and a.attnum = k.attnum and k.attnum > 0), '') || ')'),
    ('properties', concat_ws(', ',
       case when x.indisunique then 'unique' end,
       case when x.indisvalid then 'valid' end,
       'partial: ' || pg_get_expr(x.indpred, x.indrelid),
       'expressions: ' || pg_get_expr(x.indexprs, x.indrelid),
       case when x.indnullsnotdistinct then 'nulls not distinct' end,
       case when not x.indisready then 'not ready' end,
       case when not x.indislive then 'dead' end,
       case when not x.indimmediate then 'deferrable' end,
       case when m.amname <> 'btree' then m.amname end,
       case when x.indoption::text ~ '[1-9]' then 'order ' || x.indoption::text end,
       case when x.indcollation::text ~ '(^| )(?!(0|100)( |$))' then
         (select string_agg('collation ' || _collation_text(k.coll), ', ' order by k.place)
          from unnest(x.indcollation::oid[]) with ordinality as k(coll, place) where k.coll <> 0) end,
       (select string_agg('operators ' || n.nspname || '.' || k.opcname, ', ' order by u.place)
        from unnest(x.indclass::oid[]) with ordinality as u(class, place)
        join pg_opclass as k on k.oid = u.class
        join pg_namespace as n on n.oid = k.opcnamespace
        where not (k.opcdefault and n.nspname = 'pg_catalog'))))
  ) as f(fact, value);
$function$;
comment on function _index_facts is
  'Guard facts: the columns of each index, and everything that decides which rows it finds.';

create function _trigger_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'trigger', r.relname || '.' || t.tgname, f.fact, f.value
  from unnest(relations) as r
  join pg_trigger as t on t.tgrelid = r.oid and not t.tgisinternal
  join pg_proc as p on p.oid = t.tgfoid
  join pg_namespace as n on n.oid = p.pronamespace
  cross join lateral (values
    ('function', case when n.oid = r.relnamespace then '' else n.nspname || '.' end || p.proname || '('
       || array_to_string(string_to_array(rtrim(encode(t.tgargs, 'escape'), E'\\000'), E'\\000'), ', ') || ')'),
    ('timing', concat(t.tgtype,
       case when t.tgqual is not null then
         ' when ' || substring(pg_get_triggerdef(t.oid) from ' WHEN (.*) EXECUTE FUNCTION ') end,
       case when t.tgattr::text <> '' then
         ' of ' || (select string_agg(a.attname::text, ', ' order by a.attnum) from pg_attribute as a
                    where a.attrelid = r.oid and a.attnum = any (t.tgattr::smallint[])) end)),
    ('enabled', case t.tgenabled when 'O' then 'origin' when 'A' then 'always' when 'R' then 'replica'
                                 else 'disabled' end)
  ) as f(fact, value);
$function$;
comment on function _trigger_facts is
  'Guard facts: what each trigger on our relations calls, when, and whether it is enabled; even if '
  'somebody else made it.';

create function _event_trigger_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'event trigger', e.evtname::text, f.fact, f.value
  from _guard_home() as home
  join pg_event_trigger as e on e.evtname in (left('alpha_ddl_guard_end_' || home.nspname, 63),
                                              left('alpha_ddl_guard_drop_' || home.nspname, 63))
  join pg_proc as p on p.oid = e.evtfoid
  cross join lateral (values
    ('event', e.evtevent::text),
    ('owner', pg_get_userbyid(e.evtowner)::text),
    ('enabled', case e.evtenabled when 'O' then 'origin' when 'A' then 'always' when 'R' then 'replica'
                                  else 'disabled' end),
    ('function', p.proname || ' of ' || pg_get_userbyid(p.proowner) || ' ' || encode(sha256(convert_to(
       p.prosrc || coalesce((select k.prosrc from pg_proc as k
                             where k.pronamespace = p.pronamespace and k.proname = 'check_command'), ''),
       'UTF8')), 'hex'))
  ) as f(fact, value);
$function$;
comment on function _event_trigger_facts is
  'Guard facts: the DDL guard of superuser/ddl_guard.sql, if it is installed.';
