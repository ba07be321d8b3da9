-- Webhook deliveries: whatever arrived, byte for byte, before anybody read it
--
-- A delivery is a row whatever its bytes are: JSON or not, text, half an emoji, nothing. What a signal is made of can
-- be looked up in it later, and its HMAC checked again (docs/auditor-guide.md). A delivery that arrives twice is two
-- rows, because the same bytes may be meant twice: what makes a signal one is its signal_id.
--
-- A body over 1 MiB is recorded as what it was: its hash, its size, and its first 4,096 bytes.

create table webhook_deliveries (
  id             bigserial    not null,
  source_ip      inet         null,
  content_type   text         null,
  headers        jsonb        null,
  raw_body       bytea        not null,
  body_size      bigint       not null,
  body_sha256    char(64)     not null,
  signature      text         null,
  hmac_verified  boolean      not null  default false,
  row_hash       char(64)     not null,
  created_at     timestamptz  not null,
  recorded_by    text         not null,
  constraint webhook_deliveries_pkey primary key (id),
  constraint webhook_deliveries_headers_is_object check (jsonb_typeof(headers) = 'object'::text),
  constraint webhook_deliveries_body_is_whole_or_begins check (
    body_size = octet_length(raw_body) or body_size > 1048576 and octet_length(raw_body) = 4096)
);
create index webhook_deliveries_created_at_idx on webhook_deliveries (created_at);
comment on table webhook_deliveries is
  'Webhooks as they arrived, byte for byte, one row for each delivery. Append-only, hash-chained; open also in a '
  'lockdown.';
comment on column webhook_deliveries.id            is
  'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column webhook_deliveries.source_ip     is 'Address that the webhook came from.';
comment on column webhook_deliveries.content_type  is 'The Content-Type that was sent.';
comment on column webhook_deliveries.headers       is
  'Headers that the application passed on, an object. Cookies and credentials are left out, whatever is passed.';
comment on column webhook_deliveries.raw_body      is
  'The body''s exact bytes; of a body over 1 MiB the first 4,096.';
comment on column webhook_deliveries.body_size     is 'How many bytes arrived. Computed.';
comment on column webhook_deliveries.body_sha256   is 'SHA-256 of all bytes that arrived, in hex. Computed.';
comment on column webhook_deliveries.signature     is 'The signature as it was sent, usually an HMAC of the body.';
comment on column webhook_deliveries.hmac_verified is
  'Whether the application verified the signature; recorded here, not checked here.';
comment on column webhook_deliveries.row_hash      is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column webhook_deliveries.created_at    is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column webhook_deliveries.recorded_by   is 'The login that wrote the row.';
