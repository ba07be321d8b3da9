-- Whether the lockdown is engaged, since when, and over what. engage.sql explains what the alarm is.

create function _lockdown_is_lifted(event lockdown_events) returns boolean
language sql stable
set search_path from current
as $function$
  select case
    when event.id is null then pg_sequence_last_value('lockdown_alarm'::regclass) is null
    when event.event_type = 'RELEASED' and event.alarm = pg_sequence_last_value('lockdown_alarm'::regclass)
      then _release_holds(event)
    else false end;
$function$;
comment on function _lockdown_is_lifted is
  'Whether there is no lockdown, given the last row of lockdown_events: no alarm was ever raised, or that row lawfully '
  'answers the very alarm that stands.';

create function _alarm_raised_by() returns text
language sql stable
set search_path from current
as $function$
  select coalesce(pg_get_userbyid(pg_sequence_last_value('lockdown_alarm_by'::regclass)::oid)::text, 'somebody');
$function$;
comment on function _alarm_raised_by is 'The login that raised the alarm last; "somebody" if that is not known.';

create function lockdown_status()
returns table (is_locked boolean, since timestamptz, event_id bigint, reason text, damage jsonb)
language plpgsql stable security definer
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  standing  bigint := pg_sequence_last_value('lockdown_alarm'::regclass);
  latest    lockdown_events;
  engaged   lockdown_events;
  released  bigint;
begin
  select * into latest from only lockdown_events as l order by l.id desc limit 1;
  is_locked := not _lockdown_is_lifted(latest);
  if not is_locked then
    return next;
    return;
  end if;
  released := _last_release();
  select * into engaged from only lockdown_events as l
  where l.event_type = 'ENGAGED' and l.id > released order by l.id limit 1;
  since := engaged.created_at;
  -- Of the alarm that stands; 0 is that of an event that could raise none.
  if exists (select from only lockdown_events as l
             where l.event_type = 'ENGAGED' and l.alarm = coalesce(standing, 0) and l.id > released) then
    event_id := engaged.id;
  end if;
  select coalesce(jsonb_agg(d.value order by d.first_id, d.first_place), '[]') into damage
  from (select p.value, min(l.id) as first_id, min(p.place) as first_place
        from only lockdown_events as l
        cross join lateral _damage_items(l.damage) as p
        where l.event_type = 'ENGAGED' and l.id > released
        group by p.value) as d;
  reason := engaged.reason;
  if latest.event_type = 'RELEASED' and engaged.id is null then
    reason := format('lockdown event %s (RELEASED) is not an approved release of the alarm that stands', latest.id);
  elsif event_id is null then
    reason := concat_ws('; ', reason,
                        format('an alarm raised by %s is not recorded as an event yet', _alarm_raised_by()));
  end if;
  return next;
end
$function$;
comment on function lockdown_status is
  'One row: whether the lockdown is engaged, since when, by which event (null: none records the alarm that stands '
  'yet), why, and all the damage that was found since the last lawful release.';
