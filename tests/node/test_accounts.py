"""Accounts and their tokens: the first account, logging in, what a token is worth and how long."""

import base64
import json
import threading

import jwt
import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from p2pd.background import at_once
from p2pd.errors import Busy, Conflict, Denied, Invalid, Unavailable
from p2pd.node.accounts import SESSION, Account, Accounts
from p2pd.roles import Role
from p2pd.store.account_table import MemoryAccountTable

SECRET = bytes(range(32))
NOW = 1_700_000_000
NAME, PASSWORD = "alice", "correct horse"


@pytest.fixture
def clock():
    clock = Clock()
    clock.advance(NOW)
    return clock


class Held:
    """Threads whose calls wait until they are let go."""

    def __init__(self):
        self.waiting = []

    async def __call__(self, call, /, *args):
        turn = Deferred()
        self.waiting.append(turn)
        await turn
        return call(*args)

    def go(self):
        self.waiting.pop(0).callback(None)


@pytest.fixture
def make(clock):
    table = MemoryAccountTable()

    def make(threads=at_once, table=table, secret=SECRET):
        return Accounts(table, secret, clock=clock, threads=threads)

    return make


async def started(accounts):
    await accounts.load()
    return accounts


async def test_the_first_account_is_an_admins_and_lasts(make):
    accounts = await started(make())
    assert not accounts.initialised
    await accounts.init(NAME, PASSWORD)
    assert accounts.initialised
    again = await started(make())
    assert again.initialised
    assert again.role_of(await again.login(NAME, PASSWORD)) is Role.ADMIN


async def test_there_is_one_first_account(make):
    accounts = await started(make())
    await accounts.init(NAME, PASSWORD)
    with pytest.raises(Conflict, match=r"^Already initialized$"):
        await accounts.init("mallory", PASSWORD)
    with pytest.raises(Denied):
        await accounts.login("mallory", PASSWORD)


async def test_of_two_first_accounts_at_a_time_one_is_made(make):
    held = Held()
    accounts = await started(make(held))
    one = ensureDeferred(accounts.init(NAME, PASSWORD))
    other = ensureDeferred(accounts.init("mallory", PASSWORD))
    held.go()
    held.go()
    await one
    with pytest.raises(Conflict):
        await other
    assert [account.name for account in await make()._table.load()] == [NAME]


async def test_an_account_that_cannot_be_kept_is_none(make):
    class Full(MemoryAccountTable):
        async def add(self, account):
            raise Unavailable("the disk is full")

    accounts = await started(make(table=Full()))
    with pytest.raises(Unavailable):
        await accounts.init(NAME, PASSWORD)
    assert not accounts.initialised


async def test_before_it_is_known_who_there_is_nobody_begins(make):
    for attempt in (make().init, make().login):
        with pytest.raises(Unavailable, match="starting"):
            await attempt(NAME, PASSWORD)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("", PASSWORD),
        ("a" * 65, PASSWORD),
        ("a\nb", PASSWORD),
        ("\ud800", PASSWORD),
        (NAME, ""),
        (NAME, "seven77"),
        (NAME, "ä" * 513),
    ],
)
async def test_what_cannot_be_an_account(make, name, password):
    accounts = await started(make())
    with pytest.raises(Invalid, match="must have"):
        await accounts.init(name, password)
    assert not accounts.initialised


@pytest.mark.parametrize(
    ("name", "password"),
    [
        (NAME, "wrong"),
        (NAME, ""),
        (NAME, PASSWORD + " "),
        (NAME, "\ud800"),
        (NAME, "x" * 1025),
        ("bob", PASSWORD),
        ("", ""),
    ],
)
async def test_nothing_tells_what_was_wrong(make, name, password):
    accounts = await started(make())
    await accounts.init(NAME, PASSWORD)
    with pytest.raises(Denied, match=r"^invalid_auth$"):
        await accounts.login(name, password)


async def test_unknown_names_cost_as_much_as_known_ones(make):
    calls = []

    async def threads(call, /, *args):
        calls.append(args)
        return call(*args)

    accounts = await started(make(threads))
    await accounts.init(NAME, PASSWORD)
    for name in (NAME, "bob"):
        with pytest.raises(Denied):
            await accounts.login(name, "wrong")
    known, unknown = calls[1:]
    assert [len(each) for each in known] == [len(each) for each in unknown]


async def test_without_accounts_nobody_logs_in(make):
    with pytest.raises(Denied, match="invalid_auth"):
        await (await started(make())).login(NAME, PASSWORD)


async def test_few_log_in_at_a_time(make):
    await (await started(make())).init(NAME, PASSWORD)
    held = Held()
    accounts = await started(make(held))
    first, second = (ensureDeferred(accounts.login(NAME, PASSWORD)) for _ in range(2))
    with pytest.raises(Busy, match="try again"):
        await accounts.login(NAME, PASSWORD)
    held.go()
    assert accounts.role_of(await first) is Role.ADMIN
    third = ensureDeferred(accounts.login(NAME, "wrong"))
    held.go()
    held.go()
    await second
    with pytest.raises(Denied):
        await third


async def test_digests_are_made_in_a_thread(make):
    seen = []

    def threads(call, /, *args):
        return deferToThread(lambda: (seen.append(threading.current_thread()), call(*args))[1])

    await (await started(make(threads))).init(NAME, PASSWORD)
    assert seen[0] is not threading.main_thread()


async def test_a_login_holds_for_a_day(make, clock):
    accounts = await started(make())
    await accounts.init(NAME, PASSWORD)
    token, lasting = await accounts.login(NAME, PASSWORD), accounts.issue(NAME, None)
    clock.advance(SESSION - 1)
    assert accounts.role_of(token) is Role.ADMIN
    clock.advance(1)
    assert accounts.role_of(token) is None
    clock.advance(100 * SESSION)
    assert accounts.role_of(lasting) is Role.ADMIN


async def test_a_token_is_as_the_origins(make):
    accounts = await started(make())
    await accounts.init(NAME, PASSWORD)
    head, claims, _ = accounts.issue(NAME, SESSION).split(".")
    assert decoded(head) == {"alg": "HS256", "typ": "JWS"}
    assert decoded(claims) == {"iss": "porla", "sub": NAME, "iat": NOW, "exp": NOW + SESSION}


def decoded(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


async def test_a_token_has_the_role_that_its_account_has_now(make):
    table = MemoryAccountTable()
    await table.add(Account("eve", b"", b"", Role.READER, 0.0))
    accounts = await started(make(table=table))
    assert accounts.role_of(accounts.issue("eve", None)) is Role.READER
    assert accounts.role_of(accounts.issue("gone", None)) is None


def forged(claims, secret=SECRET, algorithm="HS256"):
    claims = {"iss": "porla", "sub": NAME, **claims}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, secret, algorithm)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "\ud800.ä.c",
        forged({}, bytes(32)),
        forged({}, SECRET * 2, "HS512"),
        forged({}, None, "none"),
        forged({"iss": "other"}),
        forged({"iss": None}),
        forged({"sub": None}),
        forged({"exp": NOW}),
        forged({"sub": NAME * 500}),
        forged({})[:-2],
    ],
)
async def test_what_is_no_token(make, token):
    accounts = await started(make())
    await accounts.init(NAME, PASSWORD)
    assert accounts.role_of(forged({})) is Role.ADMIN
    assert accounts.role_of(token) is None
