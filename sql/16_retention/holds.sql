-- Legal holds: rows that stay, whatever was approved
--
-- A hold is an applied proposal and nothing else: it has no table, its entry in risk_change_log is what holds. It keeps
-- the rows of a table from an id on, those that were archived and not removed yet, too, until an applied "unhold" names
-- it. To hold needs one approval, to end a hold two.

create function legal_holds()
returns table (table_name text, from_id bigint, proposal_id uuid, reason text, held_since timestamptz)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select p.payload ->> 'table', (p.payload ->> 'from_id')::bigint, p.proposal_id, p.reason, c.created_at
  from only risk_change_log as c
  join only proposals as p on p.proposal_id = c.proposal_id
  where c.kind::text = 'hold'::text
    and not exists (select from only risk_change_log as e join only proposals as u on u.proposal_id = e.proposal_id
                    where e.kind::text = 'unhold'::text and u.payload ->> 'hold' = c.proposal_id::text and e.id > c.id)
  order by c.id;
$function$;
comment on function legal_holds is
  'The legal holds that stand: table, first row that stays, the proposal that made it, why, and since when.';

create function _held_from(table_name text) returns bigint
language sql stable
set search_path from current
as $function$
  select min(h.from_id) from legal_holds() as h where h.table_name = _held_from.table_name;
$function$;
comment on function _held_from is 'The first row of a table that a legal hold keeps; null if none does.';

-- What the payloads say; 12_consensus/payloads.sql calls these.

create function _check_row_id(member text, value jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  if jsonb_typeof(value) is distinct from 'number' or value #>> '{}' !~ '^[1-9][0-9]{0,17}$' then
    perform _refuse_consensus(
      'RSK-001', format('%s is not the id of a row', member), format('It is %s.', left(value::text, 60)),
      'Give a whole number, 1 or more.');
  end if;
end
$function$;
comment on function _check_row_id is 'Raises RSK-001 unless a member is a number that an id can be.';

create function _check_retained_table(value jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  refused text;
begin
  select case when c.table_name is null then 'There is no such chained table.'
              when c.is_internal and c.table_name <> 'table_changes' then 'alpha-db needs its own tables whole.' end
    into refused
  from (select 1) as one left join only chains as c on to_jsonb(c.table_name) = value;
  if refused is not null then
    perform _refuse_consensus(
      'RSK-001', format('%s is no table of which rows may be archived', left(coalesce(value::text, 'null'), 100)),
      refused, 'Name one of those that retention_plan() lists.');
  end if;
end
$function$;
comment on function _check_retained_table is
  'Raises RSK-001 unless a member names a chained table whose rows may be archived.';

create function _check_hold(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _check_members('hold', payload, '{table, from_id}');
  perform _check_retained_table(payload -> 'table');
  perform _check_row_id('from_id', payload -> 'from_id');
end
$function$;
comment on function _check_hold is 'Raises RSK-001 unless a payload names a table and its first row that must stay.';

create function _check_unhold(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  hold uuid;
begin
  perform _check_members('unhold', payload, '{hold}');
  hold := _check_uuid('hold', payload -> 'hold');
  if not exists (select from legal_holds() as h where h.proposal_id = hold) then
    perform _refuse_consensus(
      'RSK-001', 'there is no such legal hold', format('Proposal %s.', hold),
      'Name one of those that legal_holds() lists.');
  end if;
end
$function$;
comment on function _check_unhold is 'Raises RSK-001 unless a payload names a legal hold that stands.';
