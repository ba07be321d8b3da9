-- PUBLIC gets nothing: the last statement of each migration calls this.

create function _revoke_from_public() returns void
language plpgsql
set search_path from current
as $function$
declare
  home   constant oid := quote_ident(current_schema())::regnamespace;
  owner  constant oid := quote_ident(_owner_role())::regrole;
  item   record;
begin
  for item in
    select p.oid::regprocedure::text as name, case p.prokind when 'p' then 'procedure' else 'function' end as kind
    from pg_proc as p
    cross join lateral _grants_text(coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner) as g
    where p.pronamespace = home and p.proowner = owner and g.grantee = 'PUBLIC'
    union all
    select format('%I', t.typname), 'type'
    from pg_type as t
    cross join lateral _grants_text(coalesce(t.typacl, acldefault('T', t.typowner)), t.typowner) as g
    where t.typnamespace = home and t.typowner = owner and g.grantee = 'PUBLIC'
      -- not the row types of tables, because a dump does not carry their rights
      and t.typcategory <> 'A' and (t.typtype in ('d', 'e', 'r')
                                    or (select c.relkind from pg_class as c where c.oid = t.typrelid) = 'c')
  loop
    execute format('revoke all on %s %s from public', item.kind, item.name);
  end loop;
end
$function$;
comment on function _revoke_from_public is
  'Takes from PUBLIC what CREATE FUNCTION, CREATE DOMAIN and CREATE TYPE give it by default, on all objects of the '
  'owner role in this schema.';
