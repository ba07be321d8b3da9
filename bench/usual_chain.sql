-- The hash chain as it is usually written, for comparison: a BEFORE INSERT trigger that takes an advisory lock, reads
-- the last row's hash, and hashes the columns as concatenated text. Decently: the id is assigned under the lock, a
-- separator stands between the columns, nulls do not swallow the rest, and the time is the lock's.
create table usual_signals (like signals including constraints including indexes including comments);
create sequence usual_signals_id_seq owned by usual_signals.id;
alter table usual_signals
  alter correlation_id set default gen_random_uuid(),
  alter hmac_verified  set default false,
  alter recorded_by    set default session_user,
  add foreign key (delivery_id) references webhook_deliveries (id);

create function usual_chain() returns trigger
language plpgsql
as $function$
declare
  previous_hash text;
begin
  perform pg_advisory_xact_lock(4711);
  select u.row_hash into previous_hash from usual_signals as u order by u.id desc limit 1;
  new.id := nextval('usual_signals_id_seq');
  new.created_at := clock_timestamp();
  new.row_hash := encode(sha256(convert_to(
    coalesce(previous_hash, 'genesis') || '|' || new.id || '|' || new.correlation_id || '|' || new.signal_id || '|'
    || new.symbol || '|' || new.side || '|' || new.price || '|' || new.quantity || '|' || new.raw_payload::text || '|'
    || coalesce(new.source_ip::text, '') || '|' || new.hmac_verified || '|' || new.created_at || '|' || new.recorded_by, 'UTF8')), 'hex');
  return new;
end
$function$;

create trigger usual_chain before insert on usual_signals for each row execute function usual_chain();
