"""The admin API in memory over the real resource: each operation, single and bulk, each error."""

from http import HTTPStatus
from urllib.parse import quote

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from p2pd.frontends.admin_dialect import shown
from p2pd.frontends.authorisation import Policy
from p2pd.tracker.announcing import Tally
from p2pd.tracker.records import COMPLETED, STARTED
from tests.administered import NOW, TOKEN, Administered

A, B, UNKNOWN = "ab" * 20, "cd" * 20, "0f" * 20
UUID = "550e8400-e29b-41d4-a716-446655440000"
UUID_HASH = "652c4b4dccf0f155503c92c8ba0b3ce3c65b317f"  # the SHA-1 of its text
SEVEN_HASH = "902ba3cda1883801594b6e1b452790cc53948fda"  # that of "7"
MOST = 2**63 - 1


@pytest.fixture
def admin():
    return Administered()


def announce(admin, infohash=A, left=0, event=STARTED):
    address, peer_id = bytes([10, 0, 0, 1, 0, 80]), b"-qB4530-NoxCXf*!&^&B"
    admin.table.tick(NOW)
    admin.table.announce(bytes.fromhex(infohash), address, peer_id, left, 1, 2, event, 0)


# -- torrents


async def test_a_torrent(admin):
    assert await admin(f"POST /api/torrent/{A}/5") == {"status": "ok"}
    announce(admin)
    peer = {
        "peer_id": {"id": b"-qB4530-NoxCXf*!&^&B".hex(), "client": "qBittorrent"},
        "peer_addr": "10.0.0.1:80",
        "updated": NOW * 1000,
        "uploaded": 1,
        "downloaded": 2,
        "left": 0,
    }
    swarm = {"seeds": [peer], "peers": [], "completed": 5, "updated": NOW * 1000}
    assert await admin(f"GET /api/torrent/{A}") == {"status": "ok", **swarm}
    assert await admin("GET /api/torrents", [A, UNKNOWN]) == {
        "status": "ok",
        "torrents": {A: swarm},
    }
    assert await admin(f"DELETE /api/torrent/{A}") == {"status": "ok"}
    gone = {"status": f"unknown info_hash {A}"}
    assert await admin(f"DELETE /api/torrent/{A}") == gone
    assert await admin(f"GET /api/torrent/{A}", status=404) == gone


async def test_who_lacks_something_is_a_peer(admin):
    announce(admin, left=9)
    known = await admin(f"GET /api/torrent/{A}")
    assert known["seeds"] == []
    assert [peer["left"] for peer in known["peers"]] == [9]


async def test_an_unknown_client_has_no_name(admin):
    admin.table.announce(bytes.fromhex(A), b"\x0a\0\0\1\0\1", b"x" * 20, 0, 0, 0, STARTED, 0)
    [seed] = (await admin(f"GET /api/torrent/{A}"))["seeds"]
    assert seed["peer_id"] == {"id": "78" * 20}


async def test_writing_a_torrent_keeps_its_peers(admin):
    announce(admin)
    told = {"status": f"info_hash updated {A}"}
    assert await admin(f"POST /api/torrent/{A}/7") == told
    assert await admin(f"POST /api/torrent/{A}") == told
    assert await admin("POST /api/torrents", {A: 8}) == {
        "status": "ok",
        "torrents": {A: "info_hash updated"},
    }
    known = await admin(f"GET /api/torrent/{A}")
    assert known["completed"] == 8
    assert len(known["seeds"]) == 1


async def test_a_torrent_that_is_posted_without_a_count_keeps_its_own(admin):
    announce(admin, left=1)
    announce(admin, event=COMPLETED)
    await admin(f"POST /api/torrent/{A}")
    assert (await admin(f"GET /api/torrent/{A}"))["completed"] == 1


class Turns(Clock):
    """A clock that counts how often somebody let others have their turn."""

    count = 0

    def callLater(self, delay, *what, **options):
        self.count += delay == 0
        return super().callLater(delay, *what, **options)


async def test_others_have_their_turn_while_many_torrents_are_told_of():
    admin = Administered(clock=Turns())
    hashes = [bytes([number]) * 20 for number in range(200)]
    for number, infohash in enumerate(hashes):
        for peer in range(10):
            address = bytes([10, 0, peer, number, 0, 80])
            admin.table.announce(infohash, address, b"p" * 20, 0, 0, 0, STARTED, 0)
    answers = []
    asking = admin("GET /api/torrents", [infohash.hex() for infohash in hashes])
    Deferred.fromCoroutine(asking).addCallback(answers.append)
    while not answers:
        admin.clock.advance(0)
        admin.treq.flush()
    assert admin.clock.count >= 3
    assert [len(each["seeds"]) for each in answers[0]["torrents"].values()] == [10] * 200


async def test_torrents(admin):
    entries = {A: 1, B.upper(): -5, "short": 3, "x" * 40: 4}
    assert (await admin("POST /api/torrents", entries))["torrents"] == {
        A: "ok",
        B: "ok",
        "short": "invalid info_hash",
        "x" * 40: "invalid info_hash",
    }
    known = (await admin("GET /api/torrents", [A, B]))["torrents"]
    assert [known[A]["completed"], known[B]["completed"]] == [1, 0]
    assert await admin("DELETE /api/torrents", [A, UNKNOWN, A]) == {
        "status": "ok",
        "torrents": {A: {"status": "ok"}, UNKNOWN: {"status": "unknown info_hash"}},
    }


# -- lists


@pytest.mark.parametrize("which", ["whitelist", "blacklist"])
async def test_a_list(admin, which):
    path = f"/api/{which}/{A}"
    absent = {"status": f"unknown {which} {A}"}
    assert await admin(f"GET {path}", status=404) == absent
    assert await admin(f"DELETE {path}", status=404) == absent
    assert await admin(f"POST {path}") == {"status": "ok"}
    assert await admin(f"POST {path}") == {"status": f"info_hash updated {A}"}
    assert await admin(f"GET {path}") == {"status": "ok"}
    assert admin.administration.is_listed(which, bytes.fromhex(A))
    assert await admin(f"DELETE {path}") == {"status": "ok"}


@pytest.mark.parametrize("which", ["whitelist", "blacklist"])
async def test_lists(admin, which):
    path = f"/api/{which}s"
    told = f"{which}s"
    await admin(f"POST {path}", [A])
    assert await admin(f"POST {path}", [A, B]) == {
        "status": "ok",
        told: {A: "info_hash updated", B: "ok"},
    }
    assert (await admin(f"GET {path}", [A, UNKNOWN]))[told] == {A: True, UNKNOWN: False}
    gone = await admin(f"DELETE {path}", [B, UNKNOWN])
    assert gone[told] == {B: {"status": "ok"}, UNKNOWN: {"status": f"unknown {which}"}}
    assert gone.get("torrents") == (gone[told] if which == "whitelist" else None)


async def test_the_lists_are_two(admin):
    await admin(f"POST /api/whitelist/{A}")
    await admin(f"GET /api/blacklist/{A}", status=404)


# -- keys


async def test_a_key(admin):
    path = f"/api/key/{A}"
    assert await admin(f"POST {path}/60") == {"status": "ok"}
    assert await admin(f"GET {path}") == {"status": "ok", "timeout": 60, "expires": NOW + 60}
    assert await admin(f"POST {path}/90") == {"status": f"key_hash updated {A}"}
    admin.clock.advance(90)
    absent = {"status": f"unknown key_hash {A}"}
    assert await admin(f"GET {path}", status=404) == absent
    assert await admin(f"DELETE {path}") == absent


async def test_a_key_for_ever(admin):
    await admin(f"POST /api/key/{A}/0")
    admin.clock.advance(10**9)
    assert await admin(f"GET /api/key/{A}") == {"status": "ok", "timeout": 0, "expires": 0}


async def test_keys(admin):
    entries = {A: 60, B: -1, "short": 1}
    assert (await admin("POST /api/keys", entries))["keys"] == {
        A: "ok",
        B: "ok",
        "short": "invalid key_hash",
    }
    assert (await admin("POST /api/keys", {A: 70}))["keys"] == {A: "key_hash updated"}
    assert (await admin("GET /api/keys", [A, B, UNKNOWN]))["keys"] == {A: 70, B: 0, UNKNOWN: 0}
    assert (await admin("DELETE /api/keys", [A, UNKNOWN]))["keys"] == {
        A: {"status": "ok"},
        UNKNOWN: {"status": "unknown key_hash"},
    }


async def test_the_longest_timeout(admin):
    await admin(f"POST /api/key/{A}/{MOST}")
    assert (await admin(f"GET /api/key/{A}"))["expires"] == MOST


# -- users


@pytest.mark.parametrize(
    ("name", "user_hash", "told"),
    [(UUID, UUID_HASH, {"uuid": UUID}), (UUID.upper(), UUID_HASH, {"uuid": UUID})]
    + [(number, SEVEN_HASH, {"id": 7}) for number in ("7", "007")],
)
async def test_a_user(admin, name, user_hash, told):
    path = f"/api/user/{name}"
    assert await admin(f"POST {path}/{A}/1/2/3/4/1") == {"status": f"user_hash added {user_hash}"}
    user = {**told, "key": A, "uploaded": 1, "downloaded": 2, "completed": 3, "updated": 4}
    user |= {"active": 1, "torrents_active": []}
    for called in (name, user_hash, user_hash.upper()):
        assert await admin(f"GET /api/user/{called}") == {"status": "ok", **user}
    updated = {"status": f"user_hash updated {user_hash}"}
    assert await admin(f"POST /api/user/{user_hash}/{B}/0/0/0/0/0") == updated
    assert (await admin(f"GET {path}"))["active"] == 0
    assert await admin(f"DELETE {path}") == {"status": "ok"}
    absent = {"status": f"unknown user_hash {user_hash}"}
    assert await admin(f"DELETE /api/user/{user_hash}") == absent
    assert await admin(f"GET {path}", status=404) == absent


async def test_what_names_nobody_cannot_be_deleted(admin):
    answer = await admin("DELETE /api/user/7", status=400)
    assert answer == {"status": "invalid user_hash 7"}


async def test_what_a_user_is_active_in(admin):
    await admin(f"POST /api/user/7/{A}/0/0/0/0/1")
    user = admin.access.users.of(bytes.fromhex(A))
    admin.access.account(user, bytes.fromhex(B), b"p" * 20, 5, 6, STARTED)
    told = await admin("GET /api/user/7")
    assert told["torrents_active"] == [{B: NOW}]
    assert (told["uploaded"], told["downloaded"]) == (5, 6)


async def test_users(admin):
    rows = [[UUID, A, 1, 2, 3, 4, 1], [7.0, B, -1, 0, 0, 0, 0]]
    added = {UUID_HASH: "user_hash added", SEVEN_HASH: "user_hash added"}
    assert await admin("POST /api/users", rows) == {"status": "ok", "users": added}
    assert (await admin("POST /api/users", [["7", B, 9, 0, 0, 0, 1]]))["users"] == {
        SEVEN_HASH: "user_hash updated"
    }
    told = (await admin("GET /api/users", [UUID_HASH, SEVEN_HASH, UNKNOWN]))["users"]
    assert told[UUID_HASH]["status"] == "ok"
    assert told[UUID_HASH]["uuid"] == UUID
    assert (told[SEVEN_HASH]["id"], told[SEVEN_HASH]["uploaded"]) == (7, 9)
    assert told[UNKNOWN] == {"status": "unknown user_hash"}
    assert (await admin("DELETE /api/users", [SEVEN_HASH, UNKNOWN]))["users"] == {
        SEVEN_HASH: {"status": "ok"},
        UNKNOWN: {"status": "unknown user_hash"},
    }


async def test_one_malformed_user_keeps_all_out(admin):
    rows = [[UUID, A, 1, 2, 3, 4, 1], [7, "short", 0, 0, 0, 0, 0]]
    answer = await admin("POST /api/users", rows, status=400)
    assert answer == {"status": "invalid key_hash short"}
    assert admin.administration.counts().users == 0


async def test_a_passkey_is_whose_it_was_given_to_last(admin):
    await admin(f"POST /api/user/7/{A}/0/0/0/0/1")
    await admin(f"POST /api/user/8/{A}/0/0/0/0/1")
    assert (await admin("GET /api/user/8"))["key"] == A
    assert (await admin("GET /api/user/7"))["key"] != A


# -- how bulk reads are asked for


FAMILIES = [
    ("torrents", "info_hash"),
    ("whitelists", "info_hash"),
    ("blacklists", "info_hash"),
    ("keys", "key_hash"),
    ("users", "user_hash"),
]


@pytest.mark.parametrize(("family", "argument"), FAMILIES)
async def test_without_a_body(admin, family, argument):
    await admin("POST /api/torrents", {A: 1, B: 2})
    in_body = await admin(f"GET /api/{family}", [A, B])
    assert set(in_body[family]) == {A, B}
    for query in (f"{argument}={A},{B}", f"{argument}={A}&{argument}={B.upper()}"):
        assert await admin(f"GET /api/{family}?{query}") == in_body
    assert await admin(f"POST /api/{family}/query", [A, B]) == in_body


@pytest.mark.parametrize(("family", "argument"), FAMILIES)
async def test_neither_body_nor_query(admin, family, argument):
    answer = await admin(f"GET /api/{family}", status=400)
    assert answer == {"status": "bad json body"}
    answer = await admin(f"GET /api/{family}?{argument}=12,{A}", status=400)
    assert answer == {"status": f"invalid {argument} 12"}


# -- errors


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("GET /api/torrent/{}", "info_hash"),
        ("POST /api/torrent/{}", "info_hash"),
        ("POST /api/torrent/{}/1", "info_hash"),
        ("DELETE /api/torrent/{}", "info_hash"),
        ("GET /api/whitelist/{}", "info_hash"),
        ("POST /api/blacklist/{}", "info_hash"),
        ("DELETE /api/whitelist/{}", "info_hash"),
        ("GET /api/key/{}", "key_hash"),
        ("POST /api/key/{}/1", "key_hash"),
        ("DELETE /api/key/{}", "key_hash"),
        ("GET /api/user/{}", "user_hash"),
        ("DELETE /api/user/{}", "user_hash"),
        ("POST /api/user/7/{}/0/0/0/0/1", "key_hash"),
    ],
)
async def test_malformed_hashes_in_the_path(admin, path, kind):
    short = await admin(path.format("abc"), status=400)
    assert short == {"status": f"invalid {kind} abc"}
    wrong = await admin(path.format("g" * 40), status=400)
    assert wrong == {"status": f"bad {kind}"}
    long = await admin(path.format("a" * 1000), status=400)
    assert len(long["status"]) < 120


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"POST /api/torrent/{A}/-1", "invalid completed -1"),
        (f"POST /api/torrent/{A}/1.5", "invalid completed 1.5"),
        (f"POST /api/torrent/{A}/{MOST + 1}", f"invalid completed {MOST + 1}"),
        (f"POST /api/key/{A}/{MOST + 1}", f"invalid timeout {MOST + 1}"),
        (f"POST /api/key/{A}/soon", "invalid timeout soon"),
        (f"POST /api/user/7/{A}/x/0/0/0/1", "invalid uploaded x"),
        (f"POST /api/user/7/{A}/0/x/0/0/1", "invalid downloaded x"),
        (f"POST /api/user/7/{A}/0/0/x/0/1", "invalid completed x"),
        (f"POST /api/user/7/{A}/0/0/0/x/1", "invalid updated x"),
        (f"POST /api/user/7/{A}/0/0/0/0/2", "invalid active 2"),
        (f"POST /api/user/-7/{A}/0/0/0/0/1", "invalid id -7"),
        (f"POST /api/user/me/{A}/0/0/0/0/1", "invalid uuid me"),
        (f"POST /api/user/{A}/{A}/0/0/0/0/1", f"invalid uuid {A}"),
    ],
)
async def test_malformed_values_in_the_path(admin, path, text):
    assert await admin(path, status=400) == {"status": text}


ARRAYS = [f"{method} /api/{family}" for family, _ in FAMILIES for method in ("GET", "DELETE")]
ARRAYS += ["POST /api/whitelists", "POST /api/blacklists"]
OBJECTS = ["POST /api/torrents", "POST /api/keys"]
BULK = [*ARRAYS, *OBJECTS, "POST /api/users"]


@pytest.mark.parametrize(
    "body", [b"", b"[", b"nonsense", b"\xff", b"12", b'"a"', b"null", b"[" * 100_000, b"[NaN]"]
)
async def test_a_body_that_is_no_json(admin, body):
    for path in BULK:
        assert await admin(path, body, status=400) == {"status": "bad json body"}


async def test_a_body_of_the_other_kind(admin):
    for path in BULK:
        body = [] if path in OBJECTS else {}
        assert await admin(path, body, status=400) == {"status": "bad json body"}


async def test_a_body_that_is_too_long(admin):
    body = b" " * (1024 * 1024 + 1)
    for path in BULK:
        assert await admin(path, body, status=400) == {"status": "body overflow"}


@pytest.mark.parametrize(
    ("entry", "end"), [("123", " 123"), (5, " 5"), (None, " null"), ([], " []"), ("é" * 40, "")]
)
async def test_malformed_entries_of_an_array(admin, entry, end):
    for path in ARRAYS:
        kind = dict(FAMILIES)[path.rpartition("/")[2]]
        text = f"invalid {kind}{end}" if end else f"bad {kind}"
        assert await admin(path, [A, entry], status=400) == {"status": text}


def test_what_is_nested_as_deeply_as_can_be_read_is_shown():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert (shown(deep), shown({"a": deep})) == ("[...]", "{...}")


@pytest.mark.parametrize(("path", "name"), [(OBJECTS[0], "completed"), (OBJECTS[1], "timeout")])
@pytest.mark.parametrize("value", ["1", None, True, 1.5, MOST + 1, [], {}])
async def test_malformed_values_of_an_object(admin, path, name, value):
    answer = await admin(path, {A: 1, B: value}, status=400)
    assert answer["status"].startswith(f"invalid {name} ")
    assert admin.administration.counts().torrents == admin.administration.counts().keys == 0


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ([7, A, 0, 0, 0, 0], "bad json body"),
        ("abcdefg", "bad json body"),
        ([None, A, 0, 0, 0, 0, 1], "invalid id null"),
        ([-1, A, 0, 0, 0, 0, 1], "invalid id -1"),
        (["me", A, 0, 0, 0, 0, 1], "invalid uuid me"),
        ([MOST + 1, A, 0, 0, 0, 0, 1], f"invalid id {MOST + 1}"),
        ([7, 7, 0, 0, 0, 0, 1], "invalid key_hash 7"),
        ([7, A, "0", 0, 0, 0, 1], "invalid uploaded 0"),
        ([7, A, 0, 0, 0, 0, 2], "invalid active 2"),
        ([7, A, 0, 0, 0, 0, -1], "invalid active -1"),
        ([7, A, 0, 0, 0, 0, {}], "invalid active {}"),
    ],
)
async def test_malformed_users(admin, row, text):
    assert await admin("POST /api/users", [row], status=400) == {"status": text}


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", f"/api/torrent/{A}/1/2"])
async def test_unknown_paths_need_no_token(admin, path):
    response = await admin.send("GET", path)
    assert (response.code, await response.json()) == (404, {"status": "not found"})


@pytest.mark.parametrize("path", ["/api/torrents", f"/api/key/{A}", "/metrics", "/stats"])
async def test_other_methods(admin, path):
    response = await admin.send("PATCH", path)
    assert response.code == 405
    assert "GET" in response.headers.getRawHeaders("allow")[0]
    assert list(await response.json()) == ["status"]


async def test_a_path_that_is_not_utf8(admin):
    response = await admin.send("GET", "/api/torrent/%ff")
    assert response.code == 400
    assert list(await response.json()) == ["status"]


@pytest.mark.parametrize("number", ["304", "200"])
async def test_what_is_not_new(number):
    admin = Administered(literal_304=number == "304")
    for path in (f"DELETE /api/torrent/{A}", f"DELETE /api/key/{A}", f"DELETE /api/user/{A}"):
        method, where = path.split()
        response = await admin.send(method, f"{where}?token={TOKEN}")
        assert response.code == int(number)
        assert bool(await response.content()) == (number == "200")


# -- the token


def operations(admin):
    """Every (method, path) that is served, with the names in the path as they are."""
    return [
        (method, path)
        for api, _ in admin.apis
        for route in api.routes
        for method in route.methods
        for path in spelled_out(route.path)
    ]


def spelled_out(path):
    path = path.replace("<id_>", "{id}").replace("<seconds>", "{timeout}")
    choice = "<any(whitelist,blacklist):which>"
    paths = [path.replace(choice, which) for which in ("whitelist", "blacklist")]
    return {each.replace("<", "{").replace(">", "}") for each in paths}


@pytest.mark.parametrize("strict", [False, True])
async def test_every_operation_asks_for_the_token(strict):
    admin = Administered(strict=strict)
    status = HTTPStatus.UNAUTHORIZED if strict else HTTPStatus.BAD_REQUEST
    guarded = [each for each in operations(admin) if each != ("GET", "/api/openapi.json")]
    assert len(guarded) > 40
    for method, path in guarded:
        for query, text in (("", "missing token"), ("?token=wrong", "invalid token")):
            response = await admin.send(method, quote(path) + query)
            assert (response.code, await response.json()) == (status, {"status": text})
            assert response.headers.hasHeader("www-authenticate") == strict


async def test_the_token_may_be_in_the_header(admin):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert (await admin.send("GET", "/stats", headers=headers)).code == 200


async def test_the_token_is_never_logged(admin, logged_errors):
    admin.table.record = None  # whatever goes wrong
    with capturedLogs() as logs:
        await admin(f"GET /api/torrent/{A}", status=500)
    assert logged_errors.flush(TypeError)
    assert TOKEN not in str(logs)


def test_routes_and_their_policies(admin):
    policies = {route.path: route.policy for api, _ in admin.apis for route in api.routes}
    assert policies.pop("/api/openapi.json") is Policy.PUBLIC
    assert set(policies.values()) == {Policy.ADMIN}


# -- numbers and the document


async def test_stats(admin):
    announce(admin)
    await admin(f"POST /api/whitelist/{A}")
    admin.tallies["http"] = (Tally(announces=4, failures=5), Tally(scrapes=6))
    admin.tallies["udp"] = (Tally(malformed=7), Tally(failures=8, connections=9))
    told = await admin("GET /stats")
    assert (
        told.items()
        >= {
            "started": NOW - 60,
            "torrents": 1,
            "seeds": 1,
            "peers": 0,
            "whitelist": 1,
            "whitelist_enabled": False,
            "users_enabled": True,
            "tcp4_announces_handled": 4,
            "tcp4_failure": 5,
            "tcp6_scrapes_handled": 6,
            "udp4_bad_request": 7,
            "udp6_invalid_request": 8,
            "udp6_connections_handled": 9,
        }.items()
    )
    assert (await admin("GET /stats.json")).keys() == told.keys()


async def test_visits_are_counted(admin):
    before = await admin("GET /stats")
    await admin.send("GET", "/nothing")
    after = await admin("GET /stats")
    assert after["tcp4_api_handled"] - before["tcp4_api_handled"] == 2
    assert after["tcp4_not_found"] - before["tcp4_not_found"] == 1
    assert after["tcp6_api_handled"] == 0


async def test_metrics(admin):
    announce(admin)
    admin.tallies["udp"] = (Tally(announces=11), Tally(malformed=12))
    response = await admin.send("GET", f"/metrics?token={TOKEN}")
    assert response.headers.getRawHeaders("content-type")[0].startswith("text/plain; version=")
    lines = (await response.text()).splitlines()
    for line in (
        'torrust_actix_gauge{metric="seeds"} 1.0',
        'torrust_actix_counter{metric="udp4_announces_handled"} 11.0',
        "p2pd_nodes 3.0",
        'p2pd_peers{kind="seed"} 1.0',
        'p2pd_announces_total{door="udp",family="ipv4"} 11.0',
        'p2pd_malformed_total{door="udp",family="ipv6"} 12.0',
    ):
        assert line in lines
    names = {line.split(" ")[0] for line in lines}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= names


async def test_the_document_describes_every_route(admin):
    response = await admin.send("GET", "/api/openapi.json")
    document = await response.json()
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert described == set(operations(admin))
