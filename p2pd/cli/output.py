"""What the command prints: sentences for people, documents for scripts, errors for both."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TextIO

from rich import filesize
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text


class Output:
    """The two streams of one run of the command.

    `terminal` tells whether somebody watches; with `as_json` only documents go to `stdout`.
    """

    def __init__(self, stdout: TextIO, stderr: TextIO, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.terminal = (
            not as_json and stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        )
        self._stdout = stdout
        self._stderr = stderr

    def say(self, text: str) -> None:
        """Print a line for people, if they are who reads."""
        if not self.as_json:
            print(printable(text), file=self._stdout, flush=True)

    def document(self, value: Mapping[str, Any]) -> None:
        """Print one JSON document on a line of its own."""
        print(json.dumps(value), file=self._stdout, flush=True)

    def note(self, text: str) -> None:
        """Print a line for people where errors go, since it is no part of what was asked for."""
        if not self.as_json:
            print(printable(text), file=self._stderr, flush=True)

    def complain(self, text: str) -> None:
        """Print an error, on one line."""
        print(f"p2pd: {printable(text)}", file=self._stderr, flush=True)

    def quote(self, lines: Iterable[str]) -> None:
        """Print lines of somebody else's log where errors go."""
        for line in lines:
            print(f"  | {printable(line)}", file=self._stderr, flush=True)

    def row(self, values: Sequence[object]) -> None:
        """Print values on one line, separated by tabs."""
        line = "\t".join(printable(str(value)) for value in values)
        print(line, file=self._stdout, flush=True)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Draw a table on the terminal."""
        table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*(Text(printable(value)) for value in row))
        self.console().print(table)

    def console(self) -> Console:
        """The terminal, to draw on."""
        return Console(file=self._stdout)


def printable(text: str) -> str:
    """Return `text` with everything escaped that could move the cursor or hide other text."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def size(count: float) -> str:
    """Return a number of bytes for people to read, such as 134.2 MB."""
    return filesize.decimal(int(count))


def rate(speed: float) -> str:
    """Return bytes/s for people to read."""
    return f"{size(speed)}/s"


def percent(fraction: float) -> str:
    """Return a part of 1 in percent, rounded down: only all of it is 100."""
    return f"{math.floor(fraction * 1000) / 10:.1f}"


def duration(seconds: float) -> str:
    """Return a time such as 0:01:30, or a guess at one that is too long to matter."""
    return str(timedelta(seconds=round(min(seconds, 86400.0 * 999))))
