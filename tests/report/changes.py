"""Changes to a report that both the browser and alpha-db verify-report find."""

from __future__ import annotations

import hashlib
import re

#: What is changed: a regular expression, of whose second group another character is made.
CHANGES = {
    "a visible row": rb'(<pre id="row-signals-1">.*?BTCUS)(D)',
    "the verdict": rb"(INTACT: every hash )(h)olds",
    "a figure": rb'(class="figure">)(1)1<',
    "an attribute": rb'(alt="Rows a )(d)ay',
    "a row's hash": rb'("table":"signals","id":2,"previous":"\w+","hash":")(.)',
    "the hash before a row": rb'("table":"signals","id":2,"previous":")(.)',
    "a node of the proofs": rb'("nodes":\[")(.)',
    "a place in the proofs": rb'("table":"signals","id":2,.*?"proof":\[)(\d)',
    "the checkpoint": rb'("note":"audit.example.org/trading\\n)(1)',
    "the run": rb'("row_data":"[^}]*?\\"size\\": )(\d)',
    "the signature of a vote": rb'("who":"the vote.*?"signature":")(.)',
    "the seal": rb'(id="seal">")(.)',
    "the signature of the page": rb"(alpha-db/report/v1\\nsha256: )(.)",
    "the style": rb"(\.figure \{ font-size: )(1)",
}


def with_new_seal(page: str) -> str:
    """The page with the seal that fits it, as somebody would write it who changed it."""
    head = page.partition("<head>\n")[2].partition("</head>\n")[0]
    parts = re.findall(r"(<meta [^>]*>|<title>.*?</title>|<style>.*?</style>)\n", head, re.DOTALL)
    body = page.partition("<body>\n")[2].partition('<script type="application/json" id="seal">')[0]
    main, data = re.fullmatch(r"(<main>.*</main>)\n(<script [^>]*>.*?</script>)\n", body, re.DOTALL).groups()  # type: ignore[union-attr]
    seal = hashlib.sha256("".join([*parts, main, data]).encode()).hexdigest()
    return re.sub(r'(id="seal">")[0-9a-f]+', rf"\g<1>{seal}", page)


def changed(made: bytes, what: str) -> bytes:
    """The page with one character changed."""

    def other(found: re.Match[bytes]) -> bytes:
        return found[0].replace(found[1] + found[2], found[1] + (b"0" if found[2] != b"0" else b"1"), 1)

    content, number = re.subn(CHANGES[what], other, made, count=1, flags=re.DOTALL)
    assert (number, content != made) == (1, True)
    return content
