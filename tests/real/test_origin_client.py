"""The client of the fleet API's origin, as it was: it asks the tracker for all nodes, and has
each of them download a file.
"""

import pytest

from tests.real.fleet import MIB, ask, at_once, digests, make_file, until

pytestmark = pytest.mark.real


def download_everywhere(tracker_address, filename):
    """The origin's flow, from nothing but the tracker's address and a filename."""
    info = ask(
        "GET",
        f"http://{tracker_address}/api/v1/info",
        {},
        headers={"Content-Type": "application/json"},
    )
    assert info.status == 200
    document = info.json
    assert document["code"] == "200 OK"
    assert document["msg"] == "ok"
    addresses = [pair[1] for pair in document["node_info"]]

    def start(address):
        return ask(
            "POST",
            f"http://{address}/api/v1/start_download?wait=1",
            {"filename": filename},
            headers={"Content-Type": "application/json"},
        )

    return at_once(*[lambda address=address: start(address) for address in addresses])


def test_a_file_is_downloaded_everywhere(fleet, tmp_path):
    tracker = fleet.start_tracker()
    seed, *others = fleet.start_nodes(5)
    file = make_file(tmp_path / "shared" / "release.img", 24 * MIB + 12345)
    fleet.share(seed, file)
    until(lambda: len(tracker.nodes()) == 5)

    answers = download_everywhere(tracker.address, "release.img")

    assert len(answers) == 5
    for answer in answers:
        assert answer.status == 200
        document = answer.json
        assert document["code"] == "200 OK"
        assert document["msg"] == "ok"
        # 24 MiB and a bit, in pieces of 256 KiB; the origin counts in floating point.
        assert document["success_count"] == document["total_count"] == 97.0
        assert document["failed_count"] == 0.0
    expected = digests(file)
    for node in others:
        assert digests(node.downloads / "release.img") == expected


def test_the_origins_nodes_list_holders_and_give_pieces(fleet, tmp_path):
    """An old node's way: fetch_seed, node_list for each piece, fetch_piece from a holder."""
    tracker = fleet.start_tracker()
    node = fleet.start_node()
    file = make_file(tmp_path / "shared" / "small.bin", 600_000)
    fleet.share(node, file)

    seed_info = tracker.post("fetch_seed", {"filename": "small.bin"})["seed_info"]
    content = bytearray(seed_info["content_length"])
    for piece in seed_info["piece_list"]:
        holders = tracker.post("node_list", {"piece_id": piece["checksum"]})["node_list"]
        assert holders == [node.address]
        answer = ask(
            "POST",
            f"http://{holders[0]}/api/v1/fetch_piece",
            {"piece_id": piece["checksum"], "encoding": "bytes"},
        ).json
        assert len(answer["data"]) == piece["size"]
        content[piece["index"] : piece["index"] + piece["size"]] = bytes(answer["data"])
    assert bytes(content) == file.read_bytes()
