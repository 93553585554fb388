"""Who may use a node by name and password, and the tokens that show that they have logged in."""

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
from twisted.internet.interfaces import IReactorTime

from p2pd.background import Threads
from p2pd.errors import Busy, Conflict, Denied, Invalid, Unavailable
from p2pd.roles import Role

SESSION = 24 * 3600.0
"""For how many seconds a token holds that a login gives."""

_ISSUER = "porla"
_ALGORITHM = "HS256"
_LONGEST_TOKEN = 1024
_LONGEST_NAME = 64
_SHORTEST_PASSWORD = 8
_LONGEST_PASSWORD = 1024  # bytes
# Of OWASP's choices the one that takes 16 MiB; so many at a time.
_SCRYPT = {"n": 2**14, "r": 8, "p": 5}
_MOST_AT_ONCE = 2
_SALT = 16


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the node; `digest` is what scrypt makes of the password with `salt`."""

    name: str
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    role: Role
    created: float
    """When, in Unix seconds."""


class AccountTable(Protocol):
    """Keeps accounts over a restart.  Both methods raise `Unavailable` if that fails."""

    async def load(self) -> list[Account]:
        """All accounts, the oldest first."""

    async def add(self, account: Account) -> None:
        """Write a new account down; raises `Conflict` if its name is taken."""


class Accounts:
    """The accounts of a node.  They are as `load` found them, and whom `init` made.

    Tokens are JSON Web Tokens signed with `secret`; they name an account, whose role counts as it
    is when they are shown.
    """

    def __init__(
        self, table: AccountTable, secret: bytes, *, clock: IReactorTime, threads: Threads
    ) -> None:
        self._table = table
        self._secret = secret
        self._clock = clock
        self._threads = threads
        self._accounts: dict[str, Account] = {}
        self._loaded = False
        self._digesting = 0

    @property
    def initialised(self) -> bool:
        """Whether there is an account."""
        return bool(self._accounts)

    async def load(self) -> None:
        """Read the table, once, before anything else; raises `Unavailable`."""
        self._accounts = {account.name: account for account in await self._table.load()}
        self._loaded = True

    async def init(self, name: str, password: str) -> None:
        """Make the first account, an admin's.

        Raises `Conflict` if there is one, `Invalid` for a name or password that cannot be, `Busy`,
        and `Unavailable` before `load` has ended.
        """
        self._check_first()
        secret = _checked(name, password)
        salt = os.urandom(_SALT)
        digest = await self._digest(secret, salt)
        self._check_first()  # another may have been faster
        account = Account(name, salt, digest, Role.ADMIN, self._clock.seconds())
        self._accounts[name] = account
        try:
            await self._table.add(account)
        except BaseException:
            del self._accounts[name]
            raise

    async def login(self, name: str, password: str) -> str:
        """Return a token that holds for a day.

        Raises `Denied`, with nothing in its text or time telling whether the name or the password
        is wrong, or `Busy`, or `Unavailable` before `load` has ended.
        """
        self._check_loaded()
        secret = _encoded(password)
        if not self._accounts or len(secret) > _LONGEST_PASSWORD:
            raise Denied("invalid_auth")
        account = self._accounts.get(name)
        salt = account.salt if account else bytes(_SALT)
        digest = await self._digest(secret, salt)
        if account is None or not hmac.compare_digest(digest, account.digest):
            raise Denied("invalid_auth")
        return self.issue(name, SESSION)

    def issue(self, name: str, lifetime: float | None) -> str:
        """Return a token for an account that holds for so many seconds; None: for ever."""
        now = self._clock.seconds()
        claims: dict[str, Any] = {"iss": _ISSUER, "sub": name, "iat": int(now)}
        if lifetime is not None:
            claims["exp"] = int(now + lifetime)
        return jwt.encode(claims, self._secret, _ALGORITHM, headers={"typ": "JWS"})

    def role_of(self, token: str) -> Role | None:
        """Return what whoever shows `token` may do; None if it is no valid token."""
        if len(token) > _LONGEST_TOKEN or not token.isascii():
            return None
        try:
            claims = jwt.decode(
                token,
                self._secret,
                [_ALGORITHM],
                issuer=_ISSUER,
                # This clock tells the time, not the library's.
                options={"require": ["iss", "sub"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return None
        if claims.get("exp", float("inf")) <= self._clock.seconds():
            return None
        account = self._accounts.get(claims["sub"])
        return account.role if account else None

    def _check_loaded(self) -> None:
        if not self._loaded:
            raise Unavailable("the node is starting: try again in a moment")

    def _check_first(self) -> None:
        self._check_loaded()
        if self.initialised:
            raise Conflict("Already initialized")

    async def _digest(self, password: bytes, salt: bytes) -> bytes:
        if self._digesting >= _MOST_AT_ONCE:
            raise Busy("others are logging in: try again in a moment")
        self._digesting += 1
        try:
            return await self._threads(_scrypt, password, salt)
        finally:
            self._digesting -= 1


def _scrypt(password: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, **_SCRYPT)


def _checked(name: str, password: str) -> bytes:
    """Return the password's bytes, if an account may have that name and that password."""
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise Invalid(f"the user name must have 1 to {_LONGEST_NAME} printable characters")
    secret = _encoded(password)
    if len(password) < _SHORTEST_PASSWORD or len(secret) > _LONGEST_PASSWORD:
        raise Invalid(
            f"the password must have at least {_SHORTEST_PASSWORD} characters,"
            f" and at most {_LONGEST_PASSWORD} bytes"
        )
    return secret


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
