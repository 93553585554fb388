"""The fleet API's dialect, shared by its tracker half and its node half.

JSON objects with `code` (a status with its phrase) and `msg`; errors also carry `error`. Its
document types nearly every field as a string; values are native JSON unless `?as=string`.
"""

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from twisted.web.server import Request

from p2pd.errors import Invalid
from p2pd.frontends import json_text, kit
from p2pd.frontends.kit import Reply, Unprocessable

PREFIX = "/api/v1"
LONGEST_TEXT = 65536

_DOCUMENTED_AS_STRING = frozenset(
    {"data", "node_info", "piece_info", "piece_node_info", "seed_info", "session_info"}
)


def reply(
    request: Request, *, status: HTTPStatus = HTTPStatus.OK, msg: str = "ok", **fields: Any
) -> Reply:
    """Return {code, msg, **fields} at HTTP 200.

    `status` only goes into `code`: the API tells of logical misses that way. `?as=string` gives
    the fields that its document calls strings as strings of JSON.
    """
    if kit.query(request, "as") == "string":
        for name in _DOCUMENTED_AS_STRING.intersection(fields):
            if not isinstance(fields[name], str):
                fields[name] = json.dumps(fields[name])
    return Reply(json_text.write({"code": code(status), "msg": msg, **fields}))


def error(status: HTTPStatus, reason: str) -> Reply:
    """Return {code, msg, error} at its real status: the dialect of errors."""
    return Reply(
        json_text.write({"code": code(status), "msg": reason, "error": reason}), status=status
    )


def code(status: HTTPStatus) -> str:
    """Return the API's spelling of a status: "200 OK"."""
    return f"{status.value} {status.phrase}"


class Fields:
    """A request's JSON object, read field by field; fields that nobody asks for are ignored.

    A field that is missing or of the wrong type raises Unprocessable.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string field."""
        value = self._get(name, default)
        if not isinstance(value, str):
            raise Unprocessable(f"{name} must be a string")
        if len(value) > LONGEST_TEXT or not _is_unicode(value):
            raise Invalid(f"{name} is too long or not Unicode")
        return value

    def long_text(self, name: str) -> str:
        """Return a string field that only the length of the body bounds, such as base64."""
        value = self._get(name, None)
        if not isinstance(value, str):
            raise Unprocessable(f"{name} must be a string")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a finite number, sent as a number or as a string of one."""
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise Unprocessable(f"{name} must be a number")
        try:
            number = float(value)
        except (ValueError, OverflowError) as error_:
            raise Unprocessable(f"{name} must be a number") from error_
        if not math.isfinite(number):
            raise Unprocessable(f"{name} must be a finite number")
        return number

    def count(self, name: str, default: int | None = None) -> int:
        """Return a whole number from 0 to 2**63-1, sent as a number or as a string of one."""
        value = self._get(name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise Unprocessable(f"{name} must be a whole number of at least 0")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value, sent as one or as the string "true" or "false"."""
        value = self._get(name, default)
        if isinstance(value, str):
            value = {"true": True, "false": False, "1": True, "0": False}.get(value.lower())
        if not isinstance(value, bool):
            raise Unprocessable(f"{name} must be true or false")
        return value

    def _get(self, name: str, default: Any) -> Any:
        value = self._values.get(name)
        if value is not None:
            return value
        if default is None:
            raise Unprocessable(f"{name} is missing")
        return default


def read(request: Request) -> Fields:
    """Return the JSON object in the body, whatever its Content-Type says.

    Raises Invalid for an empty body and for anything but JSON, Unprocessable for JSON that is
    no object.
    """
    return parse(kit.read_body(request))


def parse(body: bytes) -> Fields:
    """Return the JSON object in `body`; raises as `read` does."""
    if not body.strip():
        raise Invalid("Parameter is missing.")
    values = json_text.read(body)
    if not isinstance(values, dict):
        raise Unprocessable("the body must be a JSON object")
    return Fields(values)


def _is_unicode(text: str) -> bool:
    """Return whether `text` can be encoded; JSON can spell lone surrogates, which cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
