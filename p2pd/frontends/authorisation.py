"""The one authorisation layer: which requests pass the gate, whatever API they speak."""

import contextlib
import hmac
import ipaddress
import os
import secrets
import stat
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

from twisted.logger import Logger
from twisted.web.server import Request

from p2pd.errors import Denied, Invalid, Refusal

SHORTEST_TOKEN = 16
LONGEST_TOKEN = 1024
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_log = Logger()


class Policy(StrEnum):
    """What a route gives away, and so what a request for it must show."""

    PUBLIC = "public"
    """Says no more than that a daemon is there."""
    SWARM = "swarm"
    """What nodes and trackers say to each other: membership, metainfo, pieces."""
    CONTROL = "control"
    """Changes what a daemon does, or reveals its whole state."""
    ADMIN = "admin"
    """Changes who may announce what, by an API with a token of its own."""


class Unauthorised(Denied):
    """The request lacks a valid credential; sending one would help."""


@dataclass(frozen=True, slots=True)
class _Lock:
    """A token, where else than in the Authorization header it may stand, and how it is missed."""

    token: bytes
    in_query: bool
    refusal: type[Refusal]
    missing: str
    wrong: str

    def check(self, request: Request) -> None:
        shown = [*_bearers(request), *(_in_query(request) if self.in_query else ())]
        if not shown:
            raise self.refusal(self.missing)
        if len(shown) > 1 or not hmac.compare_digest(shown[0], self.token):
            raise self.refusal(self.wrong)


_SEND = "send the shared token: Authorization: Bearer TOKEN"


class Gate:
    """Lets a request through, or raises why not; every route and raw resource asks it.

    SWARM and CONTROL need `token` as `Authorization: Bearer TOKEN` (RFC 6750). ADMIN needs
    `admin_token`, so or as `?token=`; a request that lacks it raises Invalid, as that API's
    clients expect, but Unauthorised if `strict`.

    Without `token`, only a web page could misuse the daemon from afar: the Host header must name
    one of `hosts` (None: any), which defeats DNS rebinding, and an Origin header must be the
    daemon's own, which defeats requests forged by other sites.
    """

    def __init__(
        self,
        token: bytes | None = None,
        hosts: Collection[str] | None = None,
        *,
        admin_token: bytes | None = None,
        strict: bool = False,
    ) -> None:
        self._hosts = None if hosts is None else frozenset(map(_canonical, hosts))
        self._locks: dict[Policy, _Lock] = {}
        if token is not None:
            lock = _Lock(token, False, Unauthorised, missing=_SEND, wrong=_SEND)
            self._locks |= {Policy.SWARM: lock, Policy.CONTROL: lock}
        if admin_token is not None:
            self._locks[Policy.ADMIN] = _Lock(
                admin_token,
                True,
                Unauthorised if strict else Invalid,
                missing="missing token",
                wrong="invalid token",
            )

    def check(self, request: Request, policy: Policy) -> None:
        """Return if `request` may have what `policy` guards.

        Raises Unauthorised or Invalid (no or a wrong token) or Denied (a foreign Host or Origin).
        """
        if policy in self._locks:
            self._locks[policy].check(request)
        elif policy is Policy.ADMIN:
            raise Denied("this daemon has no admin token")
        elif policy is not Policy.PUBLIC:
            self._check_source(request)

    def _check_source(self, request: Request) -> None:
        named = request.requestHeaders.getRawHeaders(b"Host") or []
        if self._hosts is not None and (len(named) != 1 or not self._is_own(_host_name(named[0]))):
            raise Denied(
                "the Host header names another machine: use the address the daemon listens on,"
                " or configure a token file"
            )
        for origin in request.requestHeaders.getRawHeaders(b"Origin") or []:
            if origin.partition(b"://")[2].lower() not in {host.lower() for host in named}:
                raise Denied("requests from other web sites are refused: configure a token file")

    def _is_own(self, host: str) -> bool:
        assert self._hosts is not None
        try:
            # An address is not a name: nobody can make it point elsewhere.
            return ipaddress.ip_address(host).is_loopback or host in self._hosts
        except ValueError:
            return host in self._hosts


def read_token(path: Path) -> bytes:
    """Return the shared token kept in the file `path`, without surrounding white space.

    Raises Invalid if it cannot be read, is shorter than 16 characters, or could not travel in
    a header. Warns if others on the machine can read it.
    """
    try:
        with path.open("rb") as file:
            readable_by_all = bool(stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH)
            token = file.read(LONGEST_TOKEN + 2).strip()
    except OSError as error:
        raise Invalid(f"cannot read the token file {path}: {error.strerror}") from error
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
        raise Invalid(
            f"the token in {path} must have {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters"
        )
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise Invalid(f"the token in {path} may hold only printable ASCII, and no spaces")
    if readable_by_all:
        _log.warn("every user of this machine can read the token file {path}", path=path)
    return token


def admin_token(path: Path) -> bytes:
    """Return the token kept in the file `path`; if there is no file, make one with a new token.

    Only its owner can read a file so made. Raises Invalid as `read_token` does, or if the file
    cannot be made.
    """
    try:
        if not path.exists():
            _make_token(path)
    except OSError as error:
        raise Invalid(f"cannot make the token file {path}: {error.strerror}") from error
    return read_token(path)


def _make_token(path: Path) -> None:
    descriptor, made = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # its owner's only
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(32).encode() + b"\n")
        # A link appears whole, and never in the place of a file that another made meanwhile.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(made)
    finally:
        Path(made).unlink()


def _bearers(request: Request) -> Iterable[bytes]:
    for shown in request.requestHeaders.getRawHeaders(b"Authorization") or ():
        scheme, _, credential = shown.partition(b" ")
        if scheme.lower() == b"bearer":
            yield credential.strip()


def _in_query(request: Request) -> Iterable[bytes]:
    return cast("Iterable[bytes]", (request.args or {}).get(b"token", ()))


def _host_name(host: bytes) -> str:
    """Return the name in a Host header without its port, in canonical form."""
    text = host.decode("latin-1").strip()
    if text.startswith("["):
        return _canonical(text.partition("]")[0])
    return _canonical(text.partition(":")[0])


def _canonical(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()
