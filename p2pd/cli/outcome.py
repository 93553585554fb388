"""How the command ends: its exit codes, and the error that carries one."""

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """What scripts learn from the exit code; `--help` lists these."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    REFUSED = 5
    INTERRUPTED = 130


class CommandFailed(Exception):  # noqa: N818 - a command that failed
    """Why the command cannot do what was asked, in one line, and how it therefore exits.

    `log` is what a daemon said last, if that may tell more.
    """

    def __init__(self, status: Exit, reason: str, log: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.log = tuple(log)
