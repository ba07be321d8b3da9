-- Where a chain starts: at row 1, or behind the rows that retention has removed
--
-- Old rows may leave a chain as a contiguous prefix, by consensus (16_retention). What stays must verify as before. So
-- whatever reads a chain from its beginning asks here for its start: the last row that was removed, with its hash and
-- time; for a chain that lost no row id 0, the genesis, and the beginning of time. Row start + 1 follows it.
--
-- _chain_start believes the table below. Verification asks _proven_start, which believes signatures: rows that no
-- applied, signed proposal archived are missing, whatever the table says.
--
-- Rows leave in whole blocks of 256, because the Merkle log stores one node for each (13_merkle/nodes.sql): those nodes
-- stay, so every later root and proof stays what it was.

create table chain_starts (
  table_name  text         not null,
  id          bigint       not null,
  row_hash    char(64)     not null,
  created_at  timestamptz  not null,
  constraint chain_starts_pkey primary key (table_name, id),
  constraint chain_starts_id_ends_a_block check (id > 0 and id % 256 = 0)
);
comment on table  chain_starts            is
  'How far retention has removed the rows of each chain, a row for each step; the highest id counts. Append-only.';
comment on column chain_starts.table_name is 'The chained table.';
comment on column chain_starts.id         is 'The last row that was removed: the rows 1 to id are archived.';
comment on column chain_starts.row_hash   is 'Its row_hash, to which the first row that stays is linked.';
comment on column chain_starts.created_at is 'Its created_at, or that of the step if it was later.';

create function _chain_start(table_name text, out id bigint, out row_hash text, out created_at timestamptz)
language plpgsql stable
set search_path from current
set row_security = off
as $function$
begin
  select s.id, s.row_hash, s.created_at into id, row_hash, created_at
  from only chain_starts as s where s.table_name = _chain_start.table_name order by s.id desc limit 1;
  if not found then
    id := 0;
    row_hash := chain_genesis(table_name);
    created_at := '-infinity';
  end if;
end
$function$;
comment on function _chain_start is
  'The last row of a chain that retention has removed: id, row_hash, created_at. For a chain that lost none 0, the '
  'genesis and -infinity.';

-- A placeholder: 16_retention/archive.sql replaces it.
create function _archive_proposal(table_name text, through_id bigint, row_hash text) returns uuid
language sql stable
set search_path from current
as $function$
  select null::uuid;
$function$;
comment on function _archive_proposal is
  'The applied, signed proposal that archived the rows of a chain up to an id with this hash. None, until '
  '007_own_tables replaces this.';

create function _proven_start(
  table_name text, from_id bigint default null,
  out id bigint, out row_hash text, out created_at timestamptz, out proposal_id uuid)
language plpgsql stable
set search_path from current
as $function$
begin
  begin
    select s.id, s.row_hash, s.created_at into id, row_hash, created_at from _chain_start(table_name) as s;
    if id = 0 or from_id > id + 1 then
      return;
    end if;
    proposal_id := _archive_proposal(table_name, id, row_hash);
  exception when undefined_table or undefined_function or undefined_column then null;  -- then nothing is proven
  end;
  if proposal_id is null then
    id := 0;
    row_hash := chain_genesis(table_name);
    created_at := '-infinity';
  end if;
end
$function$;
comment on function _proven_start is
  'As _chain_start, with the proposal that archived the rows. Where no applied, signed proposal did, the start of a '
  'chain that lost no row. A range that begins later follows a row that is there: for it nothing is proven.';

create function _was_removed(table_name text, id bigint) returns boolean
language plpgsql stable
set search_path from current
set row_security = off
as $function$
begin
  return exists (select from only chain_starts as s
                 where s.table_name = _was_removed.table_name and s.id >= _was_removed.id);
end
$function$;
comment on function _was_removed is
  'Whether a row of a chain is one of those that retention removes.';
