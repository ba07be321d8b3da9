"""Somebody else's objects under every name that our SQL uses, each of which leaves a trace when it runs.

The names are collected: every type, function, aggregate, operator and relation of pg_catalog whose name occurs in our
SQL, and every relation and function of an installation. A trace is a line in the server's log and a step of a
sequence, neither of which a rollback undoes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import psycopg

from tests.cluster import Server
from tests.support import ROOT, Connection, one, query, quote

SOURCES = [
    *sorted((ROOT / "migrations").glob("*.sql")),
    *sorted((ROOT / "superuser").glob("*.sql")),
    ROOT / "python" / "alpha_db" / "queries.sql",
]
# What PostgreSQL's grammar makes of SQL's own words, which occur in no text.
UNWRITTEN = {
    "int4",
    "int8",
    "bool",
    "bpchar",
    "varchar",
    "numeric",
    "timestamptz",
    "unknown",
    "like",
    "name",
    "oid",
}


def words_and_operators() -> tuple[set[str], set[str]]:
    """Every word and every operator that occurs in our SQL."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in SOURCES)
    words = set(re.findall(r"[a-z_][a-z0-9_]*", text))
    # IN, BETWEEN, IS DISTINCT FROM and CASE look for operators, too; LIKE is ~~.
    operators = set(re.findall(r"[-+*/<>=~!@#%^&|?]{1,4}", text)) | {
        "=",
        "<>",
        "<",
        ">",
        "<=",
        ">=",
        "~~",
        "!~~",
    }
    return words | UNWRITTEN, operators


@dataclass
class Hostile:
    """A schema full of them. Made by the owner of the database, who is no superuser."""

    server: Server
    dbname: str
    owner: str
    schema: str = "evil"
    planted: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def plant(self, model: Connection) -> None:
        """Make them all; model is a connection to an installation, for the names of our own objects."""
        words, operators = words_and_operators()
        with psycopg.connect(self.server.dsn(self.dbname, self.owner), autocommit=True) as conn:
            conn.execute("set search_path = pg_catalog")
            conn.execute(f"create schema {quote(self.schema)}")
            conn.execute(f"grant usage on schema {quote(self.schema)} to public")
            self._trace(conn)
            statements = {
                "type": self._types(conn, words),
                "function": self._functions(conn, words),
                "better function": self._better_functions(conn, model, words),
                "aggregate": self._aggregates(conn, words),
                "operator": self._operators(conn, operators),
                "cast": self._casts(),
                "relation": self._relations(conn, model, words),
                "ours": self._ours(model),
            }
            conn.execute("set check_function_bodies = off")
            for kind, texts in statements.items():
                self.planted[kind] = sum(self._try(conn, text) for text in texts)

    def _try(self, conn: Connection, text: str) -> bool:
        try:
            conn.execute(text)
        except psycopg.Error as problem:
            self.failed.append(f"{problem.diag.message_primary}: {' '.join(text.split())[:120]}")
            return False
        return True

    def _trace(self, conn: Connection) -> None:
        home = quote(self.schema)
        conn.execute(
            f"create sequence {home}.ran; grant usage on sequence {home}.ran to public;"
            f" create function {home}.trace(what pg_catalog.text) returns pg_catalog.bool language plpgsql as $$"
            " begin"
            f"  perform pg_catalog.nextval('{home}.ran');"
            f"  raise log 'hostile %: % ran as %, %', pg_catalog.current_database(), what, session_user, current_user;"
            "  return true;"
            " end $$"
        )

    def _traced(self, what: str) -> str:
        return f"{quote(self.schema)}.trace({literal(what)})"

    # ----------------------------------------------------------------------------------------------

    def _types(self, conn: Connection, words: set[str]) -> list[str]:
        """A domain over each type that our SQL names; over text where the type is none that can be stored."""
        rows = query(
            conn,
            "select typname::text as name, typtype = 'p' as is_pseudo from pg_type"
            " where typnamespace = 'pg_catalog'::regnamespace and typname::text = any (%s)"
            " and typtype in ('b', 'p', 'e', 'r')",
            [sorted(words)],
        )
        return [
            f"create domain {quote(self.schema)}.{quote(row['name'])}"
            f" as pg_catalog.{'text' if row['is_pseudo'] else quote(row['name'])}"
            f" check ({self._traced('type ' + row['name'])})"
            for row in rows
        ]

    def _functions(self, conn: Connection, words: set[str]) -> list[str]:
        """A twin of each function; with array arguments for VARIADIC "any", which PL/pgSQL cannot take."""
        rows = query(
            conn,
            "select p.proname::text as name, pg_get_function_identity_arguments(p.oid) as arguments,"
            "       pg_get_function_result(p.oid) as result, p.proretset, p.oid::regprocedure::text as signature"
            " from pg_proc as p where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f'"
            "   and p.proname::text = any (%s) and pg_get_function_result(p.oid) is not null",
            [sorted(words)],
        )
        made = []
        for row in rows:
            kinds = ["VARIADIC text[]", "VARIADIC anyarray"] if '"any"' in row["arguments"] else [""]
            for kind in kinds:
                arguments = row["arguments"].replace('VARIADIC "any"', kind).replace('"any"', "anyelement")
                result = "text" if row["result"] in ("internal", "cstring", "void") else row["result"]
                made.append(self._function(row["name"], arguments, result, row["signature"]))
        return made

    def _function(self, name: str, arguments: str, result: str, what: str) -> str:
        body = "return;" if result.startswith(("SETOF", "TABLE")) else "return null;"
        return (
            f"create function {quote(self.schema)}.{quote(name)}({arguments}) returns {result} language plpgsql as $$"
            f" begin perform {self._traced('function ' + what)}; {body} end $$"
        )

    def _better_functions(self, conn: Connection, model: Connection, words: set[str]) -> list[str]:
        """Functions that fit a name or a varchar better than PostgreSQL's own and ours, which take text."""
        statement = (
            "select distinct p.proname::text as name, pg_get_function_identity_arguments(p.oid) as arguments"
            " from pg_proc as p where p.pronamespace::regnamespace::text = %s and p.prokind = 'f'"
            "   and (%s::text[] is null or p.proname::text = any (%s))"
            "   and 'text'::regtype = any (p.proargtypes) and p.provariadic = 0"
        )
        rows = query(conn, statement, ["pg_catalog", sorted(words), sorted(words)])
        rows += query(model, statement, ["public", None, None])
        return [
            self._function(
                row["name"],
                re.sub(r"\btext\b(?!\[)", kind, row["arguments"]),
                "text",
                f"{row['name']}({kind})",
            )
            for row in rows
            for kind in ("name", "varchar")
            if "[]" not in row["arguments"]
        ]

    def _aggregates(self, conn: Connection, words: set[str]) -> list[str]:
        rows = query(
            conn,
            "select p.proname::text as name, pg_get_function_identity_arguments(p.oid) as arguments from pg_proc as p"
            " where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'a' and p.proname::text = any (%s)"
            "   and pg_get_function_identity_arguments(p.oid) !~ 'ORDER BY|VARIADIC|internal'",
            [sorted(words)],
        )
        home = quote(self.schema)
        made = []
        for number, row in enumerate(rows):
            arguments = row["arguments"].replace('"any"', "anyelement")
            inputs = f"text, {arguments}" if arguments else "text"
            made.append(
                f"create function {home}.step_{number}({inputs}) returns text language plpgsql as $$"
                f" begin perform {self._traced('aggregate ' + row['name'])}; return null; end $$"
            )
            made.append(
                f"create aggregate {home}.{quote(row['name'])}({arguments or '*'})"
                f" (sfunc = {home}.step_{number}, stype = text, initcond = '')"
            )
        return made

    def _operators(self, conn: Connection, operators: set[str]) -> list[str]:
        rows = query(
            conn,
            "select oprname::text as name, nullif(oprleft, 0)::regtype::text as l, oprright::regtype::text as r,"
            "       oprresult::regtype::text as result from pg_operator"
            " where oprnamespace = 'pg_catalog'::regnamespace and oprname::text = any (%s) and oprresult <> 0",
            [sorted(operators)],
        )
        home = quote(self.schema)
        made = []
        for number, row in enumerate(rows):
            left = f"leftarg = {row['l']}, " if row["l"] else ""
            what = f"operator {row['l']} {row['name']} {row['r']}"
            made.append(
                f"create function {home}.operator_{number}({', '.join(filter(None, [row['l'], row['r']]))})"
                f" returns {row['result']} language plpgsql as $$ begin perform"
                f" {self._traced(what)}; return null; end $$"
            )
            made.append(
                f"create operator {home}.{row['name']}"
                f" ({left}rightarg = {row['r']}, function = {home}.operator_{number})"
            )
        return made

    def _casts(self) -> list[str]:
        """Implicit casts to a type of the owner's, and functions of that type: of others' types nobody may make one."""
        home = quote(self.schema)
        made = [f"create type {home}.caught as (x pg_catalog.text)"]
        for source in ("text", "name", "int4", "int8", "bool", "jsonb", "timestamptz", "uuid", "bytea"):
            made.append(
                f"create function {home}.caught_{source}({source}) returns {home}.caught language plpgsql as $$"
                f" begin perform {self._traced('cast from ' + source)}; return null; end $$"
            )
            made.append(
                f"create cast ({source} as {home}.caught) with function {home}.caught_{source}({source}) as implicit"
            )
        for name in (
            "set_config",
            "format",
            "_begin_migration",
            "current_setting",
            "record_signal",
            "quote_ident",
        ):
            made.append(self._function(name, f"{home}.caught", "text", f"{name}(caught)"))
        return made

    def _relations(self, conn: Connection, model: Connection, words: set[str]) -> list[str]:
        names = {
            row["n"]
            for row in query(
                conn,
                "select relname::text as n from pg_class where relkind in ('r', 'v')"
                " and relnamespace = 'pg_catalog'::regnamespace and relname::text = any (%s)",
                [sorted(words)],
            )
        }
        names |= {
            row["n"]
            for row in query(
                model,
                "select relname::text as n from pg_class where relkind in ('r', 'v')"
                " and relnamespace = 'public'::regnamespace",
            )
        }
        home = quote(self.schema)
        views = [
            f"create view {home}.{quote(name)} as select {self._traced('relation ' + name)}::text as name,"
            f" true as rolsuper, 1::oid as oid, null::text as checksum"
            for name in sorted(names)
        ]
        return [*views, f"grant all on all tables in schema {home} to public"]

    def _ours(self, model: Connection) -> list[str]:
        """A twin of each function of an installation."""
        rows = query(
            model,
            "select p.proname::text as name, p.prokind, array_to_string(array("
            "  select format_type(t.type, null) from unnest(p.proargtypes) with ordinality as t(type, place)"
            "  order by place), ', ') as arguments"
            " from pg_proc as p where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype",
        )
        home = quote(self.schema)
        made = [
            self._function(row["name"], row["arguments"], "text", f"{row['name']} of ours") for row in rows
        ]
        made += [
            f"create procedure {home}.{quote(row['name'])}({row['arguments']}) language plpgsql as $$"
            f" begin perform {self._traced('procedure ' + row['name'])}; end $$"
            for row in rows if row["prokind"] == "p"
        ]  # fmt: skip
        return made

    # ----------------------------------------------------------------------------------------------

    def ran(self) -> list[str]:
        """What ran and as whom, from the log; none if the sequence says that none did."""
        with psycopg.connect(self.server.dsn(self.dbname), autocommit=True) as conn:
            conn.execute("set search_path = pg_catalog")
            if not one(conn, f"select is_called from {quote(self.schema)}.ran"):
                return []
        log = self.server.log.read_text(encoding="utf-8", errors="replace")
        found = re.findall(rf"hostile {self.dbname}: (.* ran as .*)", log)
        assert found
        return sorted(set(found))


def literal(text: str) -> str:
    """A text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
