"""The fields of a request's body, told apart by what it holds: JSON, or a form (urlencoded).

The Content-Type is not asked: clients of the older APIs send forms under any, or under none.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from twisted.web.server import Request

from p2pd.errors import Invalid
from p2pd.frontends import json_text, kit

MOST_FIELDS = 10_000
LONGEST_TEXT = 65536
LONGEST_FORM = kit.JSON_BODY

_DIGITS = re.compile(r"-?[0-9]{1,20}")


class Form:
    """Fields by name, each with one value or several; `name[]` is another way to write `name`.

    What JSON has as null is not there.  A value of the wrong type raises `Invalid`.
    """

    def __init__(self, values: Mapping[str, list[Any]]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def all(self, name: str) -> list[Any]:
        """Return all values of a field, as they came."""
        return self._values.get(name, [])

    def get(self, name: str) -> Any:
        """Return the first value of a field, as it came; None if there is none."""
        return next(iter(self.all(name)), None)

    def text(self, name: str, default: str = "") -> str:
        """Return a string."""
        value = self.get(name)
        return default if value is None else _text(name, value)

    def texts(self, name: str) -> list[str]:
        """Return all the strings of a field."""
        return [_text(name, value) for value in self.all(name)]

    def number(self, name: str) -> float | None:
        """Return a finite number, sent as one or as a string of one; None if there is none."""
        value = self.get(name)
        if value is None:
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise Invalid(f"{name} must be a number")
        return number

    def whole(self, name: str) -> int | None:
        """Return a whole number of 64 bits, as `number` does."""
        value = self.get(name)
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)  # as it is, where a float would be near it
        number = value if isinstance(value, int) else self.number(name)
        if number is None:
            return None
        if isinstance(number, bool) or number != int(number) or not -(2**63) <= number < 2**63:
            raise Invalid(f"{name} must be a whole number")
        return int(number)

    def says_yes(self, name: str) -> bool:
        """Return whether a field is 1 or JSON's true; all else is no, as doubt has to be."""
        value = self.get(name)
        return value is True or (type(value) in {int, str} and value in {1, "1"})


def read(request: Request, *, array: str = "") -> Form:
    """Return the fields in the body of `request`; see `parse`."""
    return parse(kit.read_body(request), array=array)


def arguments(request: Request) -> Form:
    """Return the query arguments of `request`; raises `Invalid` as `parse` does."""
    return _form(_of_form(request.uri.partition(b"?")[2]))


def parse(body: bytes, *, array: str = "") -> Form:
    """Return the fields in `body`; none if it is empty.

    What begins as a JSON object or array is JSON; an array is the value of the field `array`.
    Raises `Invalid` for what is malformed, is no UTF-8, or has too many fields.
    """
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    return _form(_of_json(body, array) if body[:1] in {b"{", b"["} else _of_form(body))


def _form(listed: Iterable[tuple[str, list[Any]]]) -> Form:
    fields: dict[str, list[Any]] = {}
    for name, values in listed:
        fields.setdefault(name.removesuffix("[]"), []).extend(values)
    if sum(max(len(values), 1) for values in fields.values()) > MOST_FIELDS:
        raise Invalid(f"the body has more than {MOST_FIELDS} fields")
    return Form(fields)


def _of_form(body: bytes) -> Iterator[tuple[str, list[Any]]]:
    if len(body) > LONGEST_FORM:  # to unescape is slow
        raise kit.TooLarge(f"a form has at most {LONGEST_FORM} bytes")
    if body.count(b"&") >= MOST_FIELDS:
        raise Invalid(f"the body has more than {MOST_FIELDS} fields")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("the form in the body is not UTF-8") from None
    return ((name, [value]) for name, value in pairs)


def _of_json(body: bytes, array: str) -> Iterator[tuple[str, list[Any]]]:
    document = json_text.read(body)
    if isinstance(document, list):
        if not array:
            raise Invalid("the body must be a JSON object or a form")
        document = {array: document}
    return (
        (name, value if isinstance(value, list) else [value])
        for name, value in document.items()
        if value is not None
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{name} must be text")
    if len(value) > LONGEST_TEXT or any("\ud800" <= each <= "\udfff" for each in value):
        raise Invalid(f"{name} is too long or not Unicode")
    return value
