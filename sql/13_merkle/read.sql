-- What exporters and provers ask: which logs there are, how much of one is not sealed, and one row with its proof.

create function merkle_logs()
returns table (origin text, table_name text, last_id bigint, error_code text, problem text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select format('alpha-db/%s/%s', i.installation_id, c.table_name), c.table_name, coalesce(c.last_id, 0),
         c.error_code, c.problem
  from chain_status() with ordinality
       as c(table_name, last_id, head_hash, last_created_at, error_code, problem, place)
  cross join only installation as i
  order by c.place;
$function$;
comment on function merkle_logs is
  'The Merkle log of each chained table: its name, how many rows it has, and what is wrong with the table, as in '
  'chain_status().';

create function unsealed_rows(table_name text) returns bigint
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce(c.last_id, 0) - 256 * (select coalesce(max(n.index) + 1, 0)
                                         from only log_nodes as n
                                         where n.table_name = unsealed_rows.table_name and n.level = 8)
  from chain_status() as c
  where c.table_name = unsealed_rows.table_name;
$function$;
comment on function unsealed_rows is
  'How many rows of a log no stored node covers, so that a proof reads them; null if the table is not chained.';

create function row_to_prove(table_name text, id bigint, size bigint)
returns table (row_data text, row_hash text, previous_hash text, proof bytea[])
language sql stable
set search_path from current
set row_security = off
as $function$
  select r.row_data, r.row_hash,
         case when r.id = s.id + 1 then s.row_hash
              else (select p.row_hash from chain_rows(row_to_prove.table_name, r.id - 1, r.id - 1) as p) end,
         inclusion_proof(row_to_prove.table_name, r.id, size)
  from chain_rows(row_to_prove.table_name, row_to_prove.id, row_to_prove.id) as r
  cross join _chain_start(row_to_prove.table_name) as s;
$function$;
comment on function row_to_prove is
  'A row as it was hashed, the hash before it, and its inclusion proof in the log of that size; no row if it is not '
  'there.';

select _grant('execute on routine', '{merkle_logs, unsealed_rows, row_to_prove}', '{app_auditor}');
