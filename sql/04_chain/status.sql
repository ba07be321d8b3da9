-- The head of every chain: the last id, its hash and its time
--
-- jit = off, here and in other functions that read with enable_seqscan off: before 18 a look at a small table without
-- an index is then so dear on paper that PostgreSQL would compile the query, which takes longer than the query.
--
-- chain_status() never fails because of one table: what is gone, locked or unreadable is reported in that table's row.
-- _known_heads() is for what will be signed (checkpoints, runs): there, no table may be left out.

create function chain_status()
returns table (
  table_name       text,
  last_id          bigint,
  head_hash        text,
  last_created_at  timestamptz,
  error_code       text,
  problem          text
)
language plpgsql stable
set search_path from current
set enable_seqscan = off set jit = off set row_security = off
as $function$
declare
  chain    record;
  timeout  text := current_setting('lock_timeout');
begin
  perform _require_register();
  for chain in select c.table_name from only chains as c order by c.position loop
    table_name := chain.table_name;
    last_id := null;
    head_hash := null;
    last_created_at := null;
    error_code := null;
    problem := null;
    begin
      problem := _missing_part(table_name);
      if problem is not null then
        error_code := 'AUD-009';
      else
        execute format('select t.id, t.row_hash::text, t.created_at from only %I as t order by t.id desc limit 1',
                       table_name)
          into last_id, head_hash, last_created_at;
        problem := _ahead_of_clock(last_created_at);
      end if;
    exception when others then
      error_code := sqlstate;
      problem := 'could not be read: ' || sqlerrm;
    end;
    if error_code = '55P03' then
      perform set_config('lock_timeout', '100ms', true);  -- has waited long enough; the next one may be locked as well
    end if;
    return next;
  end loop;
  perform set_config('lock_timeout', timeout, true);
end
$function$;
comment on function chain_status is
  'The head of every chain: last id, its hash, its time; nulls for an empty one. problem says what is wrong with it, '
  'error_code of which kind: AUD-009 for a table that is gone, another SQLSTATE for one that cannot be read, null '
  'for a last row that is ahead of the clock.';

create function _known_heads()
returns table (table_name text, last_id bigint, head_hash text, "position" bigint)
language plpgsql stable
set search_path from current
as $function$
declare
  chain record;
begin
  for chain in
    select s.*
    from chain_status() with ordinality as s(name, last_id, head_hash, last_created_at, error_code, problem, place)
  loop
    if chain.error_code = 'AUD-009' then
      perform _require_chain(chain.name);
    elsif chain.error_code is not null then
      raise exception '%: %', chain.name, chain.problem using errcode = chain.error_code, table = chain.name;
    end if;
    table_name := chain.name;
    last_id := coalesce(chain.last_id, 0);
    head_hash := chain.head_hash;
    "position" := chain.place;
    return next;
  end loop;
end
$function$;
comment on function _known_heads is
  'As chain_status, for what is going to be signed: raises if a table is gone (AUD-009) or cannot be read, instead '
  'of giving no rows for it.';
