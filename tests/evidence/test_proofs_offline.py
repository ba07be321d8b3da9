"""verify_proof: a row, or a run, with its place in what was signed; and everything near it refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from alpha_db.evidence.offline_check import (
    LOG_OF_RUNS,
    NotThere,
    Proof,
    Refused,
    Unreadable,
    parse_vkey,
    verify_proof,
)
from alpha_db.security.ed25519 import verify
from tests.evidence.made_by_hand import (
    OTHER,
    SIGNER,
    Book,
    Signer,
    bit_flips,
    checkpoint_text,
    line,
    path_of,
    run_proof,
    run_row,
    tlog_proof,
    without,
)

KEYS = [parse_vkey(SIGNER.vkey)]
BOOK = Book.of(13)
RUNS = BOOK.runs()
EXTRA = BOOK.extra(7)
PROOF = BOOK.proof(7)


def check(text: str) -> Proof:
    return verify_proof(text, KEYS, verify)


def proof(extra: dict[str, Any] | bytes, note: str | None = None) -> str:
    return tlog_proof(extra, RUNS, note or BOOK.note())


def edited(old: str, new: str, text: str = PROOF) -> str:
    assert old in text
    return text.replace(old, new, 1)


def refused(text: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        check(text)


def unreadable(text: str, words: str | None = None) -> None:
    with pytest.raises(Unreadable, match=words):
        check(text)


def test_every_row_at_every_size() -> None:
    small = Book.of(6)
    for size in range(1, 7):
        for n in range(1, size + 1):
            found = check(small.proof(n, size))
            assert (found.table, found.id, found.row_data) == ("signals", n, small.rows[n - 1])
            assert (found.row_hash, found.head) == (small.hashes[n].hex(), found.run.head("signals"))
            assert (found.head.origin, found.head.size, found.head.signer) == (
                small.origin,
                size,
                SIGNER.name,
            )
            assert (found.run.id, found.note) == (3, small.note(size))
    assert verify_proof(small.proof(2), KEYS).id == 2  # with the Ed25519 of the file itself


def test_every_run() -> None:
    for n in range(1, 4):
        part = Book(RUNS.rows[:n], LOG_OF_RUNS)
        found = check(run_proof(part))
        assert (found.table, found.id, found.row_data) == (LOG_OF_RUNS, n, RUNS.rows[n - 1])
        assert found.run_row[:3] == (n, RUNS.hashes[n - 1].hex(), RUNS.rows[n - 1])
        assert (found.run.checkpoint.origin, found.run.checkpoint.size) == (SIGNER.name, n)
    assert list(found.run.heads) == ["signals"]
    assert found.run.head(LOG_OF_RUNS).origin == f"alpha-db/{BOOK.installation}/{LOG_OF_RUNS}"
    # an older run in a newer checkpoint: nobody compared it with the logs when that was signed
    for n in (1, 2):
        extra = {
            "format": "alpha-db/run/v1",
            "previous_hash": RUNS.hashes[n - 1].hex(),
            "row_data": RUNS.rows[n - 1],
        }
        with pytest.raises(Refused, match="not the last run that was signed"):
            check(tlog_proof(extra, RUNS, BOOK.note(), n - 1))


@pytest.mark.parametrize("text", [PROOF, BOOK.run()], ids=["row", "run"])
def test_every_byte_counts(text: str) -> None:
    data = text.encode()
    for place in range(len(data)):
        flipped = bit_flips(data, [place])[place * 3 % 8]
        for changed in (
            flipped,
            data[:place] + data[place + 1 :],
            data[:place] + b"A" + data[place:],
            data[:place],
        ):
            try:
                found = changed.decode()
            except UnicodeDecodeError:
                continue  # it does not even get that far
            with pytest.raises((Refused, Unreadable)):
                pytest.fail(f"byte {place}: {check(found)}")


def test_a_row_that_does_not_fit() -> None:
    other = BOOK.extra(8)

    def wrong(words: str, **changes: Any) -> None:
        refused(proof({**EXTRA, **changes}), words)

    wrong("row 8 says of itself that it is row 7", id=8)
    wrong("row 7 says of itself that it is row 8", row_data=other["row_data"])
    wrong("is not the row 7 of the log", previous_hash=other["previous_hash"])
    for path in (other["proof"], EXTRA["proof"][:-1], EXTRA["proof"][1:], EXTRA["proof"][::-1], [],
                 [*EXTRA["proof"], EXTRA["proof"][0]], EXTRA["proof"] * 100):  # fmt: skip
        wrong("is not the row 7 of the log", proof=path)
    # a row that was changed: with the path of the true one, and with its own
    forged = Book([*BOOK.rows[:6], EXTRA["row_data"].replace("7.50", "7.51"), *BOOK.rows[7:]])
    wrong("is not the row 7 of the log", row_data=forged.rows[6])
    refused(proof({**forged.extra(7), "run": EXTRA["run"]}), "is not the row 7 of the log")
    # row 1 of a table follows its genesis
    alien = Book(['{"id":1}'])
    alien.hashes[:] = [bytes(32), *Book(['{"id":1}']).hashes[1:]]
    refused(alien.proof(1), "genesis of signals")


def test_a_row_of_another_table() -> None:
    votes = Book.of(13, "votes")
    both = Book.runs(BOOK, together=[BOOK, votes])
    note = SIGNER.sign(checkpoint_text(both))
    run = {"previous_hash": both.hashes[2].hex(), "row_data": both.rows[2]}
    assert check(tlog_proof({**EXTRA, "run": run}, both, note)).head.size == 13
    refused(tlog_proof({**EXTRA, "run": run, "table": "votes"}, both, note), "is not the row 7")
    refused(tlog_proof({**BOOK.extra(1), "run": run, "table": "votes"}, both, note), "genesis of votes")
    refused(proof({**EXTRA, "table": "votes"}), "run 3 has no root of the log votes")
    refused(proof({**EXTRA, "table": "\x1b[2J"}), r"no root of the log \\u001b\[2J")
    with pytest.raises(NotThere, match="run 3 does not name the table votes"):
        check(PROOF).run.head("votes")


def test_a_run_that_does_not_fit() -> None:
    fewer = BOOK.extra(7, 12)
    not_in_log = f"run 3 is not the run 3 of the log that {SIGNER.name} signed"
    refused(proof({**EXTRA, "run": fewer["run"]}), not_in_log)
    refused(proof(EXTRA, BOOK.note(12)), not_in_log)
    refused(proof({**EXTRA, "run": {**EXTRA["run"], "previous_hash": "0" * 64}}), not_in_log)
    refused(
        proof({**EXTRA, "run": {**EXTRA["run"], "row_data": RUNS.rows[1]}}),
        "row 3 says of itself that it is row 2",
    )
    refused(edited("index 2\n", "index 0\n"), "genesis of checkpoint_runs")
    for index in ("1", "3", "999999999999999999"):
        refused(edited("index 2\n", f"index {index}\n"), "says of itself that it is row 3")
    head, note = PROOF.split("\n\n", 1)
    *start, node = head.split("\n")
    other = base64.b64encode(bytes(32)).decode()
    for nodes in ([], [node, node], [other], [other, node], [node, other], [node] * 63):
        refused("\n".join([*start, *nodes, "", note]), not_in_log)
    refused(proof(EXTRA, Book.of(13, "votes").note()), not_in_log)
    refused(proof(EXTRA, BOOK.note(signer=OTHER)), "none of the trusted keys")
    refused(
        proof(EXTRA, SIGNER.sign(checkpoint_text(RUNS, OTHER))),
        "of the log else.example, and desk.example/log",
    )
    # a run that was written again, with a chain of its own: what was signed is another one
    again = Book([*RUNS.rows[:2], RUNS.rows[2].replace('"size": 13', '"size": 14')], LOG_OF_RUNS)
    refused(run_proof(again).split("\n\n")[0] + f"\n\n{BOOK.note()}", not_in_log)
    alien = Book([run_row(1, {})], LOG_OF_RUNS)
    alien.hashes[:] = [bytes(32), *alien.hashes[1:]]
    refused(run_proof(alien), "genesis of checkpoint_runs")


def encoded(extra: bytes | str) -> str:
    data = extra.encode("utf-8", "surrogatepass") if isinstance(extra, str) else extra
    return edited(f"extra {PROOF.split()[2]}", f"extra {base64.b64encode(data).decode()}")


def test_members_that_are_none_of_a_proof() -> None:
    values: tuple[Any, ...] = (
        None,
        7.0,
        True,
        [],
        {},
        "",
        -1,
        0,
        1 << 63,
        "x",
        ["x"],
        [7],
        [None],
        [[]],
        "A" * 64,
    )
    for name in EXTRA:
        for value in values:
            if not (value == [] and name == "proof"):
                with pytest.raises((Unreadable, Refused)):
                    pytest.fail(f"{name} {value}: {check(proof({**EXTRA, name: value}))}")
        unreadable(proof(without(EXTRA, name)))
    for name in EXTRA["run"]:
        for value in values:
            with pytest.raises((Unreadable, Refused)):
                pytest.fail(
                    f"{name} {value}: {check(proof({**EXTRA, 'run': {**EXTRA['run'], name: value}}))}"
                )
        unreadable(proof({**EXTRA, "run": without(EXTRA["run"], name)}), "members")
    unreadable(proof({**EXTRA, "more": 1}), "members")
    unreadable(proof({**EXTRA, "run": {**EXTRA["run"], "more": 1}}), "members")
    unreadable(proof({**EXTRA, "format": "alpha-db/run/v1"}))
    unreadable(proof({**EXTRA, "format": "alpha-db/row/v2"}), "alpha-db/row/v1 should stand")
    unreadable(proof({**EXTRA, "previous_hash": EXTRA["previous_hash"].upper()}), "malformed")
    unreadable(proof({**EXTRA, "proof": [EXTRA["proof"][0].rstrip("="), *EXTRA["proof"][1:]]}), "base64")


def test_extras_that_are_none() -> None:
    text = line(EXTRA).decode().rstrip("\n")
    assert encoded(text) == PROOF
    for wrong in ("{}", "[]", "null", "7", "NaN", '"x"', "\ufeff" + text, text * 2, text + "x", text[:-1], "x",
                  text.replace('"id":7', '"id":7,"id":7'), text.replace('"id":7', '"id":07'),
                  text.replace('"id":7', '"id":' + "9" * 5000), text.replace('"id":7', '"id":NaN'),
                  text.replace('"id":7', '"id":1e999'), text.replace('"id":7', '"id":7,"more":-Infinity'),
                  "[" * 100_000, '{"a":' * 100_000, text.replace("é", "\\ud800"), text.replace("é", "\ud800"),
                  text.replace('"run":{', '"run":{"row_data":"x",'), text.replace("é", "\t")):  # fmt: skip
        unreadable(encoded(wrong))
    for raw in (
        b"\xff\xfe",
        b"\0" * 100,
        text.encode("utf-16"),
        text.encode("utf-32"),
        text.encode("latin-1"),
        b"\x1f\x8b",
    ):
        unreadable(encoded(raw))


V, E, X, N, _, *NOTE = PROOF.split("\n")
DATA = E.removeprefix("extra ")

#: What the lines before the checkpoint may not look like.
LINES: dict[str, list[str]] = {
    "none": [],
    "another version": [V.replace("v1", "v2"), E, X, N, ""],
    "capitals": [V.upper(), E, X, N, ""],
    "no version": [E, X, N, ""],
    "an empty line before": ["", V, E, X, N, ""],
    "no extra": [V, X, N, ""],
    "two extras": [V, E, E, X, N, ""],
    "no index": [V, E, N, ""],
    "two indices": [V, E, X, X, N, ""],
    "the index first": [V, X, E, N, ""],
    "no empty line": [V, E, X, N],
    "a blank line": [V, E, X, N, " "],
    "a line of something else": [V, E, X, N, "hello", ""],
    "64 nodes": [V, E, X, *[N] * 64, ""],
    **{
        f"the extra line {extra[:12]!r} of {len(extra)}": [V, *extra.split("\n"), X, N, ""]
        for extra in (
            "extra", "extra ", "extra =", f"{E}=", f"{E} ", f" {E}", f"extra  {DATA}", f"extra{DATA}", f"extra\t{DATA}",
            f"extra {DATA.rstrip('=')}", f"{E[:-1]}-", f"{E[:40]}\n{E[40:]}", f"{E[:40]}*{E[40:]}",
            f"{E[:40]} {E[40:]}",
        )
    },
    **{
        f"the index line {index[:20]!r}": [V, E, index, N, ""]
        for index in (
            "index", "index ", "index 02", "index -2", "index +2", "index 2.0", "index 2e0", "index  2", "index 2 ",
            "index 0x2", "index ２", "index ²", "index 1" + "0" * 18, "index " + "9" * 5000, "index NaN", "index\t2",
            "index2",
        )
    },
    **{
        f"the node {node[:2]!r} of {len(node)}": [V, E, X, node, ""]
        for node in ("x", "A" * 44, "A" * 43, "A" * 42 + "==", "A" * 42 + "B=", "-" * 43 + "=", " " * 44, "A" * 87)
    },
}  # fmt: skip


@pytest.mark.parametrize("what", LINES)
def test_lines_that_are_none_of_a_proof(what: str) -> None:
    assert LINES[what] != [V, E, X, N, ""]
    unreadable("\n".join([*LINES[what], *NOTE]))


def test_what_stands_before_the_checkpoint_is_not_signed() -> None:
    for lines in ([V, E, X, N, "", ""], [V, E, X, "", N, ""], [V, E, X, N, "", "hello"]):
        refused("\n".join([*lines, *NOTE]), "was changed")


def test_what_is_no_proof() -> None:
    for wrong in (
        "",
        "\n",
        "x",
        "{}",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\n",
        BOOK.note(),
        "\0" * 100,
    ):
        unreadable(wrong, "empty|not a proof")
    unreadable(PROOF.replace("\n", "\r\n"), "CRLF line ends .*tr -d")
    unreadable(edited("\n\n", "\n\r\n"), "CRLF line ends")
    unreadable(PROOF.replace("\n", "\r"), "not a proof")
    unreadable(f"\ufeff{PROOF}", "byte order mark .*tail -c")
    unreadable(PROOF.split("\n\n", 1)[0] + "\n\n", "empty")
    unreadable(PROOF + "\n")
    refused(PROOF + PROOF, "was changed")
    # of another project: a proof, but not of our rows
    unreadable(edited(f"extra {PROOF.split()[2]}\n", ""), "alpha-db/row/v1 should stand")
    unreadable(encoded(b"age-v1.2.1-darwin-arm64.tar.gz"), "alpha-db/row/v1 should stand")


def run_of(old: str, new: str) -> str:
    """The proof of a signed run with something else in its row."""
    assert old in RUNS.rows[2]
    return run_proof(Book([*RUNS.rows[:2], RUNS.rows[2].replace(old, new, 1)], LOG_OF_RUNS))


ROOT, LAST = BOOK.head()["root"], BOOK.head()["row_hash"]
HEADS = f'{{"signals": {{"root": "{ROOT}", "size": 13, "row_hash": "{LAST}"}}}}'

#: Signed rows of checkpoint_runs that say nothing, so that nothing is concluded from them: what stands there, and what
#: stands there instead.
MALFORMED: dict[str, list[str]] = {
    HEADS: ["null", "[]", '""', "7", "[1]", '{"signals": null}', '{"signals": []}', '{"signals": 7}', '{"signals": {}}',
            HEADS[:-1] + f", {HEADS[1:]}",  # a table twice
            HEADS.replace("signals", LOG_OF_RUNS), HEADS.replace('"size"', '"more": 1, "size"'),
            HEADS.replace('"size": 13, ', ""), HEADS.replace('"size": 13', '"size": 13, "size": 13')],
    '"size": 13': [f'"size": {size}' for size in ("-1", "13.0", '"13"', "true", "null", str(1 << 63), "9" * 5000, "1e1",
                                                  "NaN", "Infinity", "[]", "013", "")],
    f'"root": "{ROOT}"': [f'"root": {root}' for root in (f'"{ROOT.upper()}"', f'"{ROOT[1:]}"', f'"{ROOT}0"', '""', "7",
                                                         "[]", "false", f'"{"٠" * 64}"', f'"{ROOT}\\n"')],
    f'"row_hash": "{LAST}"': ['"row_hash": 7', '"row_hash": ""', f'"row_hash": "{LAST.upper()}"', '"row_hash": {}'],
    f'"installation_id":"{BOOK.installation}"': [f'"installation_id":{value}' for value in
                                                 ('""', "null", "7", '"x"', f'"{BOOK.installation.upper()}"')],
    '"system_identifier":"7412345678901234567"': ['"system_identifier":7', '"system_identifier":"x"'],
    '"timeline":1': [f'"timeline":{value}' for value in ('"1"', "-1", "1.5", "null", "true", str(1 << 63))],
    '"wal_lsn":"0/15D4F28"': [f'"wal_lsn":{value}' for value in ('"0"', '""', '"x/y"', "7", '"0/15d4f28"', '"0/1/2"')],
    f'"guards_hash":"{"ab" * 32}"': ['"guards_hash":"ab"', '"guards_hash":null', f'"guards_hash":"{"AB" * 32}"'],
    '"server_version":"18.1"': ['"server_version":18.1', '"server_version":null'],
    '"recorded_by":"auditor"': ['"recorded_by":null', '"other":"auditor"'],
    "2026-01-25T12:00:03.123456+00:00": ["2026-13-25T12:00:03.123456+00:00", "2026-01-25", "", "2026-01-25T12:00:03Z",
                                         "2026-01-25T12:00:03.123456+01:00", "٢026-01-25T12:00:03+00:00", "now"],
    '"timeline"': ['"timeline":1,"timeline"', '"more":NaN,"timeline"', '"more":"\\ud800,"timeline"',
                   '"more":' + "[" * 100_000 + "]" * 100_000 + ',"timeline"', '"more":,"timeline"'],
}  # fmt: skip


@pytest.mark.parametrize("old", MALFORMED, ids=[old[:20] for old in MALFORMED])
def test_signed_runs_that_say_nothing(old: str) -> None:
    for new in MALFORMED[old]:
        unreadable(run_of(old, new), "run 3")


def test_signed_runs_that_hold() -> None:
    assert check(run_of('"timeline"', '"later":{"x":[1e5]},"timeline"')).run.timeline == 1
    assert check(run_of("auditor", "\\u001b[2J é")).run.id == 3
    broken = check(run_of(f'"root": "{ROOT}"', '"root": null')).run
    assert (broken.heads, broken.broken) == ({}, ["signals"])
    with pytest.raises(Unreadable, match="run 3 has no root of signals, because a row was missing"):
        broken.head("signals")
    empty = check(Book([]).run()).run.head("signals")
    assert (empty.size, empty.root.hex()[:8]) == (0, "e3b0c442")


def test_of_several_trusted_keys_the_one_of_the_log_counts() -> None:
    witness = Signer("witness.example", b"w" * 32)
    text = checkpoint_text(RUNS)
    keys = [parse_vkey(witness.vkey), *KEYS]
    for lines in (
        witness.signature_line(text) + SIGNER.signature_line(text),
        SIGNER.signature_line(text) + witness.signature_line(text),
    ):
        found = verify_proof(proof(EXTRA, f"{text}\n{lines}"), keys, verify)
        assert found.head.signer == SIGNER.name
    with pytest.raises(Refused, match=r"and witness\.example signed it"):
        verify_proof(proof(EXTRA, witness.sign(text)), keys, verify)
    with pytest.raises(Refused, match="was changed"):
        verify_proof(proof(EXTRA, BOOK.note() + witness.signature_line("x\n")), keys, verify)


def test_nodes_of_another_row() -> None:
    """A path that is right for another index is none for this one, in either tree."""
    for n in range(1, 14):
        if path_of(n - 1, BOOK.leaves) != path_of(6, BOOK.leaves):
            path = [base64.b64encode(node).decode() for node in path_of(n - 1, BOOK.leaves)]
            refused(proof({**EXTRA, "proof": path}), "is not the row 7")
    assert json.loads(base64.b64decode(PROOF.split()[2])) == EXTRA
