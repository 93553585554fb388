"""The admin API's dialect, shared by its families of operations.

JSON objects with a `status`: "ok", or what happened, or what was wrong. Hashes are 40 hex digits,
in either case when read and lower-case when written.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from p2pd.errors import Invalid
from p2pd.frontends import json_text, kit
from p2pd.frontends.kit import Api, Nowhere, Reply, TooLarge
from p2pd.tracker.administration import Administration

BODY = 1024 * 1024
MOST = 2**63 - 1
"""The greatest number that the API takes anywhere."""

Kind = Literal["info_hash", "key_hash", "user_hash"]

_T = TypeVar("_T")

_SHOWN = 80
_HASH = re.compile(r"[0-9A-Fa-f]{40}")
_WHOLE = re.compile(r"[0-9]{1,19}")
_BAD_JSON = "bad json body"


@dataclass(frozen=True, slots=True)
class Admin:
    """What the admin API speaks for, and whether it says 304 where nothing is new.

    `clock` lets others have their turn while a long reply is made. The API's document has
    304 for a change of what is there already, which HTTP does not allow: so it is 200 with the
    text that the document has for it, unless `literal_304`.
    """

    administration: Administration
    clock: IReactorTime
    literal_304: bool = False

    def not_new(self, status: str) -> Reply:
        """Return the reply to a request that created, or deleted, nothing."""
        if self.literal_304:
            return Reply(b"", status=HTTPStatus.NOT_MODIFIED)
        return say(status)


def error(status: HTTPStatus, reason: str) -> Reply:
    """Return {status: reason}: the dialect of errors."""
    return Reply(json_text.write({"status": reason}), status=status)


def make_api(prefix: str = "/api") -> Api:
    """Return a table for routes that speak this dialect."""
    words = {
        TooLarge: (HTTPStatus.BAD_REQUEST, "body overflow"),
        Nowhere: (HTTPStatus.NOT_FOUND, "not found"),
    }
    return Api(error, prefix, words=words, max_body=BODY)


def say(status: str = "ok", /, **fields: Any) -> Reply:
    """Return {status, **fields} at 200."""
    return Reply(json_text.write({"status": status, **fields}))


def read_hash(kind: Kind, value: object) -> bytes:
    """Return the 20 bytes of a hash; raise Invalid with the words of the API's document."""
    if not isinstance(value, str) or len(value) != 40:
        raise Invalid(f"invalid {kind} {shown(value)}")
    if not _HASH.fullmatch(value):
        raise Invalid(f"bad {kind}")
    return bytes.fromhex(value)


def read_array(request: Request) -> list[Any]:
    """Return the JSON array in the body; raise Invalid for anything else."""
    return _read(request, list)


def read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body; raise Invalid for anything else."""
    return _read(request, dict)


def read_hashes(kind: Kind, request: Request) -> list[bytes]:
    """Return the hashes of the array in the body, each once; raise Invalid if one is malformed."""
    return _each_once(kind, read_array(request))


def asked_hashes(kind: Kind, request: Request) -> list[bytes]:
    """Return the hashes in the body or, if there is none, of the query arguments called `kind`.

    Not every client can send a body with GET. An argument holds one hash, or several with commas.
    """
    arguments = (request.args or {}).get(kind.encode())
    if not arguments or kit.read_body(request):
        return read_hashes(kind, request)
    listed = b",".join(arguments).decode("latin-1")
    return _each_once(kind, listed.split(","))


def put_each(
    kind: Kind, request: Request, number: str, put: Callable[[bytes, int], bool]
) -> dict[str, str]:
    """Put what the object in the body has, a `number` for each hash; return how each fared."""
    numbers = {text: json_number(number, value) for text, value in read_object(request).items()}
    done: dict[str, str] = {}
    for text, value in numbers.items():
        try:
            wanted = read_hash(kind, text)
        except Invalid:
            done[text] = f"invalid {kind}"
        else:
            done[wanted.hex()] = "ok" if put(wanted, value) else f"{kind} updated"
    return done


def remove_each(
    kind: Kind, request: Request, remove: Callable[[bytes], bool], missing: str = ""
) -> dict[str, dict[str, str]]:
    """Remove what the array in the body names; return how each fared.

    What was not there is an unknown `missing`, by default an unknown `kind`.
    """
    return {
        wanted.hex(): {"status": "ok" if remove(wanted) else f"unknown {missing or kind}"}
        for wanted in read_hashes(kind, request)
    }


def path_number(name: str, text: str, most: int = MOST) -> int:
    """Return a whole number from 0 to `most` in the path; raise Invalid for anything else."""
    if not _WHOLE.fullmatch(text) or int(text) > most:
        raise Invalid(f"invalid {name} {shown(text)}")
    return int(text)


def json_number(name: str, value: object) -> int:
    """Return a whole number of 64 bits in a body, a negative one as 0; raise Invalid otherwise."""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(whole, bool) or not isinstance(whole, int) or not -MOST - 1 <= whole <= MOST:
        raise Invalid(f"invalid {name} {shown(value)}")
    return max(whole, 0)


def shown(value: object) -> str:
    """Return a value from outside as an error message may show it."""
    match value:
        case str():
            text = value
        case list() if value:
            text = "[...]"  # it may be nested too deeply to be written
        case dict() if value:
            text = "{...}"
        case _:
            text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _read(request: Request, kind: type[_T]) -> _T:
    try:
        document = json_text.read(kit.read_body(request))
    except Invalid:
        raise Invalid(_BAD_JSON) from None
    if not isinstance(document, kind):
        raise Invalid(_BAD_JSON)
    return document


def _each_once(kind: Kind, values: Iterable[object]) -> list[bytes]:
    return list(dict.fromkeys(read_hash(kind, value) for value in values))
