"""The one authorisation layer: which requests pass the gate, whatever API they speak."""

import hmac
import ipaddress
import stat
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

from twisted.logger import Logger
from twisted.web.server import Request

from p2pd.errors import Denied, Invalid

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


class Unauthorised(Denied):
    """The request lacks a valid credential; sending one would help."""


class Gate:
    """Lets a request through, or raises why not; every route and raw resource asks it.

    With a token, everything but PUBLIC needs `Authorization: Bearer TOKEN` (RFC 6750). Without
    one, only a web page could misuse the daemon from afar: the Host header must name one of
    `hosts` (None: any), which defeats DNS rebinding, and an Origin header must be the daemon's
    own, which defeats requests forged by other sites.
    """

    def __init__(self, token: bytes | None = None, hosts: Collection[str] | None = None) -> None:
        self._token = token
        self._hosts = None if hosts is None else frozenset(map(_canonical, hosts))

    def check(self, request: Request, policy: Policy) -> None:
        """Return if `request` may have what `policy` guards.

        Raises Unauthorised (no or a wrong token) or Denied (a foreign Host or Origin).
        """
        if policy is Policy.PUBLIC:
            return
        if self._token is not None:
            _check_token(request, self._token)
        else:
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


def _check_token(request: Request, token: bytes) -> None:
    shown = request.requestHeaders.getRawHeaders(b"Authorization") or []
    scheme, _, credential = (shown[0] if len(shown) == 1 else b"").partition(b" ")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(credential.strip(), token):
        raise Unauthorised("send the shared token: Authorization: Bearer TOKEN")


def _host_name(host: bytes) -> str:
    """Return the name in a Host header without its port, in canonical form."""
    text = host.decode("latin-1").strip()
    if text.startswith("["):
        return _canonical(text.partition("]")[0])
    return _canonical(text.partition(":")[0])


def _canonical(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()
