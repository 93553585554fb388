"""Requests and their responses, kept as files: `tests/golden/API/NAME.json`.

What varies stands there as a placeholder: `<number>`, `<text>` and `<anything>` for what matches
it, and any other, such as `<infohash>`, for what a test puts in its place.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).with_name("golden")

_WILD = {
    "<number>": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "<text>": lambda value: isinstance(value, str),
    "<anything>": lambda value: True,
}


@dataclass
class Pair:
    name: str
    request: dict
    response: dict


def pairs(api):
    """All pairs of an API."""
    found = [
        Pair(path.stem, **json.loads(path.read_text()))
        for path in sorted((GOLDEN / api).glob("*.json"))
    ]
    assert found, f"there are no pairs in {GOLDEN / api}"
    return found


def filled(value, names):
    """A copy of a document with each name replaced by what it stands for."""
    if isinstance(value, dict):
        return {filled(key, names): filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"<\w+>", lambda found: str(names.get(found[0], found[0])), value)


def check_like(found, expected, where="body"):
    """Compare a document with what is expected of it, placeholders included."""
    if isinstance(expected, str) and expected in _WILD:
        assert _WILD[expected](found), f"{where}: {found!r} is no {expected}"
    elif isinstance(expected, dict):
        assert isinstance(found, dict), f"{where} is no object but {found!r}"
        assert list(found) == list(expected), f"{where} has other fields"
        for key in expected:
            check_like(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list), f"{where} is no list but {found!r}"
        assert len(found) == len(expected), f"{where} has another length"
        for at, one in enumerate(expected):
            check_like(found[at], one, f"{where}[{at}]")
    else:
        assert found == expected, f"{where} is {found!r}"
