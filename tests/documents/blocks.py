"""The code blocks of a page, with what the comments before them say of how to run them.

The comments are listed in CONTRIBUTING.md, and so are the languages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

#: languages that are run; all lines of a block, but of console those that begin with "$ "
RUN = ("sh", "sql", "python", "js", "console")
#: what the block that ran before printed
OUTPUT = "output"
#: what is only shown
SHOWN = ("text", "json", "java", "go")

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
_COMMENT = re.compile(r"^ *<!-- ([a-z ]+): (.+?) -->$")
_ITEM = re.compile(r"^( *)(?:[-*+]|[0-9]+[.)]) +")
_OF_A_BLOCK = ("not run", "run as", "types", "stands for", "ends with")
_OF_A_PAGE = ("begins with", "run by")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its text, and the comments right before it."""

    line: int
    language: str
    text: str
    comments: dict[str, str] = field(default_factory=dict)

    @property
    def is_run(self) -> bool:
        return self.language in RUN and "not run" not in self.comments

    @property
    def stands_for(self) -> tuple[str, str] | None:
        """A word of the block, and the shell command whose output a reader would put there."""
        given = self.comments.get("stands for")
        if given is None:
            return None
        word, _, command = given.partition(" = ")
        return word, command


@dataclass
class Page:
    """A page's blocks, the comments that hold for all of it, and what is wrong with how it is written."""

    path: Path
    comments: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_page(path: Path) -> Page:
    """Read a page of Markdown."""
    page = Page(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    pending: dict[str, str] = {}
    list_indent = 0
    after_blank = True
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if fence := _FENCE.match(line):
            indent, marks, language = fence.groups()
            body = []
            while at < len(lines) and lines[at].strip() != marks:
                body.append(lines[at].removeprefix(indent))
                at += 1
            at += 1
            block = Block(number, language.strip(), "".join(f"{one}\n" for one in body), pending)
            page.blocks.append(block)
            page.problems += _problems(block)
            pending, after_blank = {}, True
            continue
        if comment := _COMMENT.match(line):
            _note(page, pending, number, comment[1], comment[2])
            continue
        if not line.strip():
            after_blank = True
            continue
        if pending:
            page.problems.append(f"line {number}: {sorted(pending)} stands before no block")
            pending = {}
        indent_now = len(line) - len(line.lstrip(" "))
        if item := _ITEM.match(line):
            list_indent = len(item[0])
        elif indent_now == 0:
            list_indent = 0
        elif after_blank and indent_now >= list_indent + 4:
            page.problems.append(f"line {number}: an indented block: fence it, and name its language")
        if "\t" in line[:1]:
            page.problems.append(f"line {number}: a tab")
        after_blank = False
    return page


def _note(page: Page, pending: dict[str, str], number: int, name: str, value: str) -> None:
    if name in _OF_A_PAGE:
        page.comments[name] = value
    elif name in _OF_A_BLOCK:
        pending[name] = value
    else:
        page.problems.append(f"line {number}: no comment is named {name!r}")


def _problems(block: Block) -> list[str]:
    where = f"line {block.line}: "
    known = (*RUN, OUTPUT, *SHOWN)
    if block.language not in known:
        return [f"{where}the language {block.language!r} is none of {', '.join(known)}"]
    if block.is_run and block.language != "console" and "…" in block.text:
        return [f"{where}a block with … in it cannot be run as printed"]
    if not block.is_run and set(block.comments) - {"not run"}:
        return [f"{where}{sorted(block.comments)} of a block that is not run"]
    return []
