"""Daemons that are stopped and started again go on where they were."""

import pytest

from tests.real.fleet import MIB, digests, make_file, names, until

pytestmark = pytest.mark.real

NAME = "large.img"
SIZE = 16 * MIB
IN_FLIGHT = 2 * 8  # pieces: as many as are asked for by default, and as much in the sockets


def test_a_node_that_is_stopped_leaves_and_resumes(fleet, tmp_path):
    tracker = fleet.start_tracker()
    seed = fleet.start_node()
    node = fleet.start_node("--max-download-rate", "6M")
    file = make_file(tmp_path / "shared" / NAME, SIZE)
    fleet.share(seed, file)
    node.begin(NAME)
    until(lambda: node.transfer(NAME)["pieces_held"] > 20)
    assert set(tracker.nodes()) == {seed.id, node.id}

    assert node.terminate() == 0

    assert set(tracker.nodes()) == {seed.id}
    assert tracker.file(NAME)["leeches"] == 0
    assert not (node.downloads / NAME).exists()
    assert names(node.downloads)  # what was verified is kept beside
    sent = seed.transfer(NAME)["sent_to"][node.id]
    assert sent < SIZE

    node.start()
    until(lambda: node.complete(NAME))

    assert digests(node.downloads / NAME) == digests(file)
    assert names(node.downloads) == [NAME]
    transfer = node.transfer(NAME)
    assert transfer["downloaded"] == SIZE
    # What was on its way when it stopped is all that was sent twice.
    in_flight = IN_FLIGHT * transfer["piece_length"]
    assert seed.transfer(NAME)["sent_to"][node.id] <= SIZE + in_flight


def test_a_node_that_is_killed_goes_on_without_the_tracker(fleet, tmp_path):
    tracker = fleet.start_tracker()
    seed = fleet.start_node()
    node = fleet.start_node("--max-download-rate", "2M")
    file = make_file(tmp_path / "shared" / NAME, SIZE)
    fleet.share(seed, file)
    node.begin(NAME)
    # Six seconds at that rate, and one checkpoint in them: that is where it remembers its peers.
    until(lambda: node.transfer(NAME)["pieces_held"] > 50)
    tracker.kill()
    node.kill()
    node.start()
    until(lambda: node.complete(NAME))
    assert digests(node.downloads / NAME) == digests(file)
    in_flight = IN_FLIGHT * node.transfer(NAME)["piece_length"]
    assert seed.transfer(NAME)["sent_to"][node.id] <= SIZE + in_flight


def test_a_complete_node_serves_again_after_a_restart(fleet, tmp_path):
    fleet.start_tracker()
    seed, node = fleet.start_nodes(2)
    file = make_file(tmp_path / "shared" / NAME, 4 * MIB)
    fleet.share(seed, file)
    node.fetch(NAME)
    assert seed.terminate() == 0
    node.kill()
    node.start()
    fleet.wait_for_seeds(NAME, 1)

    third = fleet.start_node()
    assert third.fetch(NAME)["state"] == "complete"
    assert digests(third.downloads / NAME) == digests(file)
    assert third.transfer(NAME)["received_from"] == {node.address: 4 * MIB}


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_tracker_that_restarts_keeps_its_catalog(fleet, tmp_path, end):
    tracker = fleet.start_tracker()
    port = tracker.port
    seed = fleet.start_node()
    node = fleet.start_node("--max-download-rate", "6M")
    file = make_file(tmp_path / "shared" / NAME, SIZE)
    infohash = fleet.share(seed, file)["infohash"]
    node.begin(NAME)
    until(lambda: node.transfer(NAME)["pieces_held"] > 10)

    getattr(tracker, end)()
    tracker.start(port)

    known = until(lambda: _seed_info(tracker))
    assert known["infohash"] == infohash
    assert known["seed_info"]["content_length"] == SIZE
    # One announce interval is 30 s, plus a fifth; nodes that beat notice sooner.
    fleet.wait_for_seeds(NAME, 1)
    until(lambda: len(tracker.nodes()) == 2)
    assert node.fetch(NAME)["state"] == "complete"
    assert digests(node.downloads / NAME) == digests(file)
    fleet.wait_for_seeds(NAME, 2)


def _seed_info(tracker):
    answer = tracker.post("fetch_seed", {"filename": NAME})
    return answer if answer["code"] == "200 OK" else None


def test_a_request_right_after_a_restart_joins_what_is_resumed(fleet, tmp_path):
    fleet.start_tracker()
    seed = fleet.start_node()
    node = fleet.start_node("--max-download-rate", "4M")
    file = make_file(tmp_path / "shared" / NAME, SIZE)
    infohash = fleet.share(seed, file)["infohash"]
    metainfo = seed.call("GET", f"/metainfo/{infohash}").body
    node.begin(NAME)
    until(lambda: node.transfer(NAME)["pieces_held"] > 20)
    node.kill()
    node.start()

    answer = node.call("POST", "/api/v1/start_download?wait=1", body=metainfo)

    assert answer.json["state"] == "complete"
    assert digests(node.downloads / NAME) == digests(file)
    in_flight = IN_FLIGHT * node.transfer(NAME)["piece_length"]
    assert seed.transfer(NAME)["sent_to"][node.id] <= SIZE + in_flight
