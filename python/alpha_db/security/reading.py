"""Reading files that people wrote: settings, payloads, keys, passphrases; also as Windows and its editors save them."""

from __future__ import annotations

import codecs
import os
import select
import stat
import sys
from typing import Any

from alpha_db.cli.output import MEMBERS
from alpha_db.errors import FileUnreadable, NotThere
from alpha_db.security.signed_text import load_json

#: A file of more bytes is none of ours.
MOST = 64 * 1024 * 1024
#: How many seconds to wait for what a pipe brings.
_PATIENCE = 60.0
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)  # looked at first: one begins with that of UTF-16
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_bytes(path: str | os.PathLike[str], most: int = MOST) -> bytes:
    """Return what stands in a file, or comes out of a pipe that somebody writes to; never waits for ever.

    Raises NotThere, and FileUnreadable for a directory, a device, a missing right, too much, or a silent pipe.
    """
    shown = os.fsdecode(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as problem:
        raise NotThere(f"cannot read {shown}: {reason_of(problem)}") from None
    except (OSError, ValueError) as problem:
        raise FileUnreadable(f"cannot read {shown}: {reason_of(problem)}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise FileUnreadable(f"{shown} is a directory, not a file")
        if stat.S_ISFIFO(mode):
            content = _from_pipe(descriptor, shown, most)
        elif stat.S_ISREG(mode):
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                content = stream.read(most + 1)
        else:
            raise FileUnreadable(f"{shown} is neither a file nor a pipe")
    except OSError as problem:
        raise FileUnreadable(f"cannot read {shown}: {reason_of(problem)}") from None
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise FileUnreadable(f"{shown} has more than {most} bytes")
    return content


def read_text(path: str | os.PathLike[str], most: int = MOST) -> str:
    """Return the text of a file, or of standard input for "-". Raises what read_bytes and text_of raise."""
    if os.fspath(path) == "-":
        stream = getattr(sys.stdin, "buffer", None)  # a program may have put a text in its place
        return text_of(stream.read(most), "standard input") if stream else sys.stdin.read(most)
    return text_of(read_bytes(path, most), os.fsdecode(path))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the JSON of a file, its numbers exact. Raises what read_text raises, and FileUnreadable."""
    shown = "standard input" if os.fspath(path) == "-" else os.fsdecode(path)
    text = read_text(path)
    try:
        return load_json(text)
    except ValueError as problem:
        said = "it is empty" if not text.strip() else str(problem)
        raise FileUnreadable(f"{shown} is not JSON: {said}") from None


def read_answer(path: str | os.PathLike[str]) -> Any:
    """Return what a file holds: the result, if it is a kept answer of a command, otherwise its JSON.

    Raises what read_json raises, and FileUnreadable for the answer of a command that failed.
    """
    said = read_json(path)
    if not isinstance(said, dict) or said.keys() != set(MEMBERS):
        return said
    if said["ok"] is not True:
        raise FileUnreadable(f"{os.fsdecode(path)} is the answer of a command that failed")
    return said["result"]


def text_of(content: bytes, shown: str) -> str:
    """Return bytes as text: UTF-8, or UTF-16 or UTF-32 with a byte order mark. Raises FileUnreadable."""
    try:
        if content.startswith(_UTF32):
            return content.decode("utf-32")
        return content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError:
        raise FileUnreadable(f"{shown} is not UTF-8", hint="Save it as UTF-8.") from None


def reason_of(problem: OSError | ValueError) -> str:
    """Return why a file could not be opened, in words: no number, no repr."""
    if isinstance(problem, OSError):
        return problem.strerror or "the operating system does not say why"
    return "its name holds a NUL character"


def _from_pipe(descriptor: int, shown: str, most: int) -> bytes:
    content = b""
    while len(content) <= most:
        try:
            piece = os.read(descriptor, 65536)
        except BlockingIOError:  # somebody has it open, and has written nothing yet
            if not select.select([descriptor], [], [], _PATIENCE)[0]:
                raise FileUnreadable(
                    f"{shown} is a pipe that nothing came out of for {_PATIENCE:g} s"
                ) from None
            continue
        if not piece:
            break
        content += piece
    if not content:
        raise FileUnreadable(f"{shown} is a pipe that nobody writes to")
    return content
