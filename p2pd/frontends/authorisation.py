"""The one authorisation layer: which requests pass the gate, whatever API they speak."""

import hmac
import ipaddress
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from twisted.web.server import Request

from p2pd.errors import Denied, Invalid, Refusal
from p2pd.frontends import credentials
from p2pd.roles import Role

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Policy(StrEnum):
    """What a route gives away, and so what a request for it must show."""

    PUBLIC = "public"
    """Says no more than that a daemon is there."""
    SWARM = "swarm"
    """What nodes and trackers say to each other: membership, metainfo, pieces."""
    READ = "read"
    """Reveals what a daemon has and does."""
    CONTROL = "control"
    """Changes what a daemon does."""
    OWN = "own"
    """Changes a node's settings, ends it, says who may use it, or reads any of its files."""
    ADMIN = "admin"
    """Changes who may announce what, by an API with a token of its own."""


LEAST = {Policy.READ: Role.READER, Policy.CONTROL: Role.OPERATOR, Policy.OWN: Role.ADMIN}
"""Which role it takes for what the users of a daemon ask for."""


class Unauthorised(Denied):
    """The request lacks a valid credential; sending one would help."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """The credentials that open something, each with its role, and how the lack is told."""

    tokens: Mapping[bytes, Role]
    login: Callable[[str], Role | None]
    lacking: str

    def role_of(self, credential: bytes) -> Role | None:
        """Return what a credential allows, in a time that tells nothing of the tokens."""
        found = [hmac.compare_digest(credential, token) for token in self.tokens]
        for role, same in zip(self.tokens.values(), found, strict=True):
            if same:
                return role
        return self.login(credential.decode("ascii")) if credential.isascii() else None


@dataclass(frozen=True, slots=True)
class _Lock:
    """The token of the admin API, and how its lack is told."""

    token: bytes
    refusal: type[Refusal]

    def check(self, request: Request) -> None:
        shown = [*credentials.bearers(request), *credentials.argument(request, b"token")]
        if not shown:
            raise self.refusal("missing token")
        if len(shown) > 1 or not hmac.compare_digest(shown[0], self.token):
            raise self.refusal("invalid token")


def _nobody(_: str) -> None:
    """Know no login."""


class Gate:
    """Lets a request through, or raises why not; every route and raw resource asks it.

    SWARM needs `token`. READ, CONTROL and OWN need one of `control`, whose role suffices; without
    these they need `token`. In the place of either, what `login` gives a role will do.
    `credentials` tells where a request may carry any of them.

    What nothing is needed for, only a web page could misuse from afar: the Host header must name
    one of `hosts` (None: any), which defeats DNS rebinding, and the page that asks, which Origin
    or Sec-Fetch-Site tell of, must be the daemon's own or of one of `origins`, which defeats
    requests forged by other sites.

    ADMIN needs `admin_token`, as `Authorization: Bearer TOKEN` or `?token=`; a request that lacks
    it raises Invalid, as that API's clients expect, but Unauthorised if `strict`.
    """

    def __init__(
        self,
        token: bytes | None = None,
        hosts: Collection[str] | None = None,
        *,
        control: Mapping[bytes, Role] | None = None,
        login: Callable[[str], Role | None] = _nobody,
        origins: Collection[str] = (),
        admin_token: bytes | None = None,
        strict: bool = False,
    ) -> None:
        self._hosts = None if hosts is None else frozenset(map(_canonical, hosts))
        self._origins = frozenset(origin.encode() for origin in origins)
        self._keys: dict[Policy, _Keys] = {}
        fleet = {} if token is None else {token: Role.ADMIN}
        if fleet:
            lacking = "send the shared token: Authorization: Bearer TOKEN"
            self._keys[Policy.SWARM] = _Keys(fleet, _nobody, lacking)
        if users := control or fleet:
            lacking = "send a token of this daemon: Authorization: Bearer TOKEN"
            self._keys |= dict.fromkeys(LEAST, _Keys(users, login, lacking))
        self._admin: _Lock | None = None
        if admin_token is not None:
            self._admin = _Lock(admin_token, Unauthorised if strict else Invalid)

    def check(self, request: Request, policy: Policy) -> None:
        """Return if `request` may have what `policy` guards.

        Raises Unauthorised or Invalid (no or a wrong credential) or Denied (a foreign Host or
        Origin, or a role that does not suffice).
        """
        if policy is Policy.ADMIN:
            self._check_admin(request)
        elif policy in self._keys:
            self._check_role(request, policy)
        elif policy is not Policy.PUBLIC:
            self._check_source(request)

    @property
    def invites(self) -> bool:
        """Whether pages of other sites may use the daemon at all."""
        return bool(self._origins)

    def invited(self, request: Request) -> bytes | None:
        """Return the Origin of a request if it is one of `origins`."""
        shown = _origins(request)
        return shown[0] if len(shown) == 1 and shown[0].lower() in self._origins else None

    def _check_admin(self, request: Request) -> None:
        if self._admin is None:
            raise Denied("this daemon has no admin token")
        self._admin.check(request)

    def _check_role(self, request: Request, policy: Policy) -> None:
        keys = self._keys[policy]
        shown = credentials.sent(request)
        if len(shown) > 1:
            raise Unauthorised("the request shows several credentials that differ: send one")
        roles = map(keys.role_of, shown or self._cookies(request, policy))
        role = max(filter(None, roles), default=None)
        if role is None:
            raise Unauthorised(keys.lacking)
        least = LEAST.get(policy, role)
        if role < least:
            raise Denied(f"this takes the role {least.word}, and the token is a {role.word}'s")

    def _cookies(self, request: Request, policy: Policy) -> set[bytes]:
        """Return the cookies of a request, if no page of another site can have made it.

        Where nothing tells of that, they are good for reading only.
        """
        shown = credentials.cookies(request)
        welcome = self._is_welcome(request)
        if welcome is None:
            welcome = policy is Policy.READ
        if shown and not welcome:
            raise Denied(
                "a cookie alone is taken from pages of this daemon: send the token in a header"
            )
        return shown

    def _check_source(self, request: Request) -> None:
        named = request.requestHeaders.getRawHeaders(b"Host") or []
        if self._hosts is not None and (len(named) != 1 or not self._is_own(_host_name(named[0]))):
            raise Denied(
                "the Host header names another machine: use the address the daemon listens on,"
                " or configure a token file"
            )
        if self._is_welcome(request) is False:
            raise Denied("requests from other web sites are refused: configure a token file")

    def _is_welcome(self, request: Request) -> bool | None:
        """Whether the page that makes a request is the daemon's own, or invited.

        None: nothing tells. So it is where no browser asks, or an old one that sends no
        Sec-Fetch-Site for a request without an Origin, such as that for an image.
        """
        if origins := _origins(request):
            named = request.requestHeaders.getRawHeaders(b"Host") or []
            own = {host.lower() for host in named if host}
            return all(
                origin.partition(b"://")[2].lower() in own or origin.lower() in self._origins
                for origin in origins
            )
        fetched = request.requestHeaders.getRawHeaders(b"Sec-Fetch-Site")
        return all(site in (b"same-origin", b"none") for site in fetched) if fetched else None

    def _is_own(self, host: str) -> bool:
        assert self._hosts is not None
        try:
            # An address is not a name: nobody can make it point elsewhere.
            return ipaddress.ip_address(host).is_loopback or host in self._hosts
        except ValueError:
            return host in self._hosts


def _origins(request: Request) -> list[bytes]:
    return list(request.requestHeaders.getRawHeaders(b"Origin") or ())


def _host_name(host: bytes) -> str:
    """Return the name in a Host header without its port, in canonical form."""
    text = host.decode("latin-1").strip()
    if text.startswith("["):
        return _canonical(text.partition("]")[0])
    return _canonical(text.partition(":")[0])


def _canonical(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()
