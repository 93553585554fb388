"""`torrents.trackers.list`: announces in the words and numbers of libtorrent."""

import pytest

from p2pd.frontends.jsonrpc_trackers import tracker_to_wire
from p2pd.node.options import TrackerSource
from p2pd.swarm.tracker_list import AnnounceState, TrackerEndpoint, TrackerState
from tests.fleet import Door
from tests.golden.jsonrpc_client import PorlaClient, RpcError

UNSET = -2147483648
NOTHING = {
    "complete_sent": False,
    "fails": 0,
    "last_error": None,
    "message": "",
    "min_announce": UNSET,
    "next_announce": UNSET,
    "scrape_complete": -1,
    "scrape_downloaded": -1,
    "scrape_incomplete": -1,
    "start_sent": False,
    "updating": False,
}


def test_a_tracker_before_contact_has_no_endpoints():
    assert tracker_to_wire(TrackerState("http://t.example/a", 2, TrackerSource.MAGNET)) == {
        "endpoints": [],
        "fail_limit": 0,
        "source": 4,
        "tier": 2,
        "trackerid": "",
        "url": "http://t.example/a",
        "verified": False,
    }


def test_announces_are_shown_for_both_infohashes():
    state = AnnounceState(
        start_sent=True,
        complete_sent=True,
        updating=True,
        fails=3,
        last_error="tracker sent a failure message",
        message="go away",
        next_announce=1_700_000_000.9,
        min_announce=1_600_000_000.0,
        complete=0,
        incomplete=2,
        downloaded=3,
    )
    endpoint = TrackerEndpoint("127.0.0.1", 6881, enabled=False, v1=state)
    tracker = TrackerState(
        "http://t.example/a",
        0,
        TrackerSource.TORRENT | TrackerSource.CLIENT,
        tracker_id="id",
        verified=True,
        endpoints=[endpoint],
    )
    shown = tracker_to_wire(tracker)
    assert (shown["source"], shown["trackerid"], shown["verified"]) == (3, "id", True)
    assert shown["endpoints"] == [
        {
            "enabled": False,
            "info_hashes": [
                {
                    "complete_sent": True,
                    "fails": 3,
                    "last_error": "tracker sent a failure message",
                    "message": "go away",
                    "min_announce": 1_600_000_000,
                    "next_announce": 1_700_000_000,
                    "scrape_complete": 0,
                    "scrape_downloaded": 3,
                    "scrape_incomplete": 2,
                    "start_sent": True,
                    "updating": True,
                },
                NOTHING,
            ],
            "local_endpoint": ["127.0.0.1", 6881],
        }
    ]


@pytest.fixture
def client(fleet):
    door = Door(fleet, fleet.node("node"))

    def send(method, path, headers, body):
        response = door.ask(method, path, body, headers=headers)
        kind = response.headers.getRawHeaders("Content-Type")[0]
        return response.code, kind, response.whole

    found = PorlaClient(send)
    found.add(
        magnet_uri=f"magnet:?xt=urn:btih:{'a' * 40}&tr=http://m.example/announce", save_path="x"
    )
    return found


def test_trackers_are_added_in_their_tier(client):
    pair = ["a" * 40, None]
    url = "http://b.example/announce"
    assert client.call("torrents.trackers.add", {"info_hash": pair, "url": url, "tier": 3}) is None
    shown = [(one["url"], one["tier"], one["source"]) for one in client.trackers(pair)]
    assert shown == [("http://m.example/announce", 0, 4), (url, 3, 2)]


@pytest.mark.parametrize("params", [{}, {"url": 7}, {"url": "http://a.example/", "tier": -1}])
def test_what_is_no_tracker_is_refused(client, params):
    with pytest.raises(RpcError) as raised:
        client.call("torrents.trackers.add", {"info_hash": "a" * 40} | params)
    assert raised.value.code == -32602
