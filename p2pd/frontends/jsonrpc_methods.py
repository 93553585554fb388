"""A table of JSON-RPC methods, and how each reads its parameters."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from p2pd.errors import Busy, Conflict, Denied, Invalid, NotFound, Refusal, Unavailable
from p2pd.frontends import fleet
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.jsonrpc_envelope import INVALID_PARAMS, METHOD_NOT_FOUND, RpcError
from p2pd.frontends.kit import Unprocessable

NO_SUCH_TORRENT = -1
SESSION = "default"
SESSION_ID = 1
"""A node is one session, which goes by this name and by this number."""

_MOST_NAMES = 1000
_CODES: dict[type[Refusal], int] = {
    Invalid: INVALID_PARAMS,
    NotFound: -32001,
    Conflict: -32002,
    Denied: -32003,
    Unavailable: -32004,
    Busy: -32005,
}


class Params(fleet.Fields):
    """The parameters of one call, read by name; null is as good as nothing.

    What is missing or of the wrong type raises Unprocessable.
    """

    def value(self, name: str) -> Any:
        """Return whatever was given; None if nothing was."""
        return self._values.get(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings, by default an empty one."""
        values = self._values.get(name)
        if values is None:
            return ()
        if not isinstance(values, list) or len(values) > _MOST_NAMES:
            raise Unprocessable(f"{name} must be a list of up to {_MOST_NAMES} strings")
        return tuple(fleet.Fields({name: one}).text(name) for one in values)

    def table(self, name: str) -> dict[str, Any]:
        """Return an object, by default an empty one."""
        values = self._values.get(name)
        if values is not None and not isinstance(values, dict):
            raise Unprocessable(f"{name} must be an object")
        return values or {}

    def boolean(self, name: str) -> bool:
        """Return true or false, by default false; nothing else passes for either."""
        value = self._values.get(name, False)
        if not isinstance(value, bool | None):
            raise Unprocessable(f"{name} must be true or false")
        return bool(value)

    def limit(self, name: str) -> int:
        """Return a limit, where less than 0 is none; by default there is none (0)."""
        return max(self._whole(name, 0), 0)

    def whole(self, name: str, default: int) -> int:
        """Return a whole number of at least 0."""
        value = self._whole(name, default)
        if value < 0:
            raise Unprocessable(f"{name} must be at least 0")
        return value

    def _whole(self, name: str, default: int) -> int:
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
            raise Unprocessable(f"{name} must be a whole number")
        return value

    def check_session(self, *names: str, code: int = NO_SUCH_TORRENT) -> None:
        """Raise RpcError if one of these parameters names a session that there is not."""
        for name in names:
            if self._values.get(name) not in (SESSION, SESSION_ID, None):
                raise RpcError(code, "Session not found")


Answering = Callable[[Control, Params], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _Method:
    policy: Policy
    names: tuple[str, ...]
    answering: Answering


class Methods:
    """Methods by name: those of other tables, and those that are registered here."""

    def __init__(self, *tables: "Methods") -> None:
        self._methods = {name: table._find(name) for table in tables for name in table}  # noqa: SLF001

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def method(self, name: str, policy: Policy, *names: str) -> Callable[[Answering], Answering]:
        """Register the decorated `async def (control, params) -> result`.

        `policy` is what a request for it must show; `names` are its parameters, in the order in
        which they may be given without names.
        """

        def register(answering: Answering) -> Answering:
            self._methods[name] = _Method(policy, names, answering)
            return answering

        return register

    def policy_of(self, name: str) -> Policy:
        """Return what a request for a method must show; raise RpcError if there is none."""
        return self._find(name).policy

    async def perform(self, control: Control, name: str, params: Any) -> Any:
        """Do what a call says; every refusal is raised as an RpcError."""
        method = self._find(name)
        try:
            return await method.answering(control, Params(_named(params, method.names)))
        except Refusal as refusal:
            raise told(refusal) from refusal

    def _find(self, name: str) -> _Method:
        if name not in self._methods:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        return self._methods[name]


def told(refusal: Refusal) -> RpcError:
    """Return the error that tells of a refusal that the API has no code of its own for."""
    kinds = [kind for kind in type(refusal).__mro__ if kind in _CODES]
    return RpcError(_CODES[kinds[0]], refusal.reason)


def into(directory: str) -> str:
    """Return the destination that means a place in a directory, and not its name."""
    if not directory:
        raise Unprocessable("the path of the directory is missing")
    return directory.rstrip("/") + "/"


def _named(params: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    """Give parameters their names: by position, or as a name before each of them."""
    if not isinstance(params, list):
        return params or {}
    keys = params[::2]
    if keys and len(params) % 2 == 0 and all(isinstance(k, str) and k in names for k in keys):
        return dict(zip(keys, params[1::2], strict=True))
    if len(params) > len(names):
        raise Unprocessable(f"there are {len(names)} parameters: {', '.join(names)}")
    return dict(zip(names, params, strict=False))
