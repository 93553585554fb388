"""Every example of a reply in the admin API's original document, from the state that it shows.

`admin_examples.json` holds them all. `adds` are fields that we send beside; `instead` is what we
send where the document cannot be followed: no 304, users named by the SHA-1 of their id, no time
for a torrent without peers. What is `never` sent says why.
"""

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from p2pd.tracker.records import STARTED, UserRecord
from tests.administered import NOW, TOKEN, Administered

EXAMPLES = json.loads(Path(__file__).with_name("admin_examples.json").read_text())
SENT = [example for example in EXAMPLES if "never" not in example]


@pytest.fixture
def admin():
    return Administered()


def give(admin, given):
    """Bring about the state that an example shows."""
    for infohash, torrent in given.get("torrents", {}).items():
        admin.administration.put_torrent(bytes.fromhex(infohash), torrent["completed"])
        peers = torrent.get("seeds", []) + torrent.get("peers", [])
        for peer in sorted(peers, key=lambda peer: peer["updated"]):
            announce(admin, bytes.fromhex(infohash), peer)
    for which in ("whitelist", "blacklist"):
        for infohash in given.get(which, []):
            admin.administration.put_listed(which, bytes.fromhex(infohash))
    for key, timeout in given.get("keys", {}).items():
        admin.administration.put_key(bytes.fromhex(key), timeout)
    for user in given.get("users", []):
        give_user(admin, user)


def announce(admin, infohash, peer):
    host, port = peer["peer_addr"].split(":")
    admin.table.tick(peer["updated"] // 1000)
    address = IPv4Address(host).packed + int(port).to_bytes(2)
    peer_id = bytes.fromhex(peer["peer_id"]["id"])
    moved = peer["left"], peer["uploaded"], peer["downloaded"]
    admin.table.announce(infohash, address, peer_id, *moved, STARTED, 0)


def give_user(admin, user):
    record = UserRecord(
        user_hash=bytes.fromhex(user["hash"]),
        name=user["name"],
        passkey=bytes.fromhex(user["key"]),
        uploaded=user["uploaded"],
        downloaded=user["downloaded"],
        completed=user["completed"],
        updated=NOW,
    )
    admin.administration.put_user(record)
    for torrent in user.get("torrents", ()):
        for infohash, at in torrent.items():
            admin.access.users.of(record.passkey).torrents[bytes.fromhex(infohash)] = at


def body_of(example):
    body = example.get("body")
    return b"[" + b" " * body if isinstance(body, int) else body


@pytest.mark.parametrize(
    "example", SENT, ids=lambda example: f"{example['operation']} {example['status']}"
)
async def test_an_example_of_the_document(admin, example):
    give(admin, example.get("given", {}))
    method, _ = example["operation"].split()
    expected = {"status": example["status"], "reply": example["reply"]}
    expected |= example.get("instead", {})
    body = body_of(example)
    path = f"{example['path']}?token={TOKEN}"
    response = await admin.send(method, path, b"[" if body == "[" else body)
    assert response.code == expected["status"]
    told = await response.json()
    assert told == expected["reply"] | example.get("adds", {})
    if example["status"] == 304:
        await _literally(example)


async def _literally(example):
    """The status of the document, which has no body then."""
    admin = Administered(literal_304=True)
    give(admin, example.get("given", {}))
    method, _ = example["operation"].split()
    response = await admin.send(method, f"{example['path']}?token={TOKEN}")
    assert (response.code, await response.content()) == (304, b"")


async def test_the_metrics_of_the_document(admin):
    give(admin, {"torrents": {"ab" * 20: {"completed": 1, "seeds": [SEED]}}})
    text = await (await admin.send("GET", f"/metrics?token={TOKEN}")).text()
    lines = text.splitlines()
    assert "# TYPE torrust_actix_torrents_total gauge" in lines
    assert "torrust_actix_torrents_total 1.0" in lines
    assert "# TYPE torrust_actix_peers_total gauge" in lines
    assert "torrust_actix_peers_total 1.0" in lines


SEED = {
    "peer_id": {"id": "2d" * 20},
    "peer_addr": "10.0.0.1:1",
    "updated": NOW * 1000,
    "uploaded": 0,
    "downloaded": 0,
    "left": 0,
}


def test_all_operations_are_there():
    operations = {example["operation"] for example in EXAMPLES}
    assert len(operations) == 30  # and GET /metrics
