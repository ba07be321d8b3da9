-- The table that all ratios are to: the same columns, indexes and constraints, and a constant of the hash's length.
create table plain_signals (like signals including constraints including indexes including comments);
create sequence plain_signals_id_seq owned by plain_signals.id;
alter table plain_signals
  alter id             set default nextval('plain_signals_id_seq'),
  alter correlation_id set default gen_random_uuid(),
  alter hmac_verified  set default false,
  alter row_hash       set default repeat('0', 64),
  alter created_at     set default clock_timestamp(),
  alter recorded_by    set default session_user,
  add foreign key (delivery_id) references webhook_deliveries (id);
