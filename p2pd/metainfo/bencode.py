"""The encoding of metainfo, announce replies and peer extensions (BEP 3)."""

import re
from collections.abc import Iterator
from operator import itemgetter
from typing import TypeAlias

from p2pd.errors import Invalid

Value: TypeAlias = int | bytes | list["Value"] | dict[bytes, "Value"]
_Tokens: TypeAlias = Iterator[tuple[int, Value | None]]

MAX_VALUES = 2_500_000
"""How much one message may hold; each value, key, and end of a list or dict counts.

Small values take many times their encoded size in memory.
"""

_TOKEN = re.compile(rb"(0|[1-9][0-9]{0,9}):|i(0|-?[1-9][0-9]{0,19})e|([lde])")


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
    tokens = _tokens(data)
    end, value = next(tokens)
    if isinstance(value, list | dict):
        end = _fill(value, tokens, max_depth)
    if value is None or end != len(data):
        raise Invalid("bencoded data is not one value but something else or more")
    return value


def decode_raw(data: bytes, max_depth: int = 32) -> tuple[dict[bytes, Value], dict[bytes, bytes]]:
    """Decode the one dict that `data` holds, and give the encoded value of each of its keys too.

    An infohash is over these bytes as they came, whatever their order. Raises Invalid as decode
    does, and for anything but a dict.
    """
    tokens = _tokens(data)
    fields: dict[bytes, Value] = {}
    spans: dict[bytes, slice] = {}
    if next(tokens)[1] != {} or _fill_dict(fields, tokens, max_depth - 1, spans) != len(data):
        raise Invalid("bencoded data is not one dict but something else or more")
    return fields, {key: data[span] for key, span in spans.items()}


def raw_item(data: bytes, key: bytes) -> bytes | None:
    """Give the encoded value of a key of the dict that `data` holds, or None without it."""
    return decode_raw(data)[1].get(key)


def _fill(box: list[Value] | dict[bytes, Value], tokens: _Tokens, depth: int) -> int:
    """Read what is in a list or dict that has begun; give the place after its end."""
    if not depth:
        raise Invalid("bencoded data is nested too deeply")
    if isinstance(box, list):
        return _fill_list(box, tokens, depth - 1)
    return _fill_dict(box, tokens, depth - 1)


def _fill_list(box: list[Value], tokens: _Tokens, depth: int) -> int:
    while True:
        end, value = next(tokens)
        if value is None:
            return end
        if isinstance(value, list | dict):
            _fill(value, tokens, depth)
        box.append(value)


def _fill_dict(
    box: dict[bytes, Value], tokens: _Tokens, depth: int, spans: dict[bytes, slice] | None = None
) -> int:
    while True:
        end, key = next(tokens)
        if key is None:
            return end
        if not isinstance(key, bytes) or key in box:
            raise Invalid(f"a bencoded dict has a key twice, or one of no text, at byte {end}")
        start = end
        end, value = next(tokens)
        if value is None:
            raise Invalid(f"a bencoded dict has a key without a value at byte {end}")
        if isinstance(value, list | dict):
            end = _fill(value, tokens, depth)
        box[key] = value
        if spans is not None:
            spans[key] = slice(start, end)


def _tokens(data: bytes) -> _Tokens:
    """Give each value as it begins, lists and dicts empty, and None for the end of one.

    With each comes the place after it.
    """
    at = 0
    for _ in range(MAX_VALUES):
        found = _TOKEN.match(data, at)
        if found is None:
            raise Invalid(f"bencoded data is malformed or breaks off at byte {at}")
        at = found.end()
        kind = found.lastindex
        if kind == 1:
            start, at = at, at + int(found[1])
            if at > len(data):
                raise Invalid("bencoded data breaks off in the middle of a string")
            yield at, data[start:at]
        elif kind == 2:
            yield at, int(found[2])
        else:
            yield at, [] if found[3] == b"l" else {} if found[3] == b"d" else None
    raise Invalid(f"bencoded data holds more than {MAX_VALUES} values")
