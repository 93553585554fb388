"""JSON that came from outside, and JSON that goes there."""

import json
import math
from typing import Any

from p2pd.errors import Invalid

MOST_SEPARATORS = 2**20
"""Commas and opening brackets in one body: each value needs one, and takes memory and time."""


def read(body: bytes) -> Any:
    """Return what `body` says; raise Invalid for anything but JSON, or too deep or crowded."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_SEPARATORS:
        raise Invalid("the JSON holds too many values")
    try:
        return json.loads(
            body.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite
        )
    except RecursionError as error:
        raise Invalid("the JSON is nested too deeply") from error
    except ValueError as error:
        raise Invalid(f"the body is not JSON: {error}") from error


def write(document: Any) -> bytes:
    """Return a document as one line of ASCII."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")
