-- Texts that stay the same when a dump gives every object a new oid, and when a newer PostgreSQL prints it otherwise.
-- What differs between versions is evened out here or, where it is one line, beside the fact that it concerns.

create function _grants_text(acl aclitem[], owner oid)
returns table (grantee text, privileges text)
language sql stable
set search_path from current
as $function$
  select coalesce(r.rolname::text, 'PUBLIC'),
         string_agg(a.privilege_type || case when a.is_grantable then '*' else '' end, ', ' order by a.privilege_type)
  from aclexplode(acl) as a
  left join pg_roles as r on r.oid = a.grantee
  where a.grantee <> owner
  group by 1;
$function$;
comment on function _grants_text is
  'An access list in words, without the owner''s own rights: a row for each grantee, * for grant option.';

create function _collation_text(collation_oid oid) returns text
language sql stable
set search_path from current
as $function$
  select concat(case when n.nspname in ('pg_catalog', current_schema()) then '' else n.nspname || '.' end, c.collname,
                ' of ',
                case c.collprovider when 'd' then 'the database' when 'c' then 'libc' when 'i' then 'icu'
                                    when 'b' then 'PostgreSQL' else c.collprovider::text end,
                case when c.collisdeterministic then '' else ', not deterministic' end)
  from pg_collation as c join pg_namespace as n on n.oid = c.collnamespace
  where c.oid = collation_oid;
$function$;
comment on function _collation_text is
  'A collation by name, with its provider, and whether it takes different texts for equal ones.';

create function _view_text(view_oid oid) returns text
language plpgsql stable
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  -- a literal or a quoted name, which stays as it is, or …
  quoted  constant text := '(''(?:[^'']|'''')*''|"(?:[^"]|"")*")|';
  said    text := regexp_replace(pg_get_viewdef(view_oid), quoted || '[[:space:]]+', E'\\1 ', 'g');
begin
  -- Versions differ in blanks, and in whether they name the only relation of a view before its columns.
  if (select count(distinct q.found[2])
      from regexp_matches(said, quoted || E'\\m([a-z_0-9]+)[.]', 'g') as q(found)) < 2 then
    said := regexp_replace(said, quoted || E'\\m[a-z_0-9]+[.]', E'\\1', 'g');
  end if;
  return said;
end
$function$;
comment on function _view_text is
  'What a view says, the same on every version of PostgreSQL: brackets, literals and names count, blanks do not.';
