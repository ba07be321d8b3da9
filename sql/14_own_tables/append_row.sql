-- The same, durable without holding the chain (09_write/append.sql explains how).

select _create_append('record_row', $template$
create procedure append_row(
  table_name     text,
  content        jsonb,
  inout result   jsonb  default null
)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  result := {home:I}.record_row(table_name, content);
{end:s}
end
$procedure$;
$template$);
comment on procedure append_row is
  'Writes a row of any own table as record_row does, and returns {id, row_hash, is_new} once it is on disk, without '
  'holding the chain while it waits. Raises 2D000 inside a transaction.';

-- What a writer calls, and what that calls with the writer's rights.
select _grant('execute on routine', '{record_row, append_row, _require_own_table, _given_members, _refuse_inexact,
                                      _require_exact, _find_by_key}', '{app_trading}');
