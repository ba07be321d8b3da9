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
comment on function _grants_text is 'An access list in words, without the owner''s own rights: a row for each grantee, * for grant option.';

create function _collation_text(collation_oid oid) returns text
language sql stable
set search_path from current
as $function$
  select concat(case when n.nspname in ('pg_catalog', current_schema()) then '' else n.nspname || '.' end, c.collname, ' of ',
                case c.collprovider when 'd' then 'the database' when 'c' then 'libc' when 'i' then 'icu' when 'b' then 'PostgreSQL'
                                    else c.collprovider::text end,
                case when c.collisdeterministic then '' else ', not deterministic' end)
  from pg_collation as c join pg_namespace as n on n.oid = c.collnamespace
  where c.oid = collation_oid;
$function$;
comment on function _collation_text is
  'A collation by name, with its provider, and whether it takes different texts for equal ones.';

create function _switches_off(name text, value text) returns boolean
language sql immutable
set search_path from current
as $function$
  select case name
    when 'session_replication_role'      then value <> 'origin'           -- ordinary triggers do not fire
    when 'default_transaction_read_only' then value not in ('off', 'false', 'no', '0')  -- nothing is recorded
    when 'event_triggers'                then value not in ('on', 'true', 'yes', '1')   -- 17: the DDL guard does not fire
    when 'row_security'                  then value not in ('on', 'true', 'yes', '1')
    when 'standard_conforming_strings'   then value not in ('on', 'true', 'yes', '1')   -- literals mean something else
    when 'log_min_messages'              then value in ('fatal', 'panic')  -- refusals leave no line in the server's log
    when 'allow_system_table_mods'       then value not in ('off', 'false', 'no', '0')
    when 'ignore_system_indexes'         then value not in ('off', 'false', 'no', '0')
    when 'ignore_checksum_failure'       then value not in ('off', 'false', 'no', '0')
    when 'zero_damaged_pages'            then value not in ('off', 'false', 'no', '0')
    -- A path is the operator's right, unless somebody's objects stand in front of PostgreSQL's own.
    when 'search_path' then value ~ ',[[:space:]]*"?pg_catalog"?[[:space:]]*(,|$)' or value ~ '^[[:space:]]*"?pg_temp"?[[:space:]]*(,|$)'
    else false end;
$function$;
comment on function _switches_off is
  'Whether a setting of a database, a role or the server switches off what protects the log.';

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
  if (select count(distinct q.found[2]) from regexp_matches(said, quoted || E'\\m([a-z_0-9]+)[.]', 'g') as q(found)) < 2 then
    said := regexp_replace(said, quoted || E'\\m[a-z_0-9]+[.]', E'\\1', 'g');
  end if;
  return said;
end
$function$;
comment on function _view_text is
  'What a view says, the same on every version of PostgreSQL: brackets, literals and names count, blanks do not.';
