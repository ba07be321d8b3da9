-- Guard facts about our relations: tables, sequences, views and their columns.

create function _relation_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'relation', r.relname::text, f.fact, f.value
  from unnest(relations) as r
  join pg_class as c on c.oid = r.oid
  cross join lateral (values
    ('kind', c.relkind::text),
    ('owner', pg_get_userbyid(c.relowner)::text),
    ('persistence', concat(c.relpersistence, ' in ' || (select m.amname from pg_am as m
                                                        where m.oid = c.relam and m.oid <> 2))),
    ('row security', case when c.relkind not in ('S', 'c') then
       concat_ws(', ', case when c.relrowsecurity then 'on' end,
                       case when c.relforcerowsecurity then 'forced' end) end),
    ('options', case when c.relkind not in ('S', 'c') then coalesce(array_to_string(c.reloptions, ', '), '') end),
    -- Flags in the catalogue without which PostgreSQL does not look for triggers, CHECKs and indexes.
    ('triggers are seen', case when c.relkind not in ('S', 'c') then
       (c.relhastriggers or not exists (select from pg_trigger as t where t.tgrelid = c.oid))::text end),
    ('checks are seen', case when c.relkind = 'r' and c.relchecks <> (
       select count(*) from pg_constraint as k where k.conrelid = c.oid and k.contype = 'c') then 'false' end),
    ('indexes are seen', case when c.relkind = 'r' and not c.relhasindex and exists (
       select from pg_index as x where x.indrelid = c.oid) then 'false' end)
  ) as f(fact, value)
  where f.value is not null
  union all
  -- What a subscription writes meets no trigger that is not ALWAYS: neither the chain nor the lockdown.
  select r.chain, 'relation', r.relname::text, 'subscription ' || s.subname,
         case when s.subenabled then 'enabled' else 'disabled' end
  from unnest(relations) as r
  join pg_subscription_rel as w on w.srrelid = r.oid
  join pg_subscription as s on s.oid = w.srsubid
  union all
  select r.chain, 'relation', r.relname::text, 'is ' || k.what, 'yes'
  from unnest(relations) as r join _kept_elsewhere() as k on k.oid = r.oid
  union all
  select r.chain, 'relation', r.relname::text, 'child ' || i.inhrelid::regclass::text, 'yes'
  from unnest(relations) as r join pg_inherits as i on i.inhparent = r.oid
  union all
  select r.chain, 'relation', r.relname::text, 'parent ' || i.inhparent::regclass::text, 'yes'
  from unnest(relations) as r join pg_inherits as i on i.inhrelid = r.oid
  union all
  select r.chain, 'relation', r.relname::text, 'policy ' || p.polname, 'yes'
  from unnest(relations) as r join pg_policy as p on p.polrelid = r.oid
  union all
  select r.chain, 'relation', r.relname::text, 'rule ' || w.rulename, 'yes'
  from unnest(relations) as r join pg_rewrite as w on w.ev_class = r.oid
  where w.rulename <> '_RETURN' or r.relkind <> 'v';
$function$;
comment on function _relation_facts is
  'Guard facts: what each relation is, and whose; policies, rules, children and parents; another engine that '
  'keeps its rows.';

create function _sequence_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'relation', r.relname::text, 'sequence',
         format('%s, start %s, increment %s, from %s to %s, cache %s%s%s', format_type(q.seqtypid, null), q.seqstart,
                q.seqincrement, q.seqmin, q.seqmax, q.seqcache, case when q.seqcycle then ', cycles' else '' end,
                (select ', owned by ' || c.relname || '.' || a.attname
                 from pg_depend as d
                 join pg_class as c on c.oid = d.refobjid
                 join pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                 where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
                   and d.deptype in ('a', 'i') and d.refobjsubid > 0))
  from unnest(relations) as r join pg_sequence as q on q.seqrelid = r.oid;
$function$;
comment on function _sequence_facts is 'Guard facts: how each sequence counts, and which column owns it.';

create function _view_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'relation', r.relname::text, f.fact, f.value
  from unnest(relations) as r
  cross join lateral (values
    ('definition', encode(sha256(convert_to(_view_text(r.oid), 'UTF8')), 'hex')),
    ('depends on', coalesce((
       select string_agg(distinct case
                when c.oid is null then (
                  select replace(i.identity, quote_ident(home.nspname) || '.', '')
                  from pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) as i)
                else concat(case when c.relnamespace <> r.relnamespace then n.nspname || '.' end,
                            c.relname, '.' || a.attname) end, ', ')
       from _guard_home() as home
       join pg_rewrite as w on w.ev_class = r.oid and w.rulename = '_RETURN'
       -- Until 15, a view depends on itself.
       join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.deptype = 'n'
                          and (d.refclassid, d.refobjid) <> ('pg_class'::regclass, r.oid)
       left join pg_class as c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid
       left join pg_namespace as n on n.oid = c.relnamespace
       left join pg_attribute as a on a.attrelid = c.oid and a.attnum = d.refobjsubid and d.refobjsubid <> 0), ''))
  ) as f(fact, value)
  where r.relkind = 'v';
$function$;
comment on function _view_facts is 'Guard facts: what each view says, and which columns and functions it says it of.';

create function _column_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'column', r.relname || '.' || a.attname, f.fact, f.value
  from unnest(relations) as r
  join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef as d on d.adrelid = r.oid and d.adnum = a.attnum
  cross join lateral (values
    ('type', format_type(a.atttypid, a.atttypmod)),
    ('not null', a.attnotnull::text),
    ('default', coalesce(pg_get_expr(d.adbin, d.adrelid), '')),
    ('generated', a.attidentity::text || a.attgenerated::text),
    -- one that does not tell two keys apart, or sorts them otherwise
    ('collation', case when a.attcollation not in (0, 100) then _collation_text(a.attcollation) end)
  ) as f(fact, value)
  where r.relkind in ('r', 'p', 'c') and f.value is not null
  union all
  select r.chain, 'column', r.relname || '.' || a.attname, 'type', format_type(a.atttypid, a.atttypmod)
  from unnest(relations) as r
  join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  where r.relkind = 'v'
  union all
  select r.chain, 'column', r.relname || '.' || a.attname, 'grant to ' || g.grantee, g.privileges
  from unnest(relations) as r
  join pg_attribute as a on a.attrelid = r.oid and not a.attisdropped and a.attacl is not null
  cross join lateral _grants_text(a.attacl, r.relowner) as g;
$function$;
comment on function _column_facts is
  'Guard facts: type, default, collation and rights of each column. Its NOT NULL is one on every version.';
