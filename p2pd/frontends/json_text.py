"""JSON that came from outside, and JSON that goes there."""

import json
from typing import Any

from p2pd.errors import Invalid


def read(body: bytes) -> Any:
    """Return what `body` says; raise Invalid for anything but JSON, or if it is too deep."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise Invalid("the JSON is nested too deeply") from error
    except ValueError as error:
        raise Invalid(f"the body is not JSON: {error}") from error


def write(document: Any) -> bytes:
    """Return a document as one line of ASCII."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")
