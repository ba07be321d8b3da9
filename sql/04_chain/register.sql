-- The hash chains: which tables are chained, and with which columns their rows were hashed
--
-- A chained table has id (1, 2, 3, without a gap), created_at and row_hash. Its chain is named after it. This chapter
-- stands in the order in which it is needed: the two registers; what a chain must have (condition.sql); which columns
-- are hashed (columns.sql); what the trigger checks and raises (checks.sql); how a row enters the chain (trigger.sql);
-- how a table becomes a chain (attach.sql), grows columns (extend.sql) and gets longer ones (widen.sql); its rows as
-- they were hashed (rows.sql) and its head (status.sql). The format is described in docs/chain-format.md.

create table chains (
  table_name        text     not null,
  position          integer  not null,
  is_internal       boolean  not null,
  is_own            boolean  not null  default false,
  open_in_lockdown  boolean  not null,
  row_limit         bigint   not null  default 16777216,
  validation        text     not null  default '',
  constraint chains_pkey primary key (table_name),
  constraint chains_position_key unique (position),
  constraint chains_row_limit_is_sane check (row_limit between 65536 and 134217728)
);
comment on table chains is
  'The chained tables. Transactions that write several take them in the order of position.';
comment on column chains.table_name       is 'Name of the table, and identity of its chain.';
comment on column chains.position         is 'Place in the lock order.';
comment on column chains.is_internal      is 'True for alpha-db''s own tables; false for the audit log.';
comment on column chains.is_own           is 'True for a table of the users, which chain_table put under the chain.';
comment on column chains.open_in_lockdown is 'Whether rows are accepted while the lockdown is engaged.';
comment on column chains.row_limit is
  'How many bytes the long values of a row may print to: a row that is longer is refused (AUD-012).';
comment on column chains.validation is
  'Statements of the chain trigger that complete a row, or refuse one that cannot be right.';

create table chain_columns (
  id            bigserial    not null,
  table_name    text         not null,
  from_id       bigint       not null,
  column_names  text[]       not null,
  older_values  jsonb        not null,
  row_hash      char(64)     not null,
  created_at    timestamptz  not null,
  recorded_by   text         not null,
  constraint chain_columns_pkey primary key (id),
  constraint chain_columns_from_id_is_positive check (from_id >= 1)
);
comment on table chain_columns is
  'With which columns the rows of a chain were hashed. Append-only and chained itself.';
comment on column chain_columns.id           is 'Position in the chain.';
comment on column chain_columns.table_name   is 'The chained table.';
comment on column chain_columns.from_id is
  'First row that was hashed with these columns; a later entry for the same row wins.';
comment on column chain_columns.column_names is 'The hashed columns, in the order in which row_data prints them.';
comment on column chain_columns.older_values is
  'What every older row holds in the columns that this entry added: edits there are found too.';
comment on column chain_columns.row_hash     is 'SHA-256 of the previous row_hash and this row.';
comment on column chain_columns.created_at   is 'When the entry was made.';
comment on column chain_columns.recorded_by  is 'The login that made it.';

-- It calls _chain_or_error (condition.sql) and _hashed_columns (columns.sql). 06_guards/attach.sql attaches it.
create function _check_chain_columns() returns trigger
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  present  text[];
  known    text[];
  added    text[];
  tail_id  bigint;
  differs  boolean := false;
  item     record;
begin
  perform _chain_or_error(new.table_name);
  select array_agg(h.column_name order by h.place) into present from _hashed_columns(new.table_name) as h;
  select c.column_names into known from only chain_columns as c
  where c.table_name = new.table_name order by c.id desc limit 1;
  execute format('select coalesce(max(t.id), 0) from only %I as t', new.table_name) into tail_id;
  added := case when known is null then '{}' else present[cardinality(known) + 1:] end;
  if new.column_names is distinct from present or new.from_id is distinct from tail_id + 1
     or known is not distinct from present
     or array(select jsonb_object_keys(new.older_values) order by 1)
        is distinct from array(select a.name from unnest(added) as a(name) order by 1) then
    differs := true;
  else
    for item in select o.key, o.value from jsonb_each(new.older_values) as o loop
      execute format('select exists (select from only %I as t'
                     ' where coalesce(to_jsonb(t.%I), ''null'') is distinct from $1)', new.table_name, item.key)
        into differs using item.value;
      exit when differs;
    end loop;
  end if;
  if differs then
    perform _refuse(
      'AUD-011', format('an entry for %s was refused, because the table is not so', new.table_name),
      format('It has the columns %s, and %s rows.', array_to_string(present, ', '), tail_id),
      format('select chain_extend(%L) records what was added.', new.table_name), tg_argv[0], tg_op);
  end if;
  return new;
end
$function$;
comment on function _check_chain_columns is
  'Row trigger of chain_columns: refuses (AUD-011) an entry that is not what the table is like now. Argument: table.';
