-- How a row enters the chain
--
-- Each row of a chained table holds row_hash, the SHA-256 of the row before it (its row_hash, 32 raw bytes) and of its
-- own text (row_data: the row as JSON, docs/chain-format.md). The first row follows chain_genesis(table). So one writer
-- at a time must read the tail, the last row, and add the next one. The trigger zzz_chain does that for each row.
-- _chain_generate writes its function, _chain_signals() for signals, from the template at the end of this file, because
-- a function written for one table needs neither dynamic SQL nor a look-up in the catalogues for each row. What the
-- template calls when something is wrong is in checks.sql.
--
-- The trigger's steps:
--
--   1. It refuses (AUD-011) a row of another relation than the chain's own table, or with a column whose type is
--      another than the chain was made for. What may be long may change from one document or text to another.
--   2. It validates the row, by the statements that the table's chapter gave to _chain_attach.
--   3. It gives decimals their full scale, and recorded_by the login. It prints what may be long now, before it takes
--      the lock, and refuses (AUD-012) a row whose text is too long.
--   4. It takes the chain's *lock*.
--   5. It compares the chain's *mark* with its own transaction, and sets it.
--   6. In a table that a lockdown closes, it checks whether the alarm is raised (AUD-009).
--   7. It reads the tail, with a *hint* where that is.
--   8. It assigns id, created_at and row_hash.
--
-- PostgreSQL then stores the row and checks its constraints. In a table that a lockdown closes, _900_refuse_in_lockdown
-- checks the alarm once more when the rows of the statement are stored.
--
-- zzz_chain sorts last among the BEFORE triggers, because a later one could change what was hashed. It is not ENABLE
-- ALWAYS, because rows that are replicated (session_replication_role = replica) or restored keep the hash that they
-- had.
--
-- What a row costs
--
-- Every writer pays for each row, and most of it while it holds the lock. So the function sets nothing but search_path:
-- setting TimeZone for one row costs more than hashing it. It prints times in UTC by itself (_utc_json), and needs no
-- planner setting (step 7). It validates the row, too, because a second trigger costs a tenth of a row. Expressions are
-- prepared again in each transaction, so what almost never fails is one expression.
--
-- The lock
--
-- It is the SHARE UPDATE EXCLUSIVE lock of an empty table, lock_signals for signals. Of the modes that exclude
-- themselves it is the weakest: it does not meet the ACCESS SHARE locks of a query or of pg_dump. An advisory lock
-- could be held by any login, this one only by the owner, as whom the trigger runs (and by a member of pg_maintain).
-- Readers never wait for it.
--
-- The transaction keeps the lock until it ends. So rows of one chain become visible in the order of their ids, the tail
-- that the next writer reads is committed, and ids have no gaps: the id of a row that is rolled back is given again.
--
-- A transaction that writes several chains takes their locks in the order of its INSERTs. chains.position is the order
-- that all should keep; two that do not may deadlock, and then PostgreSQL cancels one of them.
--
-- The mark
--
-- In READ COMMITTED every query of the trigger has a snapshot of its own, taken after the lock: it sees the tail. In
-- REPEATABLE READ and SERIALIZABLE the transaction has one snapshot for good, and the tail may be newer. A writer that
-- linked its row to an older tail would fork the chain; the primary key would refuse that, with an error that no client
-- retries. The mark prevents it. It is a sequence, writer_signals, that holds the id of the transaction that had the
-- lock last. If the snapshot sees that transaction, it sees all before it, because the lock orders them. If not, the
-- writer gets 40001 (_admit_writer): run the transaction again.
--
-- Every row sets the mark. In the two strict levels it is compared before, whenever it is not the transaction's own:
-- others have had the lock since. It is a sequence, because all see setval at once and no rollback takes it back.
--
-- The hint
--
-- It is a sequence, tail_signals, that holds the last id that was given. "The last row at or after the hint" is one
-- entry of the primary key's index; "the last row" reads a page of some 360 entries for one. Nothing depends on the
-- hint being right. If it is too low, the query reads a few more entries. If no row is at or after it, the last row of
-- all is read. That query is planned anew each time, because a plan that was made while the table was small would read
-- all of it later. The one for the usual case is made once there are 1024 rows, when no planner prefers that.
--
-- What happens in …
--
--   ROLLBACK, a cancelled or killed session
--       The rows are gone, and the lock is free. Mark and hint stay. The hint may be beyond the tail; then the last row
--       of all is read. A REPEATABLE READ writer whose snapshot is from before the rollback gets a needless 40001,
--       once.
--   ROLLBACK TO a savepoint before the transaction's first row
--       The lock is free, and others may write. At its next row the transaction takes the lock again. If others have
--       written, the mark is not its own: in READ COMMITTED it reads the new tail, in the others it gets 40001.
--   a crash, or a promoted standby
--       Mark and hint are unlogged sequences, so both are empty (null) after it. An empty hint finds nothing, and the
--       last row of all is read. At an empty mark the first REPEATABLE READ writer sets it and gets one 40001, because
--       a prepared transaction may have been committed since its snapshot. Its second try has a snapshot that sees the
--       mark.
--   PREPARE TRANSACTION
--       The prepared transaction keeps the lock, through a crash too, until COMMIT PREPARED or ROLLBACK PREPARED. All
--       other writers of the chain wait; lock_holders() shows for whom.
--   pg_dump, pg_restore
--       A dump holds the rows with their hashes, and pg_restore loads them before it makes the triggers. Mark and hint
--       come along. The mark is then a transaction id of another cluster. Most such ids are old here, and every
--       snapshot sees them. One that this cluster has not reached yet is ignored (_snapshot_sees).
--   a wrong clock
--       If the clock goes back, rows get the time of the row before them, until the clock has passed it.
--
-- Tests: concurrency/test_isolation.py, migration/test_dump_and_restore.py, chain/test_replication.py.

create function _chain_parts(
  chain             chains,
  out settings      text,  -- SET clauses without which the text of a column would depend on the session
  out declarations  text,  -- printed_3 json; for each column whose values may be long
  out known_types   text,  -- an array literal of regtype, - for one that may change (_has_known_types)
  out assignments   text,  -- what the trigger sets before it prints: decimals at full scale, recorded_by
  out printing      text,  -- prints the columns that may be long
  out printed_bytes text,  -- how long they are together; null if there are none
  out columns       text   -- the hashed row: new.id, printed_3 …
) language sql stable
set search_path from current
as $function$
  select concat(case when bool_or(h.type_name = 'timestamptz' and not h.is_bounded)
                     then E'set timezone = ''UTC''\n' end,
                case when bool_or(h.type_name = 'bytea') then E'set bytea_output = ''hex''\n' end,
                case when bool_or(h.type_name in ('float4', 'float8')) then E'set extra_float_digits = 1\n' end,
                case when bool_or(h.type_name = 'interval') then E'set intervalstyle = ''postgres''\n' end),
         string_agg(format(E'  printed_%s json;\n', h.place), '' order by h.place) filter (where not h.is_bounded),
         array_agg(case when h.is_bounded or h.type_name in ('timestamptz', 'bytea', 'float4', 'float8', 'interval')
                        then h.declared_type else '-'::regtype end order by h.place)::text,
         concat(E'  if ' || string_agg(format('scale(new.%I) <> %s', h.column_name, h.decimal_scale), E'\n     or '
                                       order by h.place) filter (where h.decimal_scale is not null) || E' then\n'
                || string_agg(format(E'    new.%1$I := round(new.%1$I, %2$s);\n', h.column_name, h.decimal_scale), ''
                              order by h.place) filter (where h.decimal_scale is not null) || E'  end if;\n',
                case when bool_or(h.column_name = 'recorded_by')
                     then E'  new.recorded_by := session_user::text;\n' end),
         -- A jsonb value of 100 kB may print to more than PostgreSQL can hold, one of less than 64 kB cannot.
         string_agg(_fill($part$
  {printed:s} := case
    when pg_column_size(new.{column:I}) < 65536 and pg_column_compression(new.{column:I}) is null
      then to_json(new.{column:I})
    when new.{column:I} is not null then _print_large(new.{column:I}, tg_argv[0], {row_limit:s}) end;$part$,
           'column', h.column_name, 'printed', 'printed_' || h.place, 'row_limit', chain.row_limit::text), ''
                    order by h.place) filter (where not h.is_bounded),
         string_agg(format('coalesce(pg_column_size(printed_%s), 0)', h.place), ' + ' order by h.place)
           filter (where not h.is_bounded),
         string_agg(case when not h.is_bounded then format('printed_%s', h.place)
                         when h.type_name = 'timestamptz' then format('_utc_json(new.%I)', h.column_name)
                         else format('new.%I', h.column_name) end, ', ' order by h.place)
  from _hashed_columns(chain.table_name) as h;
$function$;
comment on function _chain_parts is
  'The parts of a chain trigger''s function that depend on the columns of its table.';

-- Longer than 60 lines, because the function that it writes stands in it as one text. That function calls
-- _alarm_is_raised and _refuse_in_lockdown, which 08_lockdown/writers.sql makes, and what checks.sql makes.
create function _chain_generate(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  chain  chains := _chain_or_error(table_name);
  part   record;
begin
  perform _make_hashed_type(table_name);
  select * into part from _chain_parts(chain);
  execute _fill($template$
create or replace function {function:I}() returns trigger
language plpgsql security definer
set search_path = {schema:I}, pg_temp
{settings:s}as {quote:s}
#variable_conflict use_variable
declare
  hint             bigint;
  mark             bigint;
  tail_id          bigint;
  tail_hash        text;
  tail_created_at  timestamptz;
{declarations:s}begin
  -- 1. The table
  if tg_relid <> {relation:L}::regclass then
    perform _refuse_other_relation(tg_argv[0], tg_relid);
  end if;
  if not _has_known_types({relation:L}::regclass, {known_types:L}) then
    perform _refuse_other_types(tg_argv[0], {known_types:L});
  end if;

  -- 2. The row
{validation:s}
  -- 3. The text of what may be long
{assignments:s}{printing:s}{refusal_of_large_rows:s}

  -- 4. The lock
  lock table only {lock:I} in share update exclusive mode;

  -- 5. The mark. Assigned, because that is cheaper than PERFORM.
  mark := case
    when current_setting('transaction_isolation') in ('repeatable read', 'serializable')
         and pg_sequence_last_value({mark:L}::regclass) is distinct from txid_current()
      then _admit_writer(tg_argv[0], {mark:L})
    else setval({mark:L}::regclass, txid_current()) end;
{lockdown:s}
  -- 7. The tail
  hint := pg_sequence_last_value({hint:L}::regclass);
  if hint >= 1024 then
    select t.id, t.row_hash, t.created_at into tail_id, tail_hash, tail_created_at
    from only {table:I} as t where t.id >= hint order by t.id desc limit 1;
  end if;
  if tail_id is null then
    execute {last_row:L} into tail_id, tail_hash, tail_created_at;
    if tail_id is null then
      tail_id := 0;
      tail_hash := chain_genesis(tg_argv[0]);
    end if;
  end if;

  -- 8. The link
  new.id := setval({hint:L}::regclass, tail_id + 1);
  new.created_at := greatest(clock_timestamp(), tail_created_at);
  new.row_hash := encode(sha256(decode(tail_hash, 'hex') || convert_to(
    row_to_json(row({columns:s})::{hashed_type:I})::text, 'UTF8')), 'hex');
  return new;
end
{quote:s}
$template$,
    -- Nobody can give a column a name that ends the function's text.
    'quote', format('$q%s$', replace(gen_random_uuid()::text, '-', '')),
    'function', '_chain_' || table_name, 'schema', current_schema(), 'table', table_name,
    'relation', quote_ident(table_name), 'lock', 'lock_' || table_name, 'mark', quote_ident('writer_' || table_name),
    'hint', quote_ident('tail_' || table_name), 'hashed_type', 'hashed_' || table_name,
    'validation', chain.validation, 'settings', part.settings, 'declarations', part.declarations,
    'known_types', part.known_types, 'assignments', part.assignments, 'printing', part.printing,
    'columns', part.columns,
    'last_row', format('select t.id, t.row_hash, t.created_at from only %I as t order by t.id desc limit 1',
                       table_name),
    'refusal_of_large_rows', case when part.printed_bytes is null then '' else _fill($part$
  if {bytes:s} > {row_limit:s} then
    perform _refuse_large_row(tg_argv[0], {bytes:s}, {row_limit:s});
  end if;$part$, 'bytes', part.printed_bytes, 'row_limit', chain.row_limit::text) end,
    'lockdown', case when chain.open_in_lockdown then '' else $part$
  -- 6. The alarm, which may be raised at any moment
  if _alarm_is_raised() then
    perform _refuse_in_lockdown(tg_argv[0]);
  end if;
$part$ end);
  -- With (), because a table may be named so that its function overloads one of ours.
  execute format('comment on function %I() is %L', '_chain_' || table_name,
                 format('Row trigger of %s: validates the row, takes the chain''s lock, assigns id, created_at and '
                        'row_hash. Made by _chain_generate.', table_name));
  execute format('revoke all on function %I() from public', '_chain_' || table_name);
end
$function$;
comment on function _chain_generate is
  'Writes the chain trigger function of a table for the columns that it has now.';
