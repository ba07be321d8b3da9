"""One bash script of a page's blocks: run in order in one shell, so that variables and directories stay."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.documents.blocks import OUTPUT, Block, Page

_PROGRAMS = {"sql": "psql -X -v ON_ERROR_STOP=1 -f", "python": "python", "js": "node"}


def commands_of(block: Block) -> str:
    """What of a block is run: of a console all after `$ `, else everything."""
    if block.language != "console":
        return block.text
    kept, goes_on = [], False
    for line in block.text.splitlines():
        if goes_on or line.startswith("$ "):
            command = line if goes_on else line[2:]
            kept.append(command)
            goes_on = command.endswith("\\")
    return "".join(f"{line}\n" for line in kept)


def printed_by(page: Page) -> dict[int, str]:
    """What the page says that its blocks print, by the line of the block that runs."""
    said: dict[int, str] = {}
    last = None
    for block in page.blocks:
        if block.is_run:
            last = block.line
            if block.language == "console":
                commands = set(commands_of(block).splitlines())
                rest = [x for x in block.text.splitlines() if x.removeprefix("$ ") not in commands]
                said[block.line] = "".join(f"{line}\n" for line in rest)
        elif block.language == OUTPUT and last is not None:
            said[last] = said.get(last, "") + block.text
    return said


def script_of(page: Page, folder: Path) -> str:
    """Write a file for each block into a folder, and return the script that runs them.

    The script writes the line of the block that it runs into `at`, and what a block prints into `LINE.out`.
    """
    lines = ["set -euo pipefail"]
    for block in page.blocks:
        if not block.is_run:
            continue
        file, out = folder / f"{block.line}.run", folder / f"{block.line}.out"
        file.write_text(commands_of(block), encoding="utf-8")
        lines.append(f"echo {block.line} > {shlex.quote(str(folder / 'at'))}")
        if block.stands_for:
            word, command = block.stands_for
            lines += [
                f"text=$(<{file}) value=$({command})",
                f'printf "%s\\n" "${{text//{word}/$value}}" > {file}',
            ]
        program = _PROGRAMS.get(block.language, "source")
        stdin = "/dev/null"
        if "types" in block.comments:
            stdin = '"$TERMINAL"'
        run = f"{program} {file} > {out} 2>&1 < {stdin}"
        if login := block.comments.get("run as"):
            lines.append(f"saved=$PGUSER; export PGUSER={shlex.quote(login)}")
        if code := block.comments.get("ends with"):
            run = f"code=0; ( {run} ) || code=$?; [ $code = {code} ] || exit 99"
        lines.append(run)
        if login:
            lines.append("export PGUSER=$saved")
    return "\n".join([*lines, "echo end > " + shlex.quote(str(folder / "at")), ""])
