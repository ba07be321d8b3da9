"""Makes tests/vectors/witness.json, from the specifications alone: python -m tests.witness.vectors"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tests.witness.by_hand import LOG, NOW, Signer, b64, seed_of

FILE = Path(__file__).resolve().parents[1] / "vectors" / "witness.json"

X1, X2, X3, Y1, Y2 = (Signer(f"{name}.example/witness", 4) for name in ("x1", "x2", "x3", "y1", "y2"))
ML_DSA = f"pq.example/witness+01020304+{b64(bytes([6]) + bytes(1312))}"


TWO_LEVELS = f"""# Two of the exchange's, and one of the auditor's.
log {LOG.key.vkey} https://log.example/

witness X1 {X1.vkey} https://x1.example/
witness X2 {X2.vkey}
\t witness  X3\t{X3.vkey}
group X 2 X1 X2 X3
witness Y1 {Y1.vkey}
witness Y2 {Y2.vkey}
group Y any Y1 Y2

  # both
group X-and-Y all X Y
quorum X-and-Y
"""
ONE = f"witness w {X1.vkey}\nquorum w\n"

#: name, policy, and for each set of witnesses whether they are a quorum
GOOD: list[tuple[str, str, list[tuple[list[str], bool]]]] = [
    (
        "two levels of groups",
        TWO_LEVELS,
        [
            ([], False),
            (["X1", "X2"], False),
            (["X1", "Y1"], False),
            (["Y1", "Y2"], False),
            (["X1", "X3", "Y2"], True),
            (["X1", "X2", "X3", "Y1", "Y2"], True),
            (["X1", "X2", "nobody"], False),
        ],
    ),
    ("one witness", ONE, [([], False), (["w"], True)]),
    ("no quorum needed, nothing else", "quorum none\n", [([], True)]),
    (
        "a group of one, by number; more lines behind the quorum",
        f"witness w {X1.vkey}\ngroup g 1 w\nquorum g\nwitness v {X2.vkey}\n",
        [(["w"], True), (["v"], False)],
    ),
    (
        "the quorum is a member of a group",
        f"witness w {X1.vkey}\nwitness v {X2.vkey}\ngroup g all w v\nquorum w\n",
        [(["w"], True), (["v"], False)],
    ),
    (
        "names that differ in case, or are words of the format",
        f"witness log {X1.vkey}\nwitness LOG {X2.vkey}\nwitness any {X3.vkey}\ngroup 2 2 log LOG any\nquorum 2\n",
        [(["log", "any"], True), (["LOG"], False)],
    ),
    (
        "other letters, and a space that is none",
        f"witness K\u212a {X1.vkey} https://exämple.test/\nwitness K {X2.vkey}\n"
        "group a\u00a0b any K\u212a\nquorum a\u00a0b\n",
        [(["K\u212a"], True), (["K"], False)],
    ),
    (
        "a witness whose kind of key is not known never counts",
        f"witness pq {ML_DSA}\nwitness w {X1.vkey}\ngroup g any pq w\nquorum g\n",
        [(["w"], True), ([], False)],
    ),
    (
        "a log may be a witness, too",
        f"log {LOG.key.vkey}\nwitness w {Signer(LOG.name, 4).vkey}\nquorum w\n",
        [(["w"], True)],
    ),
]

#: name, policy; none of them is one
BAD: list[tuple[str, str]] = [
    ("empty", ""),
    ("only comments", "# quorum none\n"),
    ("no quorum", f"witness w {X1.vkey}\n"),
    ("two quorums", "quorum none\nquorum none\n"),
    ("cut short", ONE[:-1]),
    ("CRLF line ends", ONE.replace("\n", "\r\n")),
    ("a NUL", ONE.replace("quorum", "#\0\nquorum")),
    ("an escape sequence in a comment", f"#\x1b[2J\n{ONE}"),
    ("a vertical tab between words", ONE.replace("quorum w", "quorum\x0bw")),
    ("DEL", f"#\x7f\n{ONE}"),
    ("a byte order mark", f"\ufeff{ONE}"),
    ("an unknown quorum", ONE.replace("quorum w", "quorum v")),
    ("a quorum that comes later", f"quorum w\nwitness w {X1.vkey}\n"),
    ("a quorum of two", f"witness w {X1.vkey}\nquorum w w\n"),
    ("an unknown member", f"witness w {X1.vkey}\ngroup g any w v\nquorum g\n"),
    ("a member that comes later", f"group g any w\nwitness w {X1.vkey}\nquorum g\n"),
    ("a group in itself", f"witness w {X1.vkey}\ngroup g any w g\nquorum g\n"),
    ("a cycle", f"witness w {X1.vkey}\ngroup a any w b\ngroup b any a\nquorum b\n"),
    ("none as a member", f"witness w {X1.vkey}\ngroup g any w none\nquorum g\n"),
    ("none as a name", f"witness none {X1.vkey}\nquorum none\n"),
    ("none as a group", f"witness w {X1.vkey}\ngroup none any w\nquorum w\n"),
    ("a member twice", f"witness w {X1.vkey}\ngroup g 2 w w\nquorum g\n"),
    ("a member of two groups", f"witness w {X1.vkey}\ngroup a any w\ngroup b any w\nquorum b\n"),
    ("a group without members", "group g any\nquorum g\n"),
    ("two witnesses of one name", f"witness w {X1.vkey}\nwitness w {X2.vkey}\nquorum w\n"),
    ("a group named as a witness", f"witness w {X1.vkey}\nwitness v {X2.vkey}\ngroup w any v\nquorum w\n"),
    (
        "one key, two witnesses",
        f"witness w {X1.vkey}\nwitness v {Signer('v', 4, seed_of(X1.name)).vkey}\nquorum w\n",
    ),
    ("one key, two logs", f"log {LOG.key.vkey}\nlog {Signer('v', 1, seed_of(LOG.name)).vkey}\nquorum none\n"),
    ("0 of 1", f"witness w {X1.vkey}\ngroup g 0 w\nquorum g\n"),
    ("2 of 1", f"witness w {X1.vkey}\ngroup g 2 w\nquorum g\n"),
    ("-1 of 1", f"witness w {X1.vkey}\ngroup g -1 w\nquorum g\n"),
    ("an Arabic 1 of 1", f"witness w {X1.vkey}\ngroup g \u0661 w\nquorum g\n"),
    ("some of 1", f"witness w {X1.vkey}\ngroup g some w\nquorum g\n"),
    ("a number of a thousand digits", f"witness w {X1.vkey}\ngroup g {'1' * 1000} w\nquorum g\n"),
    ("an unknown word", f"wintess w {X1.vkey}\n{ONE}"),
    ("a word in capitals", ONE.replace("quorum", "QUORUM")),
    ("a witness without a key", f"witness w\n{ONE}"),
    ("a witness with two URLs", f"witness w {X1.vkey} https://a/ https://b/\nquorum w\n"),
    ("a log with two URLs", f"log {LOG.key.vkey} https://a/ https://b/\nquorum none\n"),
    ("no key", f"witness w {X1.name}\nquorum w\n"),
    ("a key with another id", f"witness w {X1.vkey.replace(X1.key_id.hex(), '00000000')}\nquorum w\n"),
    ("a key with another name", f"witness w y{X1.vkey}\nquorum w\n"),
    ("a key that is cut short", f"witness w {X1.vkey[:-4]}\nquorum w\n"),
    ("the key of a log as a witness", f"witness w {LOG.key.vkey}\nquorum w\n"),
    ("the key of a witness as a log", f"log {X1.vkey}\nquorum none\n"),
    ("a private key", f"witness w PRIVATE+KEY+{X1.vkey}\nquorum w\n"),
]

TEXT = LOG.text(42)
MORE = LOG.text(42, "more")
W = X1.line(TEXT)


def _note(*lines: str, text: str = TEXT) -> str:
    return f"{text}\n{LOG.key.line(text)}{''.join(lines)}"


def _moved(signer: Signer, seconds: int) -> str:
    """A cosignature whose time was changed afterwards."""
    blob = base64.b64decode(signer.line(TEXT, NOW).split(" ")[2])
    return signer.raw(seconds.to_bytes(8, "big") + blob[12:])


FOREIGN = Signer("stranger.example", 4)
#: name, note, and either the times of the witnesses with whether they are a quorum of TWO_LEVELS, or what is raised
COSIGNED: list[tuple[str, str, dict[str, int] | str, bool]] = [
    ("no witness", _note(), {}, False),
    ("one of them", _note(W), {"X1": NOW}, False),
    ("a quorum", _note(W, X3.line(TEXT, NOW + 1), Y2.line(TEXT, 1)), {"X1": NOW, "X3": NOW + 1, "Y2": 1}, True),
    ("the quorum before the log", f"{TEXT}\n{W}{X2.line(TEXT)}{Y1.line(TEXT)}{LOG.key.line(TEXT)}",
     {"X1": NOW, "X2": NOW, "Y1": NOW}, True),
    ("one witness many times, the first time counts", _note(X1.line(TEXT, NOW + 9), W, X1.line(TEXT, NOW + 5)),
     {"X1": NOW}, False),
    ("a stranger", _note(FOREIGN.line(TEXT)), {}, False),
    ("a stranger under the name of a witness", _note(Signer(X1.name, 4, seed_of("stranger")).line(TEXT)), {}, False),
    ("the witness's key as that of a log", _note(Signer(X1.name, 1).line(TEXT)), {}, False),
    ("ML-DSA under the name of a witness", _note(f"— {X1.name} {b64(b'pq00' + bytes(8 + 2420))}\n"), {}, False),
    ("the last second that there is", _note(X1.line(TEXT, (1 << 63) - 1)), {"X1": (1 << 63) - 1}, False),
    ("extension lines are signed, too", _note(X1.line(MORE), text=MORE), {"X1": NOW}, False),
    ("a time that was changed", _note(_moved(X1, NOW + 1)), "refused", False),
    ("a second that there is not", _note(X1.line(TEXT, 1 << 63)), "refused", False),
    ("of another checkpoint", _note(X1.line(LOG.text(41))), "refused", False),
    ("without the extension lines", _note(W, text=MORE), "refused", False),
    ("a plain signature under the witness's id", _note(X1.raw(X1.private.sign(TEXT.encode()))), "refused", False),
    ("the time without the signature", _note(X1.raw(NOW.to_bytes(8, "big"))), "refused", False),
    ("one bad among good ones", _note(W, Y1.line(TEXT), X3.line(LOG.text(43))), "refused", False),
    ("a signature that is cut short", _note(f"{W[:-9]}\n"), "refused", False),
    ("no base64", _note(f"— {X1.name} !!!!\n"), "unreadable", False),
    ("a line that is none", _note("- x AAAA\n"), "unreadable", False),
]  # fmt: skip


def made() -> dict[str, Any]:
    """All vectors."""
    return {
        "policies": [
            {
                "name": name,
                "policy": policy,
                "quorums": [{"signed": signed, "is_met": is_met} for signed, is_met in quorums],
            }
            for name, policy, quorums in GOOD
        ],
        "not_policies": [{"name": name, "policy": policy} for name, policy in BAD],
        "cosigned": {
            "policy": TWO_LEVELS,
            "notes": [
                {"name": name, "note": note}
                | ({"raises": found} if isinstance(found, str) else {"times": found, "is_met": is_met})
                for name, note, found, is_met in COSIGNED
            ],
        },
    }


if __name__ == "__main__":
    FILE.write_text(f"{json.dumps(made(), indent=1)}\n", encoding="utf-8")
