"""JSON-RPC 2.0: the calls in a body, and what is answered to them; its methods are elsewhere."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from p2pd.errors import Invalid
from p2pd.frontends import json_text

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

_MOST_CALLS = 100
_DEEPEST = 64

Perform = Callable[[str, Any], Awaitable[Any]]
"""Does what a method and its `params` (None if there are none) say; raises `RpcError`."""

_log = Logger()


class RpcError(Exception):
    """What a call is answered instead of a result."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_wire(self, id_: Any = None) -> dict[str, Any]:
        """The answer to the call with this id."""
        error = {"code": self.code, "message": self.message, "data": self.data}
        return {"jsonrpc": "2.0", "id": id_, "error": error}


async def answer(body: bytes, perform: Perform, clock: IReactorTime) -> bytes:
    """Perform the call in a body, or all those of a batch, one after the other.

    Nothing is answered (no bytes) if there are only notifications.
    """
    try:
        document = _read(body)
    except RpcError as error:
        return json_text.write(error.to_wire())
    if not isinstance(document, list):
        answered = await _answer(document, perform)
        return json_text.write(answered) if answered else b""
    answers = []
    for call in document:
        answers.append(await _answer(call, perform))
        await deferLater(clock, 0)  # others have their turn
    said = [one for one in answers if one]
    return json_text.write(said) if said else b""


def _read(body: bytes) -> Any:
    try:
        document = json_text.read(body)
    except Invalid as error:
        raise RpcError(PARSE_ERROR, f"Parse error: {error.reason}") from error
    if _deeper_than(document, _DEEPEST):
        raise RpcError(INVALID_REQUEST, f"Invalid Request: nested more than {_DEEPEST} deep")
    if isinstance(document, list) and not 1 <= len(document) <= _MOST_CALLS:
        raise RpcError(INVALID_REQUEST, f"Invalid Request: a batch holds 1 to {_MOST_CALLS} calls")
    return document


def _deeper_than(document: Any, most: int) -> bool:
    level = [document]
    for _ in range(most):
        level = [
            inner
            for value in level
            if isinstance(value, list | dict)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


async def _answer(call: Any, perform: Perform) -> dict[str, Any] | None:
    """The answer to one call; None to a notification.

    Who does not say that it speaks version 2.0 gets an answer even without an id: clients of
    before have none in their examples.
    """
    try:
        method, id_ = _checked(call)
    except RpcError as error:
        return error.to_wire(_id_of(call))
    answered = await _perform(method, call.get("params"), id_, perform)
    return answered if "id" in call or "jsonrpc" not in call else None


def _checked(call: Any) -> tuple[str, Any]:
    if not isinstance(call, dict):
        raise RpcError(INVALID_REQUEST, "Invalid Request: a call is a JSON object")
    if call.get("jsonrpc", "2.0") != "2.0":
        raise RpcError(INVALID_REQUEST, 'Invalid Request: jsonrpc must be "2.0"')
    if not _is_id(call.get("id")):
        raise RpcError(INVALID_REQUEST, "Invalid Request: id must be a string, a number or null")
    if not isinstance(call.get("method"), str):
        raise RpcError(INVALID_REQUEST, "Invalid Request: method must be a string")
    if not isinstance(call.get("params"), list | dict | None):
        raise RpcError(INVALID_REQUEST, "Invalid Request: params must be an object or an array")
    return call["method"], call.get("id")


def _is_id(value: Any) -> bool:
    return not isinstance(value, list | dict | bool)


def _id_of(call: Any) -> Any:
    found = call.get("id") if isinstance(call, dict) else None
    return found if _is_id(found) else None


async def _perform(method: str, params: Any, id_: Any, perform: Perform) -> dict[str, Any]:
    try:
        return {"jsonrpc": "2.0", "id": id_, "result": await perform(method, params)}
    except RpcError as error:
        return error.to_wire(id_)
    except Exception:  # noqa: BLE001 - the other calls of a batch are answered all the same
        _log.failure("{method} failed", method=method)
        return RpcError(INTERNAL_ERROR, "Internal error: p2pd's log tells why").to_wire(id_)
