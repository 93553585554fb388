"""The encoding of metainfo, announce replies and peer extensions (BEP 3)."""

import re
from collections.abc import Iterator
from itertools import repeat
from operator import itemgetter
from typing import TypeAlias

from p2pd.errors import Invalid

Value: TypeAlias = int | bytes | list["Value"] | dict[bytes, "Value"]

MAX_VALUES = 2_500_000
"""How much one message may hold; each value, key, and end of a list or dict counts.

Small values take many times their encoded size in memory.
"""


class Malformed(Invalid):
    """These bytes are not bencoded, or hold too much."""


_SCALAR = re.compile(rb"(0|[1-9][0-9]{0,9}):|i(0|-?[1-9][0-9]{0,19})e")


def encode(value: object) -> bytes:
    """Encode an integer, bytes, text (as UTF-8), a list, a tuple or a dict of these.

    Keys are bytes or text and are sorted as raw bytes. Raises TypeError for anything else,
    booleans included, and ValueError for two keys that become the same bytes.
    """
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def _encode(value: object, parts: list[bytes]) -> None:
    # In the order of how often they are met: metainfo of many files is mostly text.
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        parts += (b"%d:" % len(value), value)
    elif isinstance(value, dict):
        parts.append(b"d")
        for key, item in _sorted_items(value):
            parts += (b"%d:" % len(key), key)
            _encode(item, parts)
        parts.append(b"e")
    elif isinstance(value, list | tuple):
        parts.append(b"l")
        for item in value:
            _encode(item, parts)
        parts.append(b"e")
    elif isinstance(value, int) and not isinstance(value, bool):
        parts.append(b"i%de" % value)
    else:
        raise TypeError(f"bencode has no {type(value).__name__}")


def _sorted_items(fields: dict[object, object]) -> list[tuple[bytes, object]]:
    items: dict[bytes, object] = {}
    for key, item in fields.items():
        raw = key.encode() if isinstance(key, str) else key
        if not isinstance(raw, bytes):
            raise TypeError("the keys of a bencoded dict are bytes or text")
        if raw in items:
            raise ValueError("two keys of a dict have the same bytes")
        items[raw] = item
    return sorted(items.items(), key=itemgetter(0))


def decode(data: bytes, max_depth: int = 32) -> Value:
    """Decode the one value that `data` holds; raise Invalid if it holds anything else.

    Strict, but for one thing that is seen in the wild: the keys of a dict may be unsorted.
    Integers have at most 20 digits, a message at most MAX_VALUES values, and lists and dicts
    nest at most `max_depth` deep.
    """
    value, end = _read(data, 0, max_depth, repeat(None, MAX_VALUES))
    if end != len(data):
        raise Malformed("bencoded data is not one value but something else or more")
    return value


def decode_raw(data: bytes, max_depth: int = 32) -> tuple[dict[bytes, Value], dict[bytes, bytes]]:
    """Decode the one dict that `data` holds, and give the encoded value of each of its keys too.

    An infohash is over these bytes as they came, whatever their order. Raises Invalid as decode
    does, and for anything but a dict.
    """
    fields: dict[bytes, Value] = {}
    raw: dict[bytes, bytes] = {}
    left = repeat(None, MAX_VALUES - 2)  # without the dict itself and its end
    at = 1
    while data[at : at + 1] != b"e":
        value, start = _read(data, at, 0, left)
        key = _require_new(fields, value, start)
        fields[key], at = _read(data, start, max_depth - 1, left)
        raw[key] = data[start:at]
    if data[:1] != b"d" or at + 1 != len(data):
        raise Malformed("bencoded data is not one dict but something else or more")
    return fields, raw


def _read(data: bytes, at: int, max_depth: int, left: Iterator[None]) -> tuple[Value, int]:
    """Read the value at a place, and give the place after it too.

    A list or dict is put into the one around it when it is over. `left` allows for so many
    values, keys and ends.
    """
    around: list[tuple[list[Value] | dict[bytes, Value] | None, bytes | None]] = []
    box: list[Value] | dict[bytes, Value] | None = None
    key: bytes | None = None
    value: Value
    match = _SCALAR.match
    for _ in left:
        kind = data[at : at + 1]
        if kind in {b"d", b"l"}:
            if len(around) == max_depth:
                raise Malformed("bencoded data is nested too deeply")
            around.append((box, key))
            box, key, at = [] if kind == b"l" else {}, None, at + 1
            continue
        if kind == b"e" and box is not None and key is None:
            value, at = box, at + 1
            box, key = around.pop()
        else:
            found = match(data, at)
            if found is None:
                raise Malformed(f"bencoded data is malformed or breaks off at byte {at}")
            at = found.end()
            if kind == b"i":
                value = int(found[2])
            else:
                # One that breaks off ends where nothing follows, and that is refused.
                start, at = at, at + int(found[1])
                value = data[start:at]
        if box is None:
            return value, at
        if isinstance(box, list):
            box.append(value)
        elif key is None:
            key = _require_new(box, value, at)
        else:
            box[key] = value
            key = None
    raise Malformed(f"bencoded data holds more than {MAX_VALUES} values")


def _require_new(fields: dict[bytes, Value], key: Value, at: int) -> bytes:
    if not isinstance(key, bytes) or key in fields:
        raise Malformed(f"a bencoded dict has a key twice, or one of no text, before byte {at}")
    return key
