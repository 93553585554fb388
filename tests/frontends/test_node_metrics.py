"""`/metrics` of a node: what it counts, in its own words and in Porla's."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from p2pd.frontends.authorisation import Gate
from p2pd.roles import Role
from tests.fleet import Door


@pytest.fixture
def node(fleet):
    return fleet.node("node")


def samples(door):
    response = door.ask("GET", "/metrics")
    assert response.code == 200
    assert response.headers.getRawHeaders("Content-Type")[0].startswith("text/plain")
    families = text_string_to_metric_families(response.whole.decode())
    return [sample for family in families for sample in family.samples]


def value(found, name, /, **labels):
    (sample,) = [one for one in found if one.name == name and labels.items() <= one.labels.items()]
    return sample.value


def test_a_node_tells_of_itself_and_of_each_download(fleet, node):
    shared = fleet.share(fleet.node("seed"), 'a "b".bin', fleet.data(100_000))
    name, infohash = shared.torrent.name, shared.torrent.infohash.hex()
    fleet.settle(fleet.get(node, name))
    found = samples(Door(fleet, node))
    assert value(found, "p2pd_downloads", kind="seeding") == 1
    assert value(found, "p2pd_downloads", kind="downloading") == 0
    assert value(found, "p2pd_receive_bytes_total") == 100_000
    assert value(found, "p2pd_free_bytes") > 0
    labels = {"infohash": infohash, "name": name}
    assert value(found, "p2pd_download_progress_ratio", **labels) == 1
    assert value(found, "p2pd_download_receive_bytes_total", **labels) == 100_000
    labels |= {"session": "default"}
    assert value(found, "porla_torrent_status_total_done", **labels) == 100_000
    assert value(found, "porla_torrent_status_progress_ppm", **labels) == 1_000_000
    assert value(found, "porla_torrent_status_state", **labels) == 5
    assert value(found, "libtorrent_ses_num_seeding_torrents", session="default") == 1
    assert value(found, "libtorrent_net_recv_payload_bytes", session="default") == 100_000


def test_lines_of_torrents_have_their_time_in_milliseconds(fleet, node):
    fleet.share(node, "a.bin", fleet.data(1000))
    before = fleet.clock.seconds()
    text = Door(fleet, node).ask("GET", "/metrics").whole.decode()
    (line,) = [one for one in text.splitlines() if one.startswith("porla_torrent_status_total{")]
    assert before * 1000 - 1 <= int(line.rpartition(" ")[2]) <= fleet.clock.seconds() * 1000


def test_torrents_of_one_name_are_told_apart(fleet, node):
    fleet.share(node, "a.bin", fleet.data(1000))
    fleet.share(node, "b.bin", fleet.data(1000))
    for job in fleet.control(node).downloads.jobs():
        job.change(name="same")
    lines = Door(fleet, node).ask("GET", "/metrics").whole.decode().splitlines()
    names = [line.partition("} ")[0] for line in lines if not line.startswith("#")]
    assert len(names) == len(set(names))


def test_it_takes_a_role_to_read_them(fleet, node):
    door = Door(fleet, node, Gate(control={b"reader" * 4: Role.READER}))
    assert door.ask("GET", "/metrics").code == 401
    token = {"Authorization": "Bearer " + "reader" * 4}
    assert door.ask("GET", "/metrics", headers=token).code == 200
