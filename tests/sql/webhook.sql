-- record_webhook, append_webhook, vw_unprocessed_deliveries: whatever arrives is kept, byte for byte, and says whether it can be read.

set role app_trading;
\set signal '''11111111-1111-4111-8111-111111111111'''

--
-- JSON is returned as jsonb. What arrives twice is two deliveries; of duplicate keys jsonb keeps the last, the bytes keep both.
--
select id, body, body_problem, is_whole, body_size, is_new
from record_webhook('{"ticker": "BTCUSD", "price": 64123.550}', '52.89.214.238', 'application/json', signature => 'sha256=ab', hmac_verified => true);
select id, body, is_new from record_webhook('{"ticker": "BTCUSD", "price": 64123.550}', '52.89.214.238', 'application/json');
select id, body from record_webhook('{"price": 1, "price": 2}');
select id, body from record_webhook('"a text is JSON, too"');
select id, body from record_webhook('null');
select id, convert_from(raw_body, 'UTF8') as raw_body, body_sha256 = encode(sha256(raw_body), 'hex') as is_its_hash, signature, hmac_verified
from webhook_deliveries order by id;

--
-- A byte order mark before JSON is passed over, and kept.
--
select id, body, body_size from record_webhook(E'\\xefbbbf7b7d');

--
-- What is no JSON is recorded as well, and says why it is none.
--
select id, body, body_problem, is_whole from record_webhook('BUY BTCUSD @ market', content_type => 'text/plain');
select id, body, body_problem from record_webhook('{"ticker": "BTCUSD"');
select id, body, body_problem from record_webhook('');
select id, body, body_problem, body_size from record_webhook(null);
-- Half an emoji: as bytes, and escaped. An escaped NUL, which jsonb cannot hold, and a NUL.
select id, body, body_problem from record_webhook(E'\\x7b2261223a2022f09f227d');
select id, body, body_problem from record_webhook(convert_to('{"a": "\ud83d"}', 'UTF8'));
select id, body, body_problem from record_webhook(convert_to('{"a": "\u0000"}', 'UTF8'));
select id, body, body_problem from record_webhook(E'\\x7b7d00');
-- A number that no numeric can hold, and nesting that is deeper than the server's stack.
select id, body, body_problem from record_webhook('{"price": 1e200000}');
select id, body, body_problem, body_size from record_webhook(convert_to(repeat('[', 500000) || repeat(']', 500000), 'UTF8'));

--
-- A body of 1 MiB is kept whole. Of one byte more, the hash, the size and the first 4,096 bytes are kept.
--
select id, body is not null as is_json, is_whole, body_size from record_webhook(convert_to('"' || repeat('x', 1048574) || '"', 'UTF8'));
select id, body, body_problem, is_whole, body_size from record_webhook(convert_to('"' || repeat('x', 1048575) || '"', 'UTF8'));
select id, body_size, octet_length(raw_body) as kept,
       body_sha256 = encode(sha256(convert_to('"' || repeat('x', 1048575) || '"', 'UTF8')), 'hex') as is_the_hash_of_all
from webhook_deliveries order by id desc limit 1;

--
-- Headers are an object. Cookies and credentials are left out, whatever is passed.
--
select id from record_webhook('{}', headers => '{"X-Request-Id": "7", "Cookie": "a=b", "set-cookie": "c", "AUTHORIZATION": "Basic x",
                                                 "Proxy-Authorization": "y", "HTTP_COOKIE": "z", "http_authorization": "t"}');
select headers from webhook_deliveries order by id desc limit 1;
select id from record_webhook('{}', headers => '["Cookie: a=b"]');
-- The size and the hash are computed, whatever the writer says.
insert into webhook_deliveries (raw_body, body_size, body_sha256) values ('abc', 7, repeat('0', 64)) returning body_size, body_sha256 = encode(sha256('abc'), 'hex') as is_its_hash;

--
-- append_webhook returns when the bytes are on disk. A signal says which delivery it was made of.
--
call append_webhook('{"ticker": "BTCUSD"}', '52.89.214.238');
select id, delivery_id from record_signal('tv-1', 'BTCUSD', 'BUY', 1, 1, '{}', delivery_id => 1);
select id from record_signal('tv-2', 'BTCUSD', 'BUY', 1, 1, '{}', delivery_id => 99);

--
-- Deliveries that no signal was made of. The second one is a repetition of the first.
--
select id, repeats, body_size from vw_unprocessed_deliveries order by id limit 3;

--
-- What has arrived stays as it arrived.
--
reset role;
update webhook_deliveries set raw_body = '{}' where id = 1;
delete from webhook_deliveries where id = 1;
truncate webhook_deliveries cascade;
select verdict from verify_range('webhook_deliveries');

--
-- Numbers that would print to megabytes are not printed, but kept. Headers may come as pairs; credentials are left out of
-- them, too. Headers of another form are refused without being shown.
--
select id, body, body_problem from record_webhook(convert_to('[' || repeat('1e131071,', 999) || '1]', 'UTF8'));
select id, body, body_problem from record_webhook(convert_to('{"hash": "4e12345", "n": 1e3}', 'UTF8'));
select id as pairs from record_webhook('{}', headers => '[["Authorization", "s"], ["X-A", "1"], ["X-B", "1"], ["X-B", "2"]]') \gset
select headers from webhook_deliveries where id = :pairs;
select record_webhook('{}', headers => '["Authorization: s"]');
