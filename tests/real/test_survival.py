"""A fleet that loses its tracker, a seed and a node in the middle, and has a liar among it."""

import pytest

import twisted
from p2pd.metainfo.torrent import Torrent
from tests.real.fleet import MIB, copy_package, digests, make_file, until
from tests.real.holders import Holder, lies

pytestmark = pytest.mark.real

TREE = "twisted"
LARGE = "large.img"
PARALLEL = 8  # pieces that a node fetches at the same time, by default
PER_PEER = 4  # of them from one peer


def test_every_download_survives(fleet, tmp_path):
    tracker = fleet.start_tracker("--heartbeat-timeout", "60")
    first, second = fleet.start_nodes(2)
    # Slow enough for what follows to happen while they download.
    slow = fleet.start_nodes(4, "--max-download-rate", "5M")
    victim = slow[0]
    shared = {
        TREE: copy_package(twisted, tmp_path / "shared" / TREE),
        LARGE: make_file(tmp_path / "shared" / LARGE, 64 * MIB),
    }
    expected = {name: digests(path) for name, path in shared.items()}
    assert len(expected[TREE]) > 800
    torrents = [
        Torrent.from_bytes(first.call("GET", f"/metainfo/{transfer['infohash']}").body)
        for transfer in [fleet.share(first, path) for path in shared.values()]
    ]

    with Holder(tracker, torrents[1], piece=lies) as liar:
        for node in (second, *slow):
            for name in shared:
                node.begin(name)
        until(lambda: all(second.complete(name) for name in shared))

        until(lambda: victim.transfer(LARGE)["pieces_held"] > 60)
        verified = victim.transfer(LARGE)["pieces_held"]
        victim.kill()
        sent_to_victim = first.sent()[victim.id]
        first.kill()
        victim.start()
        until(lambda: victim.transfer(LARGE)["pieces_held"] > verified + PARALLEL)
        assert not any(node.complete(LARGE) for node in slow)
        tracker.kill()

        until(lambda: all(n.complete(name) for n in slow for name in shared), within=90)

    for node in (second, *slow):
        for name in shared:
            assert digests(node.downloads / name) == expected[name]

    # The killed node: what it had verified was not sent again.
    sent_to_victim += sum(node.sent().get(victim.id, 0) for node in fleet.nodes[1:])
    once = sum(torrent.length for torrent in torrents)
    in_flight = 2 * PARALLEL * torrents[1].piece_length  # as much again lies in sockets
    assert once <= sent_to_victim <= once + in_flight

    # The liar: whoever asked it found out, said so, and asked no more.
    assert liar.asked
    for node in (second, *slow):
        blamed = node.log.count(f"{liar.address} sent bytes for piece")
        assert blamed <= liar.asked[node.id] <= PER_PEER * len(node.lives)
        assert bool(blamed) == bool(liar.asked[node.id])
        assert all(liar.address not in node.transfer(name)["received_from"] for name in shared)
