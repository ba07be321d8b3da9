-- Recording a webhook before it is read
--
-- The row is written whatever the body holds. What the caller gets beside it is the body as jsonb, or why it is none.
-- Call append_webhook (append.sql) where the delivery is acknowledged: when it returns, the bytes are on disk.

create function _read_json(raw_body bytea, out body jsonb, out body_problem text)
language plpgsql immutable
set search_path from current
as $function$
declare
  said    text;
  digits  numeric;
  detail  text;
begin
  -- A byte order mark is no part of the text; RFC 8259 lets a reader pass over it.
  said := convert_from(case when encode(substr(raw_body, 1, 3), 'hex') = 'efbbbf' then substr(raw_body, 4)
                            else raw_body end, 'UTF8');
  -- jsonb prints 1e131071 with all its digits: a body of 100 kB would be an answer of 1 GB.
  if said ~ '[0-9][eE][-+]?0*[1-9][0-9]{2}' then
    select sum(n.exponent[1]::numeric) into digits
    from regexp_matches(regexp_replace(said, E'"(?:[^"\\\\]|\\\\.)*"', '', 'g'),
                        '[0-9][eE][-+]?0*([1-9][0-9]{2,})', 'g') as n(exponent);
    if digits > 16777216 then
      body_problem := 'its numbers would print to more than 16777216 digits';
      return;
    end if;
  end if;
  body := said::jsonb;
exception when data_exception or program_limit_exceeded then
  -- No text in UTF-8; no JSON; or JSON that jsonb cannot hold: \u0000, half a surrogate pair, nested too deep.
  get stacked diagnostics detail = pg_exception_detail;
  body_problem := concat_ws(': ', sqlerrm, nullif(detail, ''));
end
$function$;
comment on function _read_json is 'The bytes as jsonb, or why they are none.';

create function record_webhook(
  raw_body       bytea,
  source_ip      inet     default null,
  content_type   text     default null,
  headers        jsonb    default null,
  signature      text     default null,
  hmac_verified  boolean  default false
) returns recorded_webhook
language plpgsql
set search_path from current
as $function$
declare
  stored  recorded_webhook;
begin
  insert into webhook_deliveries as d (source_ip, content_type, headers, raw_body, signature, hmac_verified)
  values (record_webhook.source_ip, record_webhook.content_type, record_webhook.headers,
          coalesce(record_webhook.raw_body, ''), record_webhook.signature,
          coalesce(record_webhook.hmac_verified, false))
  returning d.id, null, null, d.body_size = octet_length(d.raw_body), d.body_size, d.body_sha256, d.row_hash,
            d.created_at, d.recorded_by, true
  into stored;
  if stored.body_size = 0 then
    stored.body_problem := 'the body is empty';
  elsif stored.is_whole then
    select j.body, j.body_problem into stored.body, stored.body_problem from _read_json(raw_body) as j;
  else
    stored.body_problem := format(
      'the body has %s bytes; of one over 1048576 only the SHA-256, the size and the first 4096 bytes are kept',
      stored.body_size);
  end if;
  return stored;
end
$function$;
comment on function record_webhook is
  'Records a delivery, whatever its bytes are, and returns its id, and the body as jsonb or why it is none. Every call '
  'is a row, also for the same bytes. Open also in a lockdown. Raises AUD-012.';
