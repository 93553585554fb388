"""Stock BitTorrent clients fetch what nodes share: web seeds in the tracker's torrents."""

from types import SimpleNamespace

import pytest
import treq

from p2pd.metainfo.torrent import Torrent
from tests.real.clients import Aria2, Libtorrent
from tests.real.fleet import ask, copy_package, digests, make_file, until

pytestmark = pytest.mark.real


def torrent_for_clients(tracker, infohash):
    answer = ask("GET", f"{tracker.url}/api/v1/torrent/{infohash}")
    assert answer.status == 200
    read = Torrent.from_bytes(answer.body)
    return SimpleNamespace(
        metainfo=answer.body, infohash=read.infohash, tracker=read.trackers[0][0]
    )


@pytest.mark.parametrize("client", [Aria2, Libtorrent])
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_client_fetches_from_nodes(fleet, tmp_path, require_program, client, kind):
    if client is Aria2:
        require_program("aria2c")
    tracker = fleet.start_tracker()
    first, second = fleet.start_nodes(2)
    if kind == "file":
        shared = make_file(tmp_path / "shared" / "a file.img", 3_000_001)
    else:
        shared = copy_package(treq, tmp_path / "shared" / "a package")
        # Between large files a torrent is padded (BEP 47), which not all clients know of.
        for name in ("first", "second"):
            make_file(shared / "large" / name, 700_001)
    fleet.share(first, shared)
    second.fetch(shared.name)
    fleet.wait_for_seeds(shared.name, 2)

    wanted = torrent_for_clients(tracker, tracker.file(shared.name)["infohash"])
    assert len(Torrent.from_bytes(wanted.metainfo).web_seeds) == 2
    program = client(tmp_path / "client")
    try:
        program.add(wanted, tmp_path / "fetched")
        until(lambda: is_complete(shared, tmp_path / "fetched" / shared.name), within=60)
    finally:
        program.stop()


def is_complete(shared, fetched):
    # A client that does not know of padding keeps it as files.
    return fetched.exists() and digests(shared).items() <= digests(fetched).items()
