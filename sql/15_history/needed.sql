-- Which part of the history is still needed

create function _history_needed_from() returns bigint
language sql stable
set search_path from current
as $function$
  select null::bigint;
$function$;
comment on function _history_needed_from is
  'The lowest row of table_changes that the history of a tracked table still needs; null if none does.';
