"""verify_proof: one row with its place in the log, and everything near it refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from alpha_db.evidence.offline_check import Refused, Unreadable, parse_vkey, verify_proof
from tests.evidence.made_by_hand import OTHER, SIGNER, Book, bit_flips, path_of

KEYS = [parse_vkey(SIGNER.vkey)]
BOOK = Book.of(13)


def test_every_row_at_every_size() -> None:
    small = Book.of(6)
    for size in range(1, 7):
        for n in range(1, size + 1):
            found = verify_proof(small.proof(n, size), KEYS)
            assert (found.id, found.row_data, found.checkpoint.size) == (n, small.rows[n - 1], size)
            assert (found.origin, found.table, found.row_hash) == (
                small.origin,
                "signals",
                small.hashes[n].hex(),
            )


def test_every_third_byte_counts() -> None:
    text = json.dumps(BOOK.proof(7), ensure_ascii=False, indent=1)
    assert verify_proof(text, KEYS).id == 7
    data = text.encode()
    quiet = {place for place, byte in enumerate(data) if byte in b" \n"}  # blanks between members
    for place in sorted(set(range(0, len(data), 3)) - quiet):
        changed = bit_flips(data, [place])[place * 3 % 8]
        try:
            with pytest.raises((Refused, Unreadable)):
                verify_proof(changed.decode(), KEYS)
        except UnicodeDecodeError:
            continue


def test_what_does_not_fit_together() -> None:
    good, other = BOOK.proof(7), BOOK.proof(8)

    def refused(words: str, **changes: Any) -> None:
        with pytest.raises(Refused, match=words):
            verify_proof({**good, **changes}, KEYS)

    refused("row 8 says of itself that it is row 7", id=8)
    refused("does not give its hash", row_data=other["row_data"])
    refused("does not give its hash", previous_hash=other["previous_hash"])
    refused("does not give its hash", row_hash=other["row_hash"])
    refused("is not the row 7 of the log", proof=other["proof"])
    refused("is not the row 7 of the log", proof=good["proof"][:-1])
    refused("is not the row 7 of the log", proof=[*good["proof"], good["proof"][0]])
    refused("is not the row 7 of the log", proof=good["proof"][::-1])
    refused("another size", size=12)
    refused("another size", checkpoint=BOOK.note(12))
    refused("is not the row 7", checkpoint=BOOK.note(12), size=12)
    refused("another log", checkpoint=Book.of(13, "ai_debates").note())
    refused("none of the trusted keys", checkpoint=BOOK.note(signer=OTHER))
    refused("was changed", checkpoint=good["checkpoint"].replace("guards ab", "guards ac"))
    # a row that was changed, with its own hash and the path of the true one
    row_data = good["row_data"].replace("7.50", "7.51")
    forged = Book([*BOOK.rows[:6], row_data, *BOOK.rows[7:]])
    refused("is not the row 7 of the log", row_data=row_data, row_hash=forged.hashes[7].hex())
    # and with a path of its own
    nodes = [base64.b64encode(node).decode() for node in path_of(6, forged.leaves)]
    refused("is not the row 7", row_data=row_data, row_hash=forged.hashes[7].hex(), proof=nodes)
    # row 1 of a table follows its genesis
    alien = Book(['{"id":1}'])
    alien.hashes[:] = [bytes(32), *Book(['{"id":1}']).hashes[1:]]
    with pytest.raises(Refused, match="genesis"):
        verify_proof(alien.proof(1), KEYS)


def test_what_is_no_proof() -> None:
    good = BOOK.proof(7)
    for name in good:
        values: tuple[Any, ...] = (None, 7.0, True, [], {}, "", -1, 1 << 63, "x", ["x"], [7])
        for value in values:
            if value == [] and name == "proof":
                continue
            with pytest.raises((Unreadable, Refused)):
                verify_proof({**good, name: value}, KEYS)
        with pytest.raises(Unreadable):
            verify_proof({k: v for k, v in good.items() if k != name}, KEYS)
    text = json.dumps(good, ensure_ascii=False)
    for wrong in ("", "{}", "[]", "null", "7", "\ufeff" + text, text + text, text + "x", text[:-1],
                  text.replace('"id": 7', '"id": 7, "id": 7'), text.replace('"id": 7', '"id": ' + "9" * 5000),
                  "[" * 100_000, '{"a":' * 100_000, text.replace("é", "\\ud800"), text.replace("é", "\ud800"),
                  text.replace("}", ', "more": 1}')):  # fmt: skip
        with pytest.raises(Unreadable):
            verify_proof(wrong, KEYS)
    with pytest.raises(Unreadable):
        verify_proof({**good, "more": object()}, KEYS)
