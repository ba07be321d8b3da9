"""verify_export: what holds, and that nothing else does. No traceback ever."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha_db.evidence import offline_check
from alpha_db.evidence.offline_check import (
    ExportResult,
    Refused,
    Signed,
    Unreadable,
    parse_vkey,
    read_lines,
    verify_export,
    verify_proof,
)
from tests.evidence.made_by_hand import SIGNER, Book, bit_flips, gzipped, line

KEYS = [parse_vkey(SIGNER.vkey)]
BOOK = Book.of(12)


def check(lines: Sequence[bytes] | bytes, head: Signed | None = None) -> ExportResult:
    data = lines if isinstance(lines, bytes) else b"".join(lines)
    return verify_export(read_lines(io.BytesIO(data)), head)


@cache
def signed(book: Book = BOOK, size: int | None = None) -> Signed:
    return verify_proof(book.run(size), KEYS).run.head(book.table)


def refused(lines: Sequence[bytes] | bytes, words: str, head: Signed | None = None) -> None:
    with pytest.raises(Refused, match=words):
        check(lines, head)


def unreadable(lines: Sequence[bytes] | bytes, words: str | None = None, head: Signed | None = None) -> None:
    with pytest.raises(Unreadable, match=words):
        check(lines, head)


def test_every_range_of_a_book_and_every_checkpoint() -> None:
    for first in range(1, 14):
        for last in range(first - 1, 13):
            found = check(BOOK.export(first, last))
            assert (found.first_id, found.last_id, found.rows) == (first, last, last - first + 1)
            assert (found.previous_hash, found.last_hash) == (
                BOOK.hashes[first - 1].hex(),
                BOOK.hashes[last].hex(),
            )
            assert (found.origin, found.table, found.signed_to) == (BOOK.origin, "signals", None)
            for size in range(13):
                if size > last:
                    with pytest.raises((Refused, Unreadable)):
                        check(BOOK.export(first, last), signed(size=size))
                elif first <= size + 1:
                    assert check(BOOK.export(first, last), signed(size=size)).signed_to == size
                else:
                    unreadable(BOOK.export(first, last), "begins behind them", signed(size=size))


def test_an_increment_without_new_rows_continues_what_was_signed() -> None:
    for size in range(13):
        assert check(BOOK.export(size + 1, size), signed(size=size)).signed_to == size
    other = Book([*BOOK.rows[:4], BOOK.rows[4].replace(".50", ".51"), *BOOK.rows[5:]])
    refused(other.export(9, 8), "rows 1 to 8 are not those", signed(size=8))
    refused(other.export(9, 12), "rows 1 to 8 are not those", signed(size=8))
    refused(BOOK.export(9, 8), "12 rows were signed, the export ends at row 8", signed())
    unreadable(BOOK.export(9, 8), "begins behind them", signed(size=7))


def test_the_row_before_the_first_has_one_hash() -> None:
    header = {**BOOK.header(6), "previous_hash": "0" * 64}
    refused([line(header), line({**BOOK.end(6, 5), "last_hash": "0" * 64})], "contradicts itself")


def test_whatever_a_row_holds_no_limit_decides() -> None:
    numbers = f'{{"id":1,"n":1{"0" * 5000},"m":-0.{"1" * 5000}e99999}}'
    nested = '{"id":2,"deep":' + "[" * 5000 + "]" * 5000 + "}"
    long = '{"id":3,"x":"' + 'é\\"\n' * 1_000_000 + '"}'
    turned = '{"deep":' + '{"id":9,"a":[' * 5000 + "]}" * 5000 + ',"s":"\\"id\\":7","id":4}'
    book = Book([numbers, nested, long, turned])
    assert check(book.export(), signed(book)).signed_to == 4
    for n in range(1, 5):
        assert verify_proof(book.proof(n), KEYS).id == n
    wrong = Book(['{"deep":' + "[" * 5000 + "]" * 5000 + ',"id":2}'])
    refused(wrong.export(), "row 1 says of itself that it is row 2")
    with pytest.raises(Refused, match="row 1 says of itself that it is row 2"):
        verify_proof(wrong.proof(1), KEYS)


def test_an_empty_table() -> None:
    empty = Book([])
    assert check(empty.export()) == ExportResult(
        empty.origin, "signals", 1, 0, 0, empty.hashes[0].hex(), empty.hashes[0].hex(), None
    )
    assert check(empty.export(), signed(empty)).signed_to == 0
    refused(empty.export(), "the end is missing", signed())


def test_more_rows_than_are_added_to_the_tree_at_once() -> None:
    long = Book.of(2500)
    told: list[int] = []
    lines = long.export(2)
    assert verify_export(lines, signed(long, 2400), told.append).signed_to == 2400
    assert told == [1023, 2047]
    assert check(long.export(1000), signed(long)).rows == 1501


def test_every_bit_counts() -> None:
    data = b"".join(Book.of(3).export())
    place = data.index(b"subtrees")  # the longest header has them all
    assert place
    for first in (1, 3):
        export = b"".join(Book.of(3).export(first))
        head = signed(Book.of(3))
        for changed in bit_flips(export):
            with pytest.raises((Refused, Unreadable)):
                check(changed, head)


def test_without_a_checkpoint_only_subtrees_may_be_wrong() -> None:
    export = b"".join(Book.of(3).export())
    for changed in bit_flips(export):
        try:
            check(changed)
        except (Refused, Unreadable):
            continue
        # the installation's id is not part of a hash: it is what the checkpoint is for
        assert changed.splitlines()[1:] == export.splitlines()[1:]
        assert json.loads(changed.splitlines()[0])["origin"] != BOOK.origin


def test_cut_short() -> None:
    export = b"".join(BOOK.export())
    for end in range(len(export)):
        with pytest.raises(Unreadable):
            check(export[:end])
    unreadable(BOOK.export()[:-1], "no end line after row 12")
    unreadable(b"", "it is empty")
    unreadable(b"root:x:0:0\n", "it is no export")
    # cut short, with an end line made for it: the checkpoint tells
    assert check(BOOK.export(last=9)).last_id == 9
    refused(BOOK.export(last=9), "12 rows were signed, the export ends at row 9", signed())


def test_rows_missing_twice_in_another_order_or_from_another_book() -> None:
    lines = BOOK.export()
    refused(lines[:5] + lines[6:], "row 5 is missing")
    refused(lines[:5] + lines[4:], "row 5 is missing")
    refused([lines[0], *lines[2:]], "row 1 is missing")
    refused([*lines[:4], lines[5], lines[4], *lines[6:]], "row 4 is missing")
    refused([lines[0], *lines[-2:0:-1], lines[-1]], "row 1 is missing")
    refused([*lines[:-2], lines[-1]], "the end line does not fit")
    refused([*lines, *lines], "something stands behind")
    refused([*lines, b"\n"], "something stands behind")
    refused([*lines, *lines[1:]], "something stands behind")
    refused([*lines[:6], *Book.of(12, "ai_debates").export()[6:]], "row 6 does not give its hash")
    longer = Book.of(13).export()
    refused([*longer[:-1], lines[-1]], "the end line does not fit")
    # two ranges after one another are not one export
    unreadable(BOOK.export(1, 5)[:-1] + BOOK.export(6), "alpha-db/export-end/v1")
    refused(b"".join(BOOK.export(1, 5)) + b"".join(BOOK.export(6)), "something stands behind")


def test_edits() -> None:
    def row(n: int, **changes: Any) -> bytes:
        return line({**BOOK.row(n), **changes})

    lines = BOOK.export()
    refused([*lines[:3], row(3, row_data=BOOK.rows[2] + " "), *lines[4:]], "row 3 does not give its hash")
    refused([*lines[:3], row(3, row_hash="0" * 64), *lines[4:]], "row 3 does not give its hash")
    # written anew from row 4 on: the chain holds, the checkpoint does not
    rows = list(BOOK.rows)
    rows[3] = rows[3].replace(".50", ".51")
    anew = Book(rows)
    assert check(anew.export()).last_id == 12
    refused(anew.export(), "rows 1 to 12 are not those that desk.example/log signed", signed())
    assert check(anew.export(), signed(size=3)).signed_to == 3
    refused(anew.export(), "rows 1 to 4 are not those", signed(size=4))
    # a part of it, with the subtrees that belong to it, and with those of the true book
    refused(anew.export(6), "rows 1 to 12 are not those", signed())
    subtrees = BOOK.header(6)["subtrees"]
    mixed = [line({**anew.header(6), "subtrees": subtrees}), *anew.export(6)[1:]]
    refused(mixed, "header contradicts itself", signed())
    subtrees = BOOK.header(7)["subtrees"]
    refused([line({**anew.header(7), "subtrees": subtrees}), *anew.export(7)[1:]], "not those", signed())
    # rows passed off as others: the ids moved by one, or only named otherwise inside
    moved = Book([BOOK.rows[0].replace('"id":1', '"id":2')])
    refused(moved.export(), "row 1 says of itself that it is row 2")
    for text in ("{}", "[]", "7", "nonsense", '{"id":true}', '{"id":"1"}', '{"id":1.0}', "[" * 100_000):
        refused(Book([text]).export(), "row 1 says of itself that it is ")
    # in another column order the id is found as well
    assert check(Book(['{"a":1,"id":1}', '{"id":2}']).export()).rows == 2


def test_the_checkpoint_of_another_log() -> None:
    other = Book.of(12, "ai_debates")
    refused(BOOK.export(), "the checkpoint of alpha-db/.*/ai_debates", signed(other))
    elsewhere = Book(BOOK.rows)
    elsewhere.installation = "00000000" + BOOK.installation[8:]
    refused(BOOK.export(), "the checkpoint of alpha-db/00000000", signed(elsewhere))
    # the log of runs is exported and compared as any other
    runs = BOOK.runs()
    head = verify_proof(BOOK.run(), KEYS).run.head("checkpoint_runs")
    assert check(runs.export(), head).signed_to == 3
    refused(runs.export(last=2), "3 rows were signed", head)
    refused(BOOK.export(), "the checkpoint of alpha-db/.*/checkpoint_runs", head)
    unreadable([line({**BOOK.header(), "table": "ai_debates"}), *BOOK.export()[1:]], "header")
    refused([line({**BOOK.header(), "previous_hash": "0" * 64}), *BOOK.export()[1:]], "not with the genesis")
    refused([line({**BOOK.header(5), "previous_hash": "0" * 64}), *BOOK.export(5)[1:]], "row 5 does not give")


BAD_HEADERS = {
    "format": ['"alpha-db/export/v2"', "null", "1"],
    "origin": ['"alpha-db/signals"', '"signals"', "null"],
    "table": ["7", "null", '"ai_debates"'],
    "first_id": [
        "0",
        "-1",
        '"1"',
        "1.0",
        "1e0",
        "true",
        "null",
        str(2**63),
        "1" + "0" * 5000,
        "NaN",
        "Infinity",
    ],
    "previous_hash": ["null", '""', f'"{"A" * 64}"', f'"{"0" * 63}"', f'"{"0" * 65}"', f'"{"٠" * 64}"'],
    "subtrees": ["null", '""', "{}", '[""]', '["AA=="]', "[1]", "[null]", "[[]]", f'["{"A" * 43}="]'],
}


def test_headers_and_end_lines_that_are_none() -> None:
    lines, header, end = BOOK.export(), BOOK.header(), BOOK.end()
    for name, values in BAD_HEADERS.items():
        for value in values:
            unreadable([line({**header, name: "@"}).replace(b'"@"', value.encode()), *lines[1:]])
        unreadable([line({k: v for k, v in header.items() if k != name}), *lines[1:]])
    unreadable([line({**header, "more": 1}), *lines[1:]], "members")
    unreadable([line({**header})[:-2] + b',"first_id":1}\n', *lines[1:]])
    unreadable([*lines[:-1], line({**end})[:-2] + b',"rows":12}\n'])
    unreadable([*lines[:-1], line({**end, "more": 1})], "members")
    refused([*lines[:-1], line({**end, "rows": 11})], "end line")
    refused([*lines[:-1], line({**end, "last_id": 11})], "end line")
    refused([*lines[:-1], line({**end, "last_hash": "0" * 64})], "end line")
    for nonsense in (b"\n", b"[]\n", b"null\n", b"{}\n", b"x", b"{" * 100_000 + b"}\n", b'{"a":' * 50_000 + b"}\n",
                     b"[" * 100_000 + b"}\n", b"\0" * 100, b"\xff\xfe{}\n", b"NaN\n"):  # fmt: skip
        unreadable([nonsense, *lines[1:]])
        unreadable([*lines[:4], nonsense, *lines[4:]])
        unreadable([*lines[:-1], nonsense])


def test_a_row_is_written_in_one_way_only() -> None:
    lines, good = BOOK.export(), BOOK.row(2)
    text = line(good).decode()
    ways = {
        "blanks": json.dumps(good, ensure_ascii=False) + "\n",
        "a blank at the end": text.replace("}\n", "} \n"),
        "CRLF": text.replace("\n", "\r\n"),
        "order": line(dict(reversed(good.items()))).decode(),
        "a second id": text.replace('{"id":2', '{"id":2,"id":2'),
        "a second row_data": text.replace("}\n", ',"row_data":"x"}\n'),
        "a row_data before": text.replace('"row_data":', '"row_data":"x","row_data":'),
        "one more member": text.replace("}\n", ',"more":1}\n'),
        "one less": '{"id":2}\n',
        "an id with a zero before it": text.replace('"id":2', '"id":02', 1),
        "an id that is text": text.replace('"id":2', '"id":"2"', 1),
        "an enormous id": text.replace('"id":2', '"id":' + "9" * 5000, 1),
        "row_data that is an object": text.replace(json.dumps(good["row_data"], ensure_ascii=False), "{}"),
        "a raw tab": text.replace("é", "\t"),
        "half a character": text.replace("é", "\\ud800"),
        "a bad escape": text.replace("é", "\\x"),
        "two rows in a line": text.replace("\n", text),
        "nothing": "\n",
    }
    for what, way in ways.items():
        assert way != text
        with pytest.raises(Unreadable):
            pytest.fail(f"{what}: {check([*lines[:2], way.encode(), *lines[3:]])}")
    for raw in (
        text.encode().replace("é".encode(), b"\xe9"),
        text.encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
    ):
        unreadable([*lines[:2], raw, *lines[3:]], "line 3")
    # upper case, and the same letter spelled otherwise: the hash is of what JSON says
    refused(
        [*lines[:2], text.replace(good["row_hash"], good["row_hash"].upper()).encode(), *lines[3:]], "hash"
    )
    assert check([*lines[:2], text.replace("é", "\\u00e9").encode(), *lines[3:]]).rows == 12


def test_line_ends_and_byte_order_marks() -> None:
    export = b"".join(BOOK.export())
    unreadable(export.replace(b"\n", b"\r\n"), "CRLF line ends .*tr -d")
    unreadable(export.replace(b"}\n{", b"}\r\n{", 3).replace(b"\r", b"", 1), "CRLF line ends")
    unreadable(export.replace(b"\n", b"\r"), "line 1")
    unreadable(b"\xef\xbb\xbf" + export, "byte order mark .*tail -c")
    unreadable(export.decode().encode("utf-16"), "UTF-16")
    unreadable(export.removesuffix(b"\n"), "cut short")


def test_gzip() -> None:
    export = b"".join(BOOK.export())
    packed = gzipped(export)
    assert check(packed, signed()).rows == 12
    # in several parts, as cat makes it
    assert check(gzipped(export[:100]) + gzipped(export[100:])).rows == 12
    for end in range(2, len(packed)):
        with pytest.raises(Unreadable):
            check(packed[:end])
    chance = random.Random(3)
    for _ in range(300):
        place = chance.randrange(10, len(packed))
        try:
            found = check(chance.choice(bit_flips(packed, [place])))
        except (Refused, Unreadable):
            continue
        # the last byte before the checksum has bits that mean nothing
        assert (place, found) == (len(packed) - 9, check(export))
    unreadable(packed + b"garbage", "gzip .*something else stands behind it$")
    refused(packed + packed, "something stands behind")
    unreadable(gzipped(packed))


def test_a_line_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline_check, "MAX_LINE", 100_000)
    book = Book(['{"id":1,"x":"' + "x" * 200_000 + '"}'])
    unreadable(book.export(), "longer than 100,000 bytes")
    bomb = gzipped(BOOK.export()[0] + b"0" * 30_000_000)
    tracemalloc.start()
    try:
        unreadable(bomb, "longer than 100,000 bytes")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_rows() -> None:
    def lines(book: Book) -> Any:
        # made one by one, as they come from a file
        yield line(book.header())
        for n in range(1, len(book.rows) + 1):
            yield line(book.row(n))
        yield line(book.end())

    peaks = []
    for count in (2_000, 5_000):
        book, head = Book.of(count), signed(Book.of(count))
        tracemalloc.start()
        try:
            verify_export(lines(book), head)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000


@given(st.lists(st.text(), max_size=6), st.data())
def test_any_text_survives_and_any_slip_is_found(notes: list[str], data: st.DataObject) -> None:
    texts = [json.dumps({"id": n, "note": note}, ensure_ascii=False, separators=(",", ":"))
             for n, note in enumerate(notes, 1)]  # fmt: skip
    try:
        book = Book(texts)
    except UnicodeEncodeError:
        return  # half a character: PostgreSQL does not have such texts
    export = b"".join(book.export())
    # the signature, which other tests verify, would take three quarters of the time
    head = verify_proof(book.run(), KEYS, lambda *_: True).run.head(book.table)
    assert check(export, head).rows == len(notes)
    place = data.draw(st.integers(0, len(export) - 1))
    slip = data.draw(
        st.sampled_from([
            export[:place] + export[place + 1 :],
            export[:place] + export[place : place + 1] + export[place:],
            export[:place] + data.draw(st.binary(max_size=20)) + export[place:],
        ])
    )  # fmt: skip
    try:
        found = check(slip, head)
    except (Refused, Unreadable):
        return
    # another spelling of the same rows at most
    assert (found.rows, found.last_hash) == (len(notes), book.hashes[-1].hex())


@given(st.binary(max_size=300))
def test_nonsense_is_unreadable(data: bytes) -> None:
    for start in (b"", b"\x1f\x8b", BOOK.export()[0]):
        with pytest.raises((Unreadable, Refused)):
            check(start + data)
