-- Retention policies: how long the rows of a table are kept before they may be archived
--
-- A policy removes nothing. It says what retention_plan proposes and what growth() reports as overdue. Rows leave only
-- by an approved proposal (propose.sql).

create table retention_policies (
  table_name  text      not null,
  keep        interval  not null,
  constraint retention_policies_pkey primary key (table_name),
  constraint retention_policies_keep_is_positive check (extract(epoch from keep) > 0)
);
comment on table  retention_policies            is
  'How long the rows of a chained table are kept before they may be archived. Removes nothing.';
comment on column retention_policies.table_name is 'The chained table.';
comment on column retention_policies.keep       is 'Rows that are older than this may be archived.';

select _protect_register('retention_policies');

create function set_retention_policy(table_name text, keep interval) returns void
language plpgsql security definer  -- so that a superuser may call it
set search_path from current
as $function$
begin
  perform _chain_or_error(table_name);
  if keep is null then
    delete from only retention_policies as p where p.table_name = set_retention_policy.table_name;
    return;
  elsif keep <= interval '0' then
    raise exception 'rows are kept for a positive time, not for %', keep
      using errcode = '22023', hint = 'Give an interval such as ''7 years'', or null for no policy.';
  end if;
  insert into retention_policies as p (table_name, keep) values (set_retention_policy.table_name,
                                                                 set_retention_policy.keep)
  on conflict on constraint retention_policies_pkey do update set keep = excluded.keep;
end
$function$;
comment on function set_retention_policy is
  'Sets how long the rows of a chained table are kept before they may be archived; null takes the policy away. Only '
  'the owner may, with alpha.maintenance set. Raises 42P01 for no chained table, 22023 for no positive time.';

select _grant('select on', '{retention_policies}', '{app_auditor}');
