-- Code of others in a table of alpha_owner
--
-- A chained table belongs to alpha_owner. PostgreSQL runs some of a table's code as its owner, whoever caused it: the
-- expressions of an index when the table is rewritten, reindexed or analyzed, those of a statistics object, the
-- operators by which a foreign key compares. And the chain trigger, which runs as the owner, checks a domain when it
-- assigns to a column. So everything that a table's checks, defaults, indexes and domains call must belong to
-- PostgreSQL itself, to a superuser or to alpha_owner: otherwise the owner of a function in a CHECK could become the
-- owner of the log.
--
-- pg_depend names what an expression uses, and leaves out what PostgreSQL brought along.

create function _foreign_code(relation regclass) returns table (kind text, identity text, owner_name text)
language sql stable
set search_path from current
as $function$
  with recursive domains (oid) as (
    select t.oid from pg_attribute as a join pg_type as t on t.oid = a.atttypid and t.typtype = 'd'
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
    union
    select b.oid from domains as d join pg_type as t on t.oid = d.oid join pg_type as b on b.oid = t.typbasetype
    where b.typtype = 'd'
  ), parts (classid, objid) as (
    select 'pg_class'::regclass::oid, relation::oid
    union all
    select 'pg_class'::regclass, i.indexrelid from pg_index as i where i.indrelid = relation
    union all
    select 'pg_constraint'::regclass, k.oid
    from pg_constraint as k
    where relation in (k.conrelid, k.confrelid) or k.contypid in (select d.oid from domains as d)
    union all
    select 'pg_attrdef'::regclass, d.oid from pg_attrdef as d where d.adrelid = relation
    union all
    select 'pg_statistic_ext'::regclass, x.oid from pg_statistic_ext as x where x.stxrelid = relation
    union all
    select 'pg_type'::regclass, d.oid from domains as d
  ), used (classid, objid, owner) as (
    select d.refclassid, d.refobjid, coalesce(f.proowner, t.typowner, o.oprowner, c.opcowner, y.opfowner, l.collowner)
    from parts as p
    join pg_depend as d on d.classid = p.classid and d.objid = p.objid
    left join pg_proc as f on d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid
    left join pg_type as t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
    left join pg_operator as o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
    left join pg_opclass as c on d.refclassid = 'pg_opclass'::regclass and c.oid = d.refobjid
    left join pg_opfamily as y on d.refclassid = 'pg_opfamily'::regclass and y.oid = d.refobjid
    left join pg_collation as l on d.refclassid = 'pg_collation'::regclass and l.oid = d.refobjid
  )
  select i.type, i.identity, pg_get_userbyid(u.owner)::text
  from (select distinct n.* from used as n) as u
  cross join lateral pg_identify_object(u.classid, u.objid, 0) as i
  where u.owner <> (select c.relowner from pg_class as c where c.oid = 'installation'::regclass)
    and not exists (select from pg_roles as r where r.oid = u.owner and r.rolsuper)
  order by i.type, i.identity;
$function$;
comment on function _foreign_code is
  'What a table''s checks, defaults, indexes, foreign keys and domains use that belongs neither to PostgreSQL, a '
  'superuser nor the owner role, with its owner.';

create function _why_not_its_code(relation regclass) returns text[]
language sql stable
set search_path from current
as $function$
  select array['42501', format('it uses the %s %s of %s, which would run with the rights of %s', f.kind, f.identity,
                               quote_ident(f.owner_name), quote_ident(_owner_role())),
               format('Read it. If it is safe, run alter %s %s owner to %I.', f.kind, f.identity, _owner_role())]
  from _foreign_code(relation) as f limit 1;
$function$;
comment on function _why_not_its_code is
  'Names code of others that would run with the owner role''s rights, as {SQLSTATE, problem, hint}; null if there is '
  'none.';

-- Who may make a trigger on a table runs code as whoever writes it, and who may refer to it can keep its rows.
create function _revoke_changes(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  grantee  text;
begin
  for grantee in
    select distinct case when g.grantee = 'PUBLIC' then 'public' else quote_ident(g.grantee) end
    from pg_class as c
    cross join lateral (select c.relacl as acl
                        union all
                        select a.attacl from pg_attribute as a where a.attrelid = c.oid and a.attacl is not null) as r
    cross join lateral _grants_text(r.acl, c.relowner) as g
    where c.oid = quote_ident(table_name)::regclass
  loop
    execute format('revoke update, delete, truncate, references, trigger on %I from %s cascade', table_name, grantee);
    if current_setting('server_version_num')::integer >= 170000 then
      execute format('revoke maintain on %I from %s cascade', table_name, grantee);
    end if;
  end loop;
end
$function$;
comment on function _revoke_changes is
  'Takes from everybody but the owner what a chained table refuses anyway, and the right to make a trigger on it.';
