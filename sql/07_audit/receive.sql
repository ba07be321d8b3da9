-- What the database adds to a delivery, and what it leaves out
--
-- The hash and the size are those of all bytes that arrived, also of a body too large to keep. Whoever passes all
-- headers on need not think of the credentials among them: they are not stored.

create function _receive_webhook() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  credentials constant text := '^(http_)?((set[-_])?cookie2?|(proxy[-_])?authorization)$';
begin
  new.body_size := octet_length(new.raw_body);
  new.body_sha256 := encode(sha256(new.raw_body), 'hex');
  if new.body_size > 1048576 then
    new.raw_body := substr(new.raw_body, 1, 4096);
  end if;
  if jsonb_typeof(new.headers) = 'object' then
    new.headers := new.headers - array(select k.name from jsonb_object_keys(new.headers) as k(name)
                                       where k.name ~* credentials);
  end if;
  return new;
end
$function$;
comment on function _receive_webhook is
  'Row trigger of webhook_deliveries: computes the size and the SHA-256 of the body, keeps the first 4,096 bytes of '
  'one over 1 MiB, and removes cookies and authorization from the headers. Argument: table.';
