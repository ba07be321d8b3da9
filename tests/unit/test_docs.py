"""The documents agree with the product: codes, granted functions, commands, links."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from alpha_db import errors
from alpha_db.cli.main import COMMANDS
from alpha_db.errors import CODED, sqlstate_of
from alpha_db.sqlstates import HINTS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page for place in ("", "docs/**/", "examples/", "sql/", "tests/") for page in ROOT.glob(f"{place}*.md")
)
EXAMPLES = sorted(p for p in (ROOT / "examples").rglob("*") if p.is_file() and p.suffix != ".pyc")
MIGRATIONS = sorted(p for p in ROOT.glob("migrations/*.sql") if not p.name.endswith(".rollback.sql"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sql_pages() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/sql/*.md")))


def migrations_text() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in MIGRATIONS)


def without_code(text: str) -> str:
    """The page without its fenced blocks, where # and brackets mean something else."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings give, made as GitHub makes them, and those that it sets itself."""
    text = without_code(page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([\w-]+)"></a>', text))


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next of the same or a higher level."""
    match = re.search(rf"^(#+) {re.escape(heading)}$\n(.*?)(?=^#{{1,3}} |\Z)", read(page), re.DOTALL | re.M)
    assert match, f"{page} has no section {heading!r}"
    return match.group(2)


def links_of(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if "://" not in target:
            yield target


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        yield from ((page, target) for target in links_of(page))


def granted_functions() -> set[str]:
    lists = re.findall(r"_grant\('execute on routine', '{(.*?)}'", migrations_text(), re.DOTALL)
    # The procedures stand together, under "append_signal and the other append procedures".
    return {name for one in lists for name in re.findall(r"\w+", one) if not name.startswith("append_")}


def documented_functions() -> set[str]:
    """The functions that have a section of their own in docs/sql/."""
    headings = set(re.findall(r"^### (\w+)$", sql_pages(), re.M))
    return headings & set(re.findall(r"^create (?:function|procedure) (\w+)\(", migrations_text(), re.M))


def granted_relations() -> set[str]:
    lists = re.findall(r"_grant\('select on', '{(.*?)}'", migrations_text(), re.DOTALL)
    return {name for one in lists for name in re.findall(r"\w+", one)}


def test_parsing_finds_what_is_granted() -> None:
    # so that the tests below cannot pass on empty sets
    assert {
        "record_signal",
        "_refuse_float",
        "verify_guards",
        "chain_genesis",
        "lockdown_status",
    } <= granted_functions()
    assert {"vw_trade_audit_full", "guard_states"} <= granted_relations()
    assert len(list(links())) > 30


@pytest.mark.parametrize("name", sorted(granted_functions()))
def test_granted_function_is_on_a_page(name: str) -> None:
    internal = section("docs/sql/internals.md", "Internal functions")
    assert name in documented_functions() or f"`{name}()`" in internal


@pytest.mark.parametrize("name", sorted(granted_relations()))
def test_granted_relation_is_on_a_page(name: str) -> None:
    assert f"`{name}`" in sql_pages() or f"### {name}\n" in sql_pages()


@pytest.mark.parametrize("cls", CODED, ids=lambda cls: str(cls.code))
def test_code_has_its_section(cls: type) -> None:
    code = str(getattr(cls, "code", ""))
    assert f"[{code}](#{code.lower()})" in read("docs/errors.md")
    text = section("docs/errors.md", code)
    assert f"SQLSTATE `{sqlstate_of(code)}` · Python `{cls.__name__}`" in text
    assert "**Meaning.**" in text
    assert "**Cure.**" in text


@pytest.mark.parametrize("sqlstate", sorted({*HINTS, "42501", "42883", "42P01"}))
def test_postgresqls_own_code_has_its_section(sqlstate: str) -> None:
    text = section("docs/errors.md", sqlstate)
    found = re.search(r"^Python `(\w+)`$", text, re.M)
    assert found
    assert issubclass(getattr(errors, found[1]), errors.AlphaDbError)
    assert "**Meaning.**" in text
    assert "**Cure.**" in text


def test_every_code_that_is_raised_has_a_section() -> None:
    raised = set(re.findall(r"\b(?:AUD|RSK)-[0-9]{3}\b", migrations_text()))
    assert len(raised) >= 11
    assert {code.lower() for code in raised} <= anchors(ROOT / "docs" / "errors.md")


def refusals() -> Iterator[list[str]]:
    """The arguments of each call of _refuse() and _refuse_consensus() in the migrations."""
    text = migrations_text()
    for call in re.finditer(r"perform _refuse(?:_consensus)?\(", text):
        place, depth, quoted, arguments = call.end(), 1, False, [""]
        while depth:
            character = text[place]
            quoted ^= character == "'"
            depth += 0 if quoted else (character == "(") - (character == ")")
            if character == "," and depth == 1 and not quoted:
                arguments.append("")
            elif depth:
                arguments[-1] += character
            place += 1
        yield [argument.strip() for argument in arguments]


def test_every_refusal_has_a_detail_and_a_hint() -> None:
    found = list(refusals())
    assert len(found) > 60
    assert not [call for call in found if "null" in call[1:4] or len(set(call[1:4])) < 3]


def test_verdicts_are_listed() -> None:
    comment = re.search(r"comment on column chain_verdict\.verdict\s+is\s+('[^;]+');", migrations_text())
    assert comment
    verdicts = set(re.findall(r"\b[a-z]+(?:_[a-z]+)?\b", comment[1])) - {"or"}
    assert "not_run" in verdicts
    listed = section("docs/chain-format.md", "Verdicts")
    assert not {verdict for verdict in verdicts if f"`{verdict}`" not in listed}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_a_page_resolve(page: Path) -> None:
    """All in one test: one for each of the 1,200 links took seconds in every worker."""
    for target in links_of(page):
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.is_relative_to(ROOT), target
        assert goal.exists(), target
        if anchor:
            assert anchor in anchors(goal), target


def test_readme_names_both_set_up_commands() -> None:
    readme = read("README.md")
    assert re.search(r"^bin/quickstart\b", readme, re.M)
    assert re.search(r"^bin/test\b.*bin/test --all", readme, re.M)


def test_command_line_lists_every_command() -> None:
    commands = read("docs/command-line.md")
    assert not [name for name in COMMANDS if not re.search(rf"`{name}\b", commands)]


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_path_of_a_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"/(work|home|root|Users|dev/shm|tmp/[a-z])\b/?|[A-Z]:\\", text)


def test_readme_fits_on_two_screens() -> None:
    assert len(read("README.md").splitlines()) <= 100


def test_every_page_is_in_the_index() -> None:
    linked = {
        (ROOT / "docs" / target.partition("#")[0]).resolve()
        for page, target in links()
        if page == ROOT / "docs" / "README.md"
    }
    assert not [
        page.name for page in ROOT.glob("docs/**/*.md") if page not in linked and page.name != "README.md"
    ]


@pytest.mark.parametrize("picture", sorted(ROOT.glob("docs/**/*.svg")), ids=lambda p: p.name)
def test_picture_stands_alone(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert int(root.attrib["width"]) <= 800
    assert "title" in {child.tag.rpartition("}")[2] for child in root}
    assert not re.search(r"(?:href|src|url)\s*[=(]\s*[\"']?https?:|@import|@font-face", text)
    assert len(text) < 10_000


def test_page_that_the_code_names_is_there() -> None:
    folders = ("bench", "bin", "examples", "migrations", "python", "sql", "superuser", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    named = {
        f"{path.relative_to(ROOT)}: {page}"
        for path in files
        if path.suffix not in (".pyc", ".csv", ".md")
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert not [name for name in sorted(named) if not (ROOT / name.partition(": ")[2]).exists()]


def test_every_page_is_linked() -> None:
    linked = {(page.parent / target.partition("#")[0]).resolve() for page, target in links()}
    assert not [page.name for page in ROOT.glob("docs/**/*.md") if page not in linked]


def test_compose_file_is_valid() -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed (extra: lint)")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    result = subprocess.run(
        [*command, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_secret_in_the_compose_file() -> None:
    text = read("docker-compose.yml") + read(".env.example")
    # passwords only as names of files, and read from a file when a process starts
    assert not re.search(r"PASSWORD\s*[:=]\s*(?!\"\$\$\(cat )\S", text)
    assert "POSTGRES_PASSWORD_FILE: /run/secrets/" in text


EXIT_4 = {
    "docs/command-line.md": "4 damage was found, but the lockdown or its event could not be recorded",
    "docs/operations.md": "| 4 | damage, but the lockdown or its event could not be recorded |",
    "docs/checkpoints.md": "| 4 | damage, but the lockdown or its event could not be recorded |",
    "docs/chain-format.md": "exits with 4 instead of 1",
    "docs/threat-model.md": "its event cannot be recorded is exit code 4",
    "examples/cron/alpha-db": "4 damage, but the lockdown could not be",
    "examples/systemd/alpha-db-verify.service": "4 (damage, but the lockdown could not be recorded)",
    "docker-compose.yml": "3 could not run, 4 not locked",
    "python/alpha_db/cli/main.py": "4 damage, but the lockdown could not be recorded",
    "python/alpha_db/verify/cli/verify_chain.py": "4 for damage while the lockdown or its event could not be recorded",
    "python/alpha_db/verify/cli/verify_report.py": "4: damage, but the lockdown or its event could not be recorded",
}


@pytest.mark.parametrize("page", EXIT_4)
def test_exit_code_4_stands_where_the_others_do(page: str) -> None:
    assert EXIT_4[page] in " ".join(read(page).split())
