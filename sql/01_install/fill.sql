-- Templates with names
--
-- Some SQL is written once for each table: the chain triggers, the queries that verify a chain. Such a text is a
-- template that reads as the SQL it becomes, and _fill puts the names and values in:
--
--   execute _fill($query$
--     select t.row_hash from only {table:I} as t where t.id >= {first:L} and {condition:s}
--   $query$, 'table', table_name, 'first', first_id::text, 'condition', 'true');
--
--   {name:I}  an identifier, quoted where it must be
--   {name:L}  a literal; NULL for null
--   {name:s}  SQL as it stands: only for text that the code has made itself
--
-- What a value contains is never read as a placeholder. Other braces ('{a,b}', {64}, {}) and % stay as they are, so a
-- template may call format() itself. Short statements with one or two values use format() and need no names.

create function _fill(template text, variadic names_and_values text[]) returns text
language plpgsql immutable
set search_path from current
as $function$
declare
  filled  text := replace(template, '%', '%%');
  before  text;
begin
  -- {table:I} becomes %2$I, if its value is the second element: then format() does the rest in one pass.
  for place in 1 .. cardinality(names_and_values) by 2 loop
    before := filled;
    filled := regexp_replace(filled, format('[{]%s:([ILs])[}]', names_and_values[place]),
                             E'%' || place + 1 || E'$\\1', 'g');
    if filled = before then
      raise exception 'the template has no placeholder {%}', names_and_values[place] using errcode = '22023';
    end if;
  end loop;
  if filled ~ '[{][a-z_]+:[ILs][}]' then
    raise exception 'the template lacks a value: %', substring(filled from '[{][a-z_]+:[ILs][}]')
      using errcode = '22023';
  end if;
  return format(filled, variadic names_and_values);
end
$function$;
comment on function _fill is
  'The template with its placeholders filled in: {name:I} an identifier, {name:L} a literal, {name:s} SQL as it '
  'stands.';

-- A procedure that commits can pin no search_path: each name in it is qualified.
create function _create_at_home(template text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute _fill(template, 'home', current_schema());
end
$function$;
comment on function _create_at_home is
  'Creates what a template says, with {home:I} filled in: the schema of this installation.';
