-- What the database adds to a delivery, and what it leaves out
--
-- The hash and the size are those of all bytes that arrived, also of a body too large to keep. Whoever passes all
-- headers on need not think of the credentials among them: they are not stored.

create function _receive_webhook() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  credentials  constant text := '^(http_)?((set[-_])?cookie2?|(proxy[-_])?authorization)$';
  form         text := jsonb_typeof(new.headers);
begin
  new.body_size := octet_length(new.raw_body);
  new.body_sha256 := encode(sha256(new.raw_body), 'hex');
  if new.body_size > 1048576 then
    new.raw_body := substr(new.raw_body, 1, 4096);
  end if;
  if form = 'array' and not exists (
       select from jsonb_array_elements(new.headers) as p(pair)
       where jsonb_typeof(p.pair) <> 'array' or jsonb_array_length(p.pair) <> 2
          or jsonb_typeof(p.pair -> 0) <> 'string') then
    new.headers := coalesce(
      (select jsonb_object_agg(h.name, case when cardinality(h.said) = 1 then h.said[1] else to_jsonb(h.said) end)
       from (select p.pair ->> 0 as name, array_agg(p.pair -> 1 order by p.place) as said
             from jsonb_array_elements(new.headers) with ordinality as p(pair, place) group by 1) as h), '{}');
  elsif form not in ('object', 'null') then
    -- Without the value, in which there may be credentials.
    raise exception 'headers must be a JSON object, not %', case form when 'array' then 'this array' else form end
      using errcode = '22023', column = 'headers', table = tg_argv[0],
            hint = 'Pass {"name": "value", …}, or an array of pairs [["name", "value"], …].';
  end if;
  new.headers := nullif(new.headers, 'null') - array(
    select k.name from jsonb_object_keys(case when form <> 'null' then new.headers end) as k(name)
    where k.name ~* credentials);
  return new;
end
$function$;
comment on function _receive_webhook is
  'Row trigger of webhook_deliveries: computes the size and the SHA-256 of the body, keeps the first 4,096 bytes of '
  'one over 1 MiB, makes an object of headers that came as pairs, and removes cookies and authorization from them. '
  'Raises 22023. Argument: table.';
