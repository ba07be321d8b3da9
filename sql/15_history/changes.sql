-- The history of tables that change
--
-- The audit log takes only new rows. Other tables change: positions, balances, settings. track_table keeps a *history*
-- of such a table: each change of it is a row of table_changes, which is append-only and chained like the log. So the
-- history can be read (table_history, table_as_of), and compared with the table (verify_tracked). Anyone who changes
-- the table without its triggers contradicts the history, and anyone who changes the history breaks the chain.
--
-- The chapter: this table; how a row is printed (printing.sql); the triggers of a tracked table (trigger.sql); which
-- tables are tracked, and what the history says of them (replay.sql); comparing (verify.sql); track_table and
-- untrack_table (track.sql); reading (read.sql).
--
-- What a history consists of
--
--   TRACK      begins it, and says what is tracked: key, columns, excluded columns. Older entries of the table no
--              longer matter for what it holds: track_table may be called again, for a fresh beginning.
--   SNAPSHOT   one for each row that was there then
--   INSERT, UPDATE, DELETE   one for each row that changed. An UPDATE that changes the key is two: the row leaves its
--              old key, and comes under the new one. An UPDATE that changes no value is none.
--   TRUNCATE   the table was emptied
--   UNTRACK    ends it
--
-- Identity. A history belongs to a name, schema.table, not to an oid: so it survives a dump. A table that is renamed or
-- moved keeps its triggers, which then refuse each change (AUD-015), until it gets its name back or untrack_table ends
-- the history. So no other table can write into it.
--
-- Transactions. The first statement that changes a tracked table takes the chain's lock before it touches a row, and
-- the transaction keeps it until it ends. So the entries of a transaction stand together, and transactions in the order
-- in which they became visible. Otherwise one transaction would hold the chain and wait for a row, and another hold
-- that row and wait for the chain.

create table table_changes (
  id                bigserial     not null,
  table_name        varchar(300)  not null,
  operation         varchar(10)   not null,
  key               jsonb         null,
  other_key         jsonb         null,
  old_row           jsonb         null,
  new_row           jsonb         null,
  changed_columns   text[]        null,
  acting_role       varchar(64)   not null,
  application_name  varchar(64)   not null,
  client_address    inet          null,
  transaction_id    bigint        not null,
  row_hash          char(64)      not null,
  created_at        timestamptz   not null,
  recorded_by       text          not null,
  constraint table_changes_pkey primary key (id),
  constraint table_changes_operation_is_known check (operation::text = any (array[
    'TRACK'::text, 'SNAPSHOT'::text, 'INSERT'::text, 'UPDATE'::text, 'DELETE'::text, 'TRUNCATE'::text,
    'UNTRACK'::text])),
  constraint table_changes_key_fits_operation check ((key is null) = (operation::text = any (array[
    'TRACK'::text, 'TRUNCATE'::text, 'UNTRACK'::text])))
);
comment on table  table_changes                  is
  'The history of the tracked tables: each change of a row of theirs. Append-only and chained.';
comment on column table_changes.id               is 'Position in the chain.';
comment on column table_changes.table_name       is 'The tracked table, as schema.table.';
comment on column table_changes.operation        is
  'TRACK, SNAPSHOT (a row that was there then), INSERT, UPDATE, DELETE, TRUNCATE or UNTRACK.';
comment on column table_changes.key              is
  'The primary key of the row, each value as text. Null for an entry about the table.';
comment on column table_changes.other_key        is
  'For an UPDATE that changed the key: the key to which the row left, or from which it came.';
comment on column table_changes.old_row          is
  'The row as it left, each value as text; of an excluded column its SHA-256. Null if none left.';
comment on column table_changes.new_row          is
  'The row as it came, each value as text; of an excluded column its SHA-256. Null if none came. For TRACK: key, '
  'exclude, columns, and in how many places a table that was tracked before did not hold what its history said.';
comment on column table_changes.changed_columns  is 'For an UPDATE: the columns that it changed.';
comment on column table_changes.acting_role      is 'The role that SET ROLE chose, or the login.';
comment on column table_changes.application_name is 'What the client calls itself.';
comment on column table_changes.client_address   is 'The client''s address; null for a local socket.';
comment on column table_changes.transaction_id   is 'The transaction; entries of one stand together.';
comment on column table_changes.row_hash         is 'SHA-256 of the previous row_hash and this row.';
comment on column table_changes.created_at       is 'When the entry was made; never before the one before it.';
comment on column table_changes.recorded_by      is 'The login that changed the row.';

-- By a hash, because a key may be longer than an index entry.
create index table_changes_key_idx on table_changes (table_name, jsonb_hash(key), id);
create index table_changes_beginning_idx on table_changes (table_name, id)
where operation::text = any (array['TRACK'::text, 'TRUNCATE'::text, 'UNTRACK'::text]);
comment on index table_changes_key_idx is 'Finds the history of a row.';
comment on index table_changes_beginning_idx is 'Finds what a replay begins with.';

select _chain_attach('table_changes'), _protect_table('table_changes', 'AUD-013', 'AUD-014'),
       _owner_only('table_changes', 'AUD-011');
-- An entry may hold a row twice, as it was and as it is: as long as a chain can take.
update only chains as c set row_limit = 134217728 where c.table_name = 'table_changes';
select _chain_generate('table_changes');
select _count_attempts('AUD-012', 'table_changes', 'INSERT'), _count_attempts('AUD-015', 'table_changes', o.name)
from unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) as o(name);

select _grant('select on', '{table_changes}', '{app_auditor}');
