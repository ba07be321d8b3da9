-- How guards survive dump and upgrade
--
-- The *guards* are everything in the system catalogues that protects the log: triggers, functions, constraints, grants,
-- roles, settings. guard_facts() lists them as *facts*: rows of (kind of object, name, fact, value), all text. A row
-- of guard_states holds all facts at one moment. verify_guards() compares its last row with the facts of now, in one
-- full join: a fact can be missing, extra or changed.
--
-- When a state is recorded. The last statement of each migration and rollback calls record_guards(), in its own
-- transaction. So the change and the record of it are committed together, and after a crash, a ROLLBACK TO or a plain
-- ROLLBACK neither is there. A prepared transaction that migrates keeps the migration lock; until it is committed, the
-- catalogues and guard_states both show what was before. The first statement of each migration calls verify_guards()
-- and refuses if a guard is not as recorded, so that no migration records somebody's change as meant. Anybody else's
-- row is refused: _check_guard_state computes the facts again. guard_states is append-only and chained like the log.
--
-- Dump and restore. Facts name objects; they hold no oid, no column number and no file. A dump carries guard_states as
-- data and the objects by name, so the facts of the copy equal the recorded ones. What pg_dump leaves out is not a fact
-- (rights on the row types of tables) or is reported on another cluster, because it is different there: roles, their
-- members and settings, superusers, the server's own settings. If the new cluster is meant to be so,
-- record_guards('why') accepts it, and that is recorded too.
--
-- Another version of PostgreSQL. Texts that a newer version prints otherwise are evened out: _view_text for views; a
-- NOT NULL, which 18 makes a constraint, is a fact of its column only; what only newer catalogues have is read through
-- to_jsonb and has a default. guard_facts pins the settings by which PostgreSQL prints names and literals, of any type,
-- because users' tables have defaults and CHECKs of their own.
--
-- A newer alpha-db. The hash of a function's text is a fact, so each migration that changes a function changes the
-- facts, and records them when it ends.
--
-- Sequences are different: setval and nextval are not undone by a rollback, and pass no trigger. Those that never go
-- back are recorded by value (_counters, with each state and each verification run), and verify_guards reports one that
-- did (_lowered_counters). A crash may leave one 32 higher, which is not reported.
--
-- guard_facts() is the union of one function for each catalogue. A new kind of fact is a branch in one of those. It
-- sets random_page_cost, because by default the planner reads a catalogue of fifty installations whole (scope.sql).

create function _register_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'register', 'installation', f.fact, f.value
  from only installation as i
  cross join lateral (values ('installation_id', i.installation_id::text),
                             ('role_prefix', i.role_prefix)) as f(fact, value)
  union all
  select null, 'register', 'installed_migrations', m.name, coalesce(m.checksum::text, '')
  from only installed_migrations as m
  union all
  select null, 'register', 'attempt_counters', concat_ws(' ', a.code, a.operation, a.table_name), a.sequence_name
  from only attempt_counters as a
  union all
  select c.table_name, 'chain', c.table_name, 'register',
         concat_ws(', ', c.position, case when c.is_internal then 'internal' when c.is_own then 'own' end,
                   case when c.open_in_lockdown then 'open in lockdown' end)
  from only chains as c;
$function$;
comment on function _register_facts is 'Guard facts: the rows of the registers, which have no chain.';

create function _stray_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
set enable_seqscan = off  -- an index on (name, namespace) is read whole, but no row of another schema
as $function$
  select null, s.kind, s.name, 'is not in pg_depend', 'yes'
  from (select 'function', p.proname::text
        from pg_proc as p
        where p.pronamespace = (select home.oid from _guard_home() as home)
          and p.oid not in (select o.oid from _guard_objects('pg_proc') as o)
        union all
        select 'relation', c.relname::text
        from pg_class as c
        where c.relnamespace = (select home.oid from _guard_home() as home)
          and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
          and c.oid not in (select o.oid from _guard_objects('pg_class') as o)
        union all
        select 'type', t.typname::text
        from pg_type as t
        where t.typnamespace = (select home.oid from _guard_home() as home)
          and t.typtype in ('d', 'e', 'r', 'b') and t.typcategory <> 'A'
          and t.oid not in (select o.oid from _guard_objects('pg_type') as o)) as s(kind, name);
$function$;
comment on function _stray_facts is
  'Guard facts: what stands in this schema though pg_depend, from which the others start, does not list it.';

create function guard_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on set jit = off
set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres' set bytea_output = 'hex'
set extra_float_digits = 1
set random_page_cost = 0.2
as $function$
  with scope as materialized (select array_agg(r) as relations from _guard_relations() as r)
  select f.* from _schema_facts() as f
  union all select f.* from _stray_facts() as f
  union all select f.* from _role_facts() as f
  union all select f.* from _setting_facts() as f
  union all select f.* from scope, _relation_facts(relations) as f
  union all select f.* from scope, _sequence_facts(relations) as f
  union all select f.* from scope, _view_facts(relations) as f
  union all select f.* from scope, _column_facts(relations) as f
  union all select f.* from scope, _constraint_facts(relations) as f
  union all select f.* from scope, _index_facts(relations) as f
  union all select f.* from scope, _trigger_facts(relations) as f
  union all select f.* from _function_facts() as f
  union all select f.* from _type_facts() as f
  union all select f.* from _extension_facts() as f
  union all select f.* from scope, _dependency_facts(relations) as f
  union all select f.* from scope, _right_facts(relations) as f
  union all select f.* from _register_facts() as f
  union all select f.* from _event_trigger_facts() as f;
$function$;
comment on function guard_facts is
  'What protects this installation, as facts from the catalogues by name: schema, roles, relations, columns, '
  'constraints, triggers, functions, domains, grants.';

create function _guard_facts_json() returns jsonb
language sql stable
set search_path from current
as $function$
  select jsonb_agg(jsonb_build_array(f.table_name, f.object_kind, f.object_name, f.fact, f.value)
                   order by f.object_kind collate "C", f.object_name collate "C", f.fact collate "C")
  from guard_facts() as f;
$function$;
comment on function _guard_facts_json is 'All guard facts as one document: what a state holds, and what is hashed.';
