"""What one contender did in one run."""

from dataclasses import dataclass
from pathlib import Path

from measure import Usage


@dataclass(frozen=True, slots=True)
class Result:
    """What it took until the last node held a complete and verified copy.

    `peak_memory` is that of the largest process that stays: a node, a server's worker; None
    where none does. `seed_sent` are the bytes that the first holder sent, None if it does not
    tell. `copies` are compared with the original afterwards, which is not measured.
    """

    usage: Usage
    peak_memory: int | None
    seed_sent: int | None
    copies: list[Path]
