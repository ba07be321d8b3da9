-- What the database adds to a delivery, and what it leaves out
--
-- The hash and the size are those of all bytes that arrived, also of a body too large to keep (attach.sql). Whoever
-- passes all headers on need not think of the credentials among them: they are not stored.

create function _kept_headers(table_name text, headers jsonb) returns jsonb
language plpgsql
set search_path from current
as $function$
declare
  credentials  constant text := '^(http_)?((set[-_])?cookie2?|(proxy[-_])?authorization)$';
  form         text := jsonb_typeof(headers);
begin
  if form = 'array' and not exists (
       select from jsonb_array_elements(headers) as p(pair)
       where jsonb_typeof(p.pair) <> 'array' or jsonb_array_length(p.pair) <> 2
          or jsonb_typeof(p.pair -> 0) <> 'string') then
    headers := coalesce(
      (select jsonb_object_agg(h.name, case when cardinality(h.said) = 1 then h.said[1] else to_jsonb(h.said) end)
       from (select p.pair ->> 0 as name, array_agg(p.pair -> 1 order by p.place) as said
             from jsonb_array_elements(headers) with ordinality as p(pair, place) group by 1) as h), '{}');
  elsif form not in ('object', 'null') then
    -- Without the value, in which there may be credentials.
    raise exception 'headers must be a JSON object, not %', case form when 'array' then 'this array' else form end
      using errcode = '22023', column = 'headers', table = table_name,
            hint = 'Pass {"name": "value", …}, or an array of pairs [["name", "value"], …].';
  end if;
  return nullif(headers, 'null') - array(
    select k.name from jsonb_object_keys(case when form <> 'null' then headers end) as k(name)
    where k.name ~* credentials);
end
$function$;
comment on function _kept_headers is
  'A delivery''s headers as an object, also if they came as pairs, without cookies and authorization. Raises 22023.';
