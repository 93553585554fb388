"""What the contenders get from one machine to the others; and whether it came."""

import random
from pathlib import Path

from p2pd.metainfo.pieces import piece_length_for

_MIB = 1024 * 1024
_PAGE = 4096
_DIRECTORY = 100  # files in each


def write_file(file: Path, length: int, *, sparse: bool = False) -> None:
    """Write `length` bytes that no piece shares with another, the same ones each time.

    `sparse` leaves holes: of each piece of p2pd's size only the first page takes room.
    """
    source = random.Random(length)
    step, part = (piece_length_for(length), _PAGE) if sparse else (_MIB, _MIB)
    with file.open("xb") as opened:
        for start in range(0, length, step):
            opened.seek(start)
            opened.write(source.randbytes(min(part, length - start)))
        opened.truncate(length)


def write_tree(root: Path, length: int, files: int) -> None:
    """Write a directory of so many files, `length` bytes in all, the same ones each time."""
    source = random.Random(length)
    for number in range(files):
        file = root / f"{number // _DIRECTORY:03}" / f"{number:06}"
        file.parent.mkdir(parents=True, exist_ok=True)
        start, end = (length * (number + more) // files for more in (0, 1))
        file.write_bytes(source.randbytes(end - start))


def same(one: Path, other: Path) -> bool:
    """Compare two files, or two directories with all that is in them."""
    if one.is_dir():
        names = _names(one)
        return names == _names(other) and all(same(one / name, other / name) for name in names)
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(_MIB):
            if second.read(_MIB) != chunk:
                return False
        return not second.read(1)


def _names(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in root.rglob("*") if not path.is_dir())
