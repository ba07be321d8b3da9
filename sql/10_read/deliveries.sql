-- Deliveries that became no signal: what the application could not read, has not read yet, or refused.
--
-- A worker that died between the delivery and its signal left one here, so a restart goes through this view. A delivery
-- that was sent again is listed, too, because no signal was made of it; repeats says so.

create view vw_unprocessed_deliveries with (security_invoker = true) as
select
  d.id, d.created_at, d.source_ip, d.content_type, d.headers, d.raw_body, d.body_size, d.body_sha256, d.signature,
  d.hmac_verified, d.recorded_by, r.first_id as repeats
from only webhook_deliveries as d
left join (
  select p.body_sha256, min(p.id) as first_id
  from only webhook_deliveries as p
  join only signals as s on s.delivery_id = p.id
  group by p.body_sha256) as r on r.body_sha256 = d.body_sha256
where not exists (select from only signals as s where s.delivery_id = d.id)
  and _sees_every_row('{webhook_deliveries,signals}'::text[]);
comment on view vw_unprocessed_deliveries is
  'Deliveries that no signal was made of: unreadable, refused, not read yet, or repeated.';
comment on column vw_unprocessed_deliveries.repeats is
  'The first delivery of the same bytes that a signal was made of; null if there is none.';
