"""What can go wrong around a fleet, and what its users see of it."""

import shutil
import socket
import subprocess
import threading

import pytest

from p2pd.metainfo.torrent import Torrent
from tests.real import holders
from tests.real.fleet import MIB, ask, at_once, digests, make_file, names, until
from tests.real.holders import Holder

pytestmark = pytest.mark.real

# For a disk that has less than what downloads leave free by default.
SMALL = "--least-free", "0"


# -- the tracker


class Nobody:
    """Hangs up on all who call while the context lasts; then the port is free for a tracker."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.calls = 0
        self._stopping = False
        self._answering = threading.Thread(target=self._answer)
        self._answering.start()

    def _answer(self):
        while True:
            connection, _ = self._socket.accept()
            connection.close()
            if self._stopping:
                return
            self.calls += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stopping = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._answering.join()
        self._socket.close()


def test_nodes_wait_for_a_tracker_that_is_away_at_their_start(fleet, tmp_path):
    file = make_file(tmp_path / "shared" / "early.img", 4 * MIB)
    with Nobody() as nobody:
        url = f"http://127.0.0.1:{nobody.port}"
        seed, other = [
            fleet.start_node("--heartbeat-interval", "0.3", tracker=url) for _ in range(2)
        ]
        seed.share(file)
        until(lambda: nobody.calls >= 6)
        answer = other.call("POST", "/api/v1/start_download", {"filename": "early.img"})
        assert answer.status == 503
        assert answer.json["code"] == "503 Service Unavailable"
        assert not other.get("info")["trackers"][0]["reachable"]
    for node in (seed, other):
        assert node.log.count(f"tracker {url} does not answer") == 1
    fleet.start_tracker(port=nobody.port)

    fleet.wait_for_seeds("early.img", 1)
    until(lambda: other.get("info")["trackers"][0]["reachable"])
    other.fetch("early.img")

    assert digests(other.downloads / "early.img") == digests(file)
    for node in (seed, other):
        assert node.log.count(f"tracker {url} does not answer") == 1


# -- the disk


def test_a_download_that_cannot_be_written_fails_alone(fleet, tmp_path):
    """Tests may run as root, who may write everywhere but below a file."""
    fleet.start_tracker()
    seed, node = fleet.start_nodes(2, "--max-upload-rate", "10M")
    for name in ("one.img", "two.img"):
        fleet.share(seed, make_file(tmp_path / "shared" / name, 4 * MIB, seed=name))
    make_file(node.downloads / "blocked", 10)

    def start(name, destination):
        document = {"filename": name, "destination": destination}
        return node.call("POST", "/api/v1/start_download?wait=1", document)

    failed, good = at_once(
        lambda: start("one.img", "blocked/one.img"), lambda: start("two.img", "two.img")
    )

    assert failed.status == 200  # a logical failure, which the dialect tells of in `code`
    assert failed.json["code"] == "500 Internal Server Error"
    assert failed.json["msg"] == "Download file failed."
    assert failed.json["state"] == "failed"
    assert failed.json["reason"].startswith(f"cannot write to {node.downloads / 'blocked'}: ")
    assert good.json["state"] == "complete"
    assert names(node.downloads) == ["blocked", "two.img"]
    assert f"one.img failed: {failed.json['reason']}" in node.log


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place]
    if shutil.which("mount") is None:
        pytest.skip("there is no mount: a full disk cannot be tested")
    mounting = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounting.returncode:
        pytest.skip(f"a full disk cannot be tested: {mounting.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_without_room_refuses_at_once(fleet, tmp_path, small_disk):
    fleet.start_tracker()
    seed, node = fleet.start_node(), fleet.start_node(*SMALL, "--download-dir", small_disk)
    fleet.share(seed, make_file(tmp_path / "shared" / "large.img", 20 * MIB))
    fleet.share(seed, make_file(tmp_path / "shared" / "fits.img", 4 * MIB))

    failed = node.fetch("large.img")
    assert failed["state"] == "failed"
    assert "16777216 bytes free, large.img needs 20971520" in failed["reason"]
    assert node.fetch("fits.img")["state"] == "complete"
    assert names(small_disk) == ["fits.img"]


def test_a_disk_that_fills_up_fails_the_download_that_meets_it(fleet, tmp_path, small_disk):
    fleet.start_tracker()
    seed = fleet.start_node()
    node = fleet.start_node(*SMALL, "--download-dir", tmp_path, "--max-download-rate", "4M")
    for name, size in [("large.img", 12 * MIB), ("other.img", 4 * MIB)]:
        fleet.share(seed, make_file(tmp_path / "shared" / name, size))

    node.begin("large.img", destination="small/large.img")
    node.begin("other.img", destination="elsewhere/other.img")
    until(lambda: node.transfer("large.img")["pieces_held"] > 4)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(16 * MIB))

    until(lambda: node.transfer("large.img")["state"] == "failed")
    assert "No space left on device" in node.transfer("large.img")["error"]
    assert not (small_disk / "large.img").exists()
    until(lambda: node.complete("other.img"))

    # With room again, what was verified is not fetched twice.
    ballast.unlink()
    until(lambda: node.fetch("large.img", destination="small/large.img")["state"] == "complete")
    assert digests(small_disk / "large.img") == digests(tmp_path / "shared" / "large.img")
    in_flight = 8 * 256 * 1024
    assert seed.transfer("large.img")["sent_to"][node.id] <= 12 * MIB + in_flight


# -- names and shares


def test_a_file_that_nobody_knows_is_a_404_in_the_dialect(fleet):
    tracker = fleet.start_tracker()
    node = fleet.start_node()
    until(lambda: node.get("info")["trackers"][0]["reachable"])

    answer = node.call("POST", "/api/v1/start_download", {"filename": "no-such.img"})

    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json["code"] == "404 Not Found"
    assert "no-such.img" in answer.json["error"]
    # The tracker's clients know this one; they are told at status 200.
    missing = tracker.post("fetch_seed", {"filename": "no-such.img"})
    assert missing["code"] == "404 Not Found"
    assert missing["seed_info"]["piece_list"] == []
    assert node.get("transfers")["transfers"] == []


def test_a_file_that_changes_under_a_seed_is_not_served(fleet, tmp_path):
    tracker = fleet.start_tracker()
    damaged, node = fleet.start_nodes(2)
    file = make_file(tmp_path / "shared" / "a.img", 4 * MIB)
    infohash = fleet.share(damaged, file)["infohash"]
    torrent = Torrent.from_bytes(damaged.call("GET", f"/metainfo/{infohash}").body)
    piece = f"/pieces/{torrent.piece_ids[3].hex()}"
    good = damaged.call("GET", piece)
    assert good.status == 200

    with file.open("r+b") as writing:
        writing.seek(3 * torrent.piece_length)
        writing.write(b"changed")
    refused = damaged.call("GET", piece)

    assert refused.status == 404
    assert "changed on disk" in refused.json["error"]
    share = damaged.transfer("a.img")
    assert share["state"] == "failed"
    assert share["error"].startswith("damaged: ")
    assert share["pieces_held"] == 0
    assert "a.img is damaged" in damaged.log
    until(lambda: tracker.file("a.img")["seeds"] == 0)

    # Whoever has the content as it was puts the swarm right.
    node.begin("a.img")
    whole = make_file(tmp_path / "again" / "a.img", 4 * MIB)
    another = fleet.start_node()
    fleet.share(another, whole)
    until(lambda: node.complete("a.img"))
    assert digests(node.downloads / "a.img") == digests(whole)
    assert node.transfer("a.img")["received_from"] == {another.address: 4 * MIB}


# -- bad company

FAULTS = [holders.stalls, holders.sends_garbage, holders.breaks_off, holders.lies]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_bad_holder_delays_nobody_for_long(fleet, tmp_path, fault):
    tracker = fleet.start_tracker("--heartbeat-timeout", "60")
    seed = fleet.start_node("--max-upload-rate", "16M")
    node = fleet.start_node()
    file = make_file(tmp_path / "shared" / "a.img", 24 * MIB)
    infohash = fleet.share(seed, file)["infohash"]
    torrent = Torrent.from_bytes(seed.call("GET", f"/metainfo/{infohash}").body)

    with (
        Holder(tracker, torrent, piece=fault) as halfway,
        Holder(tracker, torrent, piece=fault, have=fault) as at_once_,
    ):
        assert node.fetch("a.img")["state"] == "complete"
        assert halfway.asked[node.id]

    assert digests(node.downloads / "a.img") == digests(file)
    assert node.transfer("a.img")["received_from"] == {seed.address: 24 * MIB}
    assert not at_once_.asked


def test_a_web_page_of_another_site_cannot_control_a_node(fleet):
    fleet.start_tracker()
    node = fleet.start_node()
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        for path in ("/api/v1/info", "/api/v1/transfers"):
            assert ask("GET", node.url + path, headers=headers).status == 403
