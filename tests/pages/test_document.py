"""A page is one file that loads nothing, and what stands in it cannot do more than be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.pages import Node, document, element, markup, picture, shared_scripts, state, verification
from tests.fix_browser import OpenPage

HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)>&amp;"\''


def written(tmp_path: Path, *body: Node, script: str = ";", data: object = None) -> Path:
    """A page with the shared scripts, and one of the test's own."""
    given = {"given": data} if data is not None else None
    path = tmp_path / "page.html"
    path.write_bytes(
        document("A page", [verification(), *body], scripts=[*shared_scripts(), script], data=given)
    )
    return path


def test_a_text_that_is_markup_is_only_text(tmp_path: Path, open_page: OpenPage) -> None:
    body = element("p", HOSTILE, id="said", title=HOSTILE)
    page = open_page(written(tmp_path, body, data={"text": HOSTILE, "name": [HOSTILE]}))
    assert page.title() == "A page"
    assert page.text_content("#said") == HOSTILE
    assert page.get_attribute("#said", "title") == HOSTILE
    assert page.evaluate("dataOf('given')") == {"text": HOSTILE, "name": [HOSTILE]}


def test_a_character_that_hides_is_shown() -> None:
    assert markup("pay\u202e\u200b\x00\u2028 \U000e0041") == r"pay\u202e\u200b\u0000\u2028 \ue0041"
    assert b"\\u202e" in document("x", [], data={"a": "\u202e"})


def test_a_pre_keeps_its_first_line_feed(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(written(tmp_path, element("pre", "\n\na\tb\n", id="exact")))
    assert page.text_content("#exact") == "\n\na\tb\n"


def test_a_page_that_no_script_runs_in_says_so(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(written(tmp_path))
    assert page.text_content("#verification") == "? Not verified: the script of this page has not run."


def test_the_policy_refuses_what_the_page_was_not_made_with(tmp_path: Path, open_page: OpenPage) -> None:
    path = written(tmp_path, script="window.own = 1;")
    smuggled = b"<script>window.other = 1;</script><style>body { display: none }</style></body>"
    path.write_bytes(path.read_bytes().replace(b"</body>", smuggled))
    script = """async () => [
        window.own, window.other, getComputedStyle(document.body).display,
        await fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')]"""
    page = open_page(path, watch=False)
    assert page.evaluate(script) == [1, None, "block", "refused"]


def test_scripts_read_bytes_and_hashes_as_python_does(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(written(tmp_path))
    assert page.evaluate("sha256Hex(bytesOfText('abc é'))") == (
        "66902c6f1827e3a0c390a8df2aeae377b41645a3e031940653c8d64182c6b1ff"
    )
    assert page.evaluate("[hexOf(bytesOfBase64('AP8=')), base64Of(bytesOfHex('00ff'))]") == ["00ff", "AP8="]
    for wrong in ("bytesOfHex('0')", "bytesOfHex('FF')", "bytesOfBase64('?')", "bytesOfText('\\ud800')"):
        assert page.evaluate(f"() => {{ try {{ {wrong}; }} catch (p) {{ return p.message; }} }}"), wrong


def test_a_signature_holds_for_its_key_and_text_alone(tmp_path: Path, open_page: OpenPage) -> None:
    private = Ed25519PrivateKey.generate()
    parts = [private.public_key().public_bytes_raw(), b"text", private.sign(b"text")]
    page = open_page(written(tmp_path))

    def verified(*given: bytes) -> object:
        hexes = [each.hex() for each in given]
        return page.evaluate("(all) => ed25519Verify(...all.map(bytesOfHex))", hexes)

    assert verified(*parts) is True
    for number in range(3):
        changed = [*parts]
        changed[number] = bytes([parts[number][0] ^ 1]) + parts[number][1:]
        assert verified(*changed) is False
    assert verified(parts[0][:31], *parts[1:]) is False


def test_a_browser_without_ed25519_verifies_nothing_and_says_why(tmp_path: Path, open_page: OpenPage) -> None:
    lacks = "crypto.subtle.importKey = () => Promise.reject(new DOMException('x', 'NotSupportedError'));"
    page = open_page(written(tmp_path, script=f"{lacks} verifyPage(async () => 'All is well.');"))
    page.wait_for_selector("text=This browser does not know Ed25519 signatures.")
    assert page.get_attribute("#verification", "class") == "state unknown"


def test_a_page_that_is_not_what_it_says_is_red(tmp_path: Path, open_page: OpenPage) -> None:
    script = "verifyPage(async () => { throw new Error('a hash differs.'); });"
    page = open_page(written(tmp_path, script=script))
    page.wait_for_selector("text=Do not trust this page: a hash differs.")
    assert page.get_attribute("body", "class") == "is-bad"
    assert page.text_content("#verification .sign") == "✗"


EVERYTHING = [
    element("pre", "\n\nfirst\u00a0line é 🙂 & < > \" '"),
    element("table", element("tbody", element("tr", element("td", "a"), element("td", "")))),
    element("p", "a", element("br"), "b", element("b", HOSTILE), title=HOSTILE, hidden=True),
    element("textarea", "\nx", rows=3, readonly=True),
    element("input", type="checkbox", id="box", value="x"),
]


def sealed(tmp_path: Path) -> Path:
    script = "document.body.prepend('later'); verifyPage(async () => 'All is well.');"
    return written(tmp_path, *EVERYTHING, script=script, data={"text": HOSTILE})


def test_a_page_that_was_not_changed_fits_its_seal(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(sealed(tmp_path))
    page.wait_for_selector("#verification.good")
    assert page.text_content("#verification .said") == "All is well."


CHANGES = [
    (b"first", b"fIrst"),
    (b"\n\nfirst", b"\nfirst"),
    (b"<td>a</td>", b"<td>a<!-- x --></td>"),
    (b'rows="3"', b'rows="4"'),
    (b"<title>A", b"<title>B"),
    (b"taken", b"Taken"),
    (b"connect-src &#x27;none&#x27;", b"connect-src *"),
    (b"<body>", b"<body>more"),
    (b"</html>", b"</html><p>more"),
    (b"</body>", b'<p id="seal">more</p></body>'),
]


def test_a_page_of_which_anything_was_changed_is_red(tmp_path: Path, open_page: OpenPage) -> None:
    path = sealed(tmp_path)
    original = path.read_bytes()
    page = open_page(path)
    for old, new in CHANGES:
        path.write_bytes(original.replace(old, new))
        page.reload()
        page.wait_for_selector("#verification.bad")
        assert "Do not trust this page: it was changed" in str(page.text_content("#verification")), new


@pytest.mark.parametrize("host", [b'<div id="host">', b"<body>"])
def test_nothing_is_shown_instead_of_what_the_seal_covers(
    host: bytes, tmp_path: Path, open_page: OpenPage
) -> None:
    body = element("div", element("b", "true"), id="host")
    path = written(tmp_path, body, script="verifyPage(async () => 'All is well.');")
    other = host + b'<template shadowrootmode="closed">forged</template>'
    path.write_bytes(path.read_bytes().replace(host, other).replace(b"<html ", b"<html hidden "))
    page = open_page(path)
    page.wait_for_selector("#verification.good")
    assert page.evaluate("document.querySelector('#host b').getClientRects().length") == 1


def test_a_page_whose_script_was_changed_stays_unverified(tmp_path: Path, open_page: OpenPage) -> None:
    path = sealed(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"await checkSeal();", b""))
    page = open_page(path, watch=False)
    assert page.text_content("#verification") == "? Not verified: the script of this page has not run."


def test_a_drawing_shows_and_has_words(tmp_path: Path, open_page: OpenPage) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"><rect style="fill: red"/></svg>'
    page = open_page(written(tmp_path, picture(svg, "One square", id="drawn")))
    assert page.evaluate("document.getElementById('drawn').naturalWidth") == 30
    assert page.get_attribute("#drawn", "alt") == "One square"


@pytest.mark.parametrize(
    ("tag", "attributes"),
    [
        ("script", {}),
        ("style", {}),
        ("p onclick", {}),
        ("p", {"onclick": "x"}),
        ("p", {"style": "x"}),
        ("a", {"href": "javascript:x"}),
        ("img", {"src": "https://x/"}),
    ],
)
def test_an_element_that_could_run_or_load_is_refused(tag: str, attributes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a page"):
        element(tag, **attributes)


def test_a_script_that_ends_its_element_is_refused() -> None:
    with pytest.raises(ValueError, match="must not end its own element"):
        document("x", [], scripts=["'</Script>'"])


def test_a_state_is_a_sign_and_a_word() -> None:
    assert "✗" in markup(state("bad", "damaged"))
    assert "damaged" in markup(state("bad", "damaged"))
