-- Writing a row of any own table
--
-- For clients that want what record_signal gives: exact numbers, refusals that say why, retries that find the row that
-- is there. An ordinary INSERT or COPY enters the chain as well. This one is dynamic SQL, and looks into the catalogues
-- at each row, so it costs more than INSERT.
--
-- A retry is found by any unique key of the table that has no expression and no condition. Content is what the writer
-- gives: a member that it leaves out is not compared.

create function record_row(table_name text, content jsonb) returns jsonb
language plpgsql
set search_path from current
set extra_float_digits = 1
as $function$
declare
  members  jsonb;
  sent     jsonb;
  names    text;
  retried  record;
  written  jsonb;
begin
  perform _require_own_table(table_name);
  members := _given_members(table_name, content);
  execute format('select to_jsonb(r.*) from jsonb_populate_record(null::%I, $1) as r', table_name)
    into sent using members;
  sent := coalesce((select jsonb_object_agg(s.key, s.value) from jsonb_each(sent) as s where members ? s.key), '{}');
  perform _require_exact(table_name, members, sent);
  -- First, because in a lockdown the retry of a row that is there is no new row.
  retried := _find_by_key(table_name, sent);
  if retried.stored is null then
    names := (select string_agg(quote_ident(m.name), ', ') from jsonb_object_keys(members) as m(name));
    execute format('insert into %I as t %s on conflict do nothing'
                   ' returning jsonb_build_object(''id'', t.id, ''row_hash'', t.row_hash, ''is_new'', true)',
                   table_name,
                   case when names is null then 'default values' else format(
                     '(%1$s) select %1$s from jsonb_populate_record(null::%2$I, $1)', names, table_name) end)
      into written using members;
    if written is not null then
      return written;
    end if;
    retried := _find_by_key(table_name, sent);
  end if;
  if retried.stored is null then
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
      perform _refuse_unseen(table_name, 'a key of this row');
    end if;
    raise exception 'another row of % has a key of this one', quote_ident(table_name)
      using errcode = '23505', table = table_name,
            hint = 'A default, or an index with an expression or a condition, made the key. Give the row another one.';
  end if;
  perform _accept_retry(
    table_name, retried.key_name,
    -- the values of a key of several columns, under their names
    jsonb_build_object(retried.key_name, (
      select string_agg(retried.stored ->> k.name, ', ' order by k.place)
      from string_to_table(retried.key_name, ', ') with ordinality as k(name, place))) || retried.stored,
    sent);
  return jsonb_build_object('id', retried.stored -> 'id', 'row_hash', retried.stored -> 'row_hash', 'is_new', false);
end
$function$;
comment on function record_row is
  'Writes a row of a table that chain_table put under the chain, from a JSON object with a member for each column, and '
  'returns {id, row_hash, is_new}. A retry by a unique key returns the row that is there. Raises AUD-001, AUD-009, '
  'AUD-010, AUD-012, 22023, 42P01.';
