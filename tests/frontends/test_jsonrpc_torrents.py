"""The JSON-RPC methods on torrents, on the real resources of nodes in memory."""

import base64

import pytest

import p2pd
from p2pd.frontends import jsonrpc
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.jsonrpc_torrents import file_to_wire
from p2pd.metainfo.bencode import encode
from p2pd.metainfo.files import FileEntry
from p2pd.swarm.lifecycle import State
from tests.fleet import Door
from tests.golden.jsonrpc_client import PorlaClient, RpcError

ABSENT = "0" * 40


class Scene:
    """A seed that shares `a.bin`, and a node that is called."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.node = fleet.node("node")
        self.shared = fleet.share(fleet.node("seed"), "a.bin", fleet.data(300_000))
        self.downloads = fleet.control(self.node).downloads
        self.door = Door(fleet, self.node)
        self.client = PorlaClient(self._send)
        self.call = self.client.call
        self.hash = self.shared.torrent.infohash.hex()

    def _send(self, method, path, headers, body):
        response = self.door.ask(method, path, body, headers=headers)
        content_type = response.headers.getRawHeaders("Content-Type")[0]
        return response.code, content_type, response.whole

    @property
    def metainfo(self):
        return base64.b64encode(self.shared.torrent.to_bytes()).decode()

    @property
    def job(self):
        return self.downloads.find(self.hash)

    def get(self, **params):
        """Add it, and wait until it is here."""
        added = self.client.add(**{"ti": self.metainfo, "save_path": "here"} | params)
        self.fleet.until(lambda: self.job.state is State.COMPLETE)
        return added

    def row(self, **params):
        (row,) = self.client.torrents(**params)
        return row

    def code_of(self, method, **params):
        with pytest.raises(RpcError) as raised:
            self.call(method, params)
        return raised.value.code


@pytest.fixture
def scene(fleet):
    return Scene(fleet)


# -- adding


def test_metainfo_is_added_and_fetched(scene):
    assert scene.get() == [scene.hash, None]
    row = scene.row()
    assert (row["state"], row["progress"], row["total_done"]) == (5, 1.0, 300_000)
    assert row["save_path"].endswith("/here")


def test_a_magnet_link_is_added_and_goes_by_the_given_name_meanwhile(scene):
    uri = f"magnet:?xt=urn:btih:{ABSENT}"
    assert scene.client.add(magnet_uri=uri, save_path="here", name="Some name") == [ABSENT, None]
    row = scene.row()
    assert (row["name"], row["state"], row["progress"]) == ("Some name", 2, 0.0)


def test_options_are_kept_and_shown(scene):
    given = {
        "download_limit": 1000,
        "upload_limit": 2000,
        "max_connections": 3,
        "max_uploads": 4,
    }
    scene.client.add(
        ti=scene.metainfo,
        save_path="here",
        category="c",
        tags=["s", "t", "s"],
        metadata={"k": [1]},
        trackers=["http://tracker.example/announce"],
        url_seeds=["http://seed.example/a.bin"],
        **given,
    )
    properties = scene.call("torrents.properties.get", {"info_hash": scene.hash})
    assert {name: properties[name] for name in given} == given
    row = scene.row(include_metadata=["*"])
    assert (row["category"], row["tags"], row["metadata"]) == ("c", ["s", "t"], {"k": [1]})
    (tracker,) = scene.client.trackers([scene.hash, None])
    assert (tracker["url"], tracker["tier"], tracker["source"]) == (
        "http://tracker.example/announce",
        0,
        4,
    )
    assert scene.job.options.web_seeds == ("http://seed.example/a.bin",)


def test_less_than_0_is_no_limit(scene):
    scene.client.add(ti=scene.metainfo, save_path="here", download_limit=-1, max_uploads=-1)
    properties = scene.call("torrents.properties.get", {"info_hash": scene.hash})
    assert properties["download_limit"] == properties["upload_limit"] == -1
    assert properties["max_uploads"] == properties["max_connections"] == 2**24 - 1


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"ti": "####"}, -1),
        ({"ti": base64.b64encode(b"d1:a").decode()}, -1),
        ({"ti": "ü"}, -1),
        ({"ti": base64.b64encode(encode({"info": {}})).decode()}, -2),
        ({"magnet_uri": "http://example.com"}, -3),
        ({"magnet_uri": "magnet:?xt=urn:btih:abcdef0123456789abcd"}, -3),
        ({}, -4),
        ({"save_path": None}, -4),
        ({"save_path": ""}, -4),
        ({"save_path": "../../etc"}, -5),
        ({"http_seeds": ["http://seed.example/"]}, -5),
        ({"session_id": 7}, -10),
        ({"session": "other"}, -10),
        ({"tags": "t"}, -32602),
        ({"metadata": []}, -32602),
        ({"download_limit": "fast"}, -32602),
    ],
)
def test_what_cannot_be_added_is_refused_and_leaves_nothing(scene, params, code):
    whole = (
        {"ti": scene.metainfo, "save_path": "here"}
        if {"ti", "magnet_uri"}.isdisjoint(params) and params
        else {"save_path": "here"}
    )
    assert scene.code_of("torrents.add", **whole | params) == code
    assert scene.client.torrents() == []


@pytest.mark.parametrize("session", [{"session_id": 1}, {"session": "default"}])
def test_the_one_session_may_be_named(scene, session):
    scene.get(**session)


def test_what_is_here_is_not_added_again(scene):
    scene.get()
    again = {"ti": scene.metainfo, "save_path": "elsewhere"}
    assert scene.code_of("torrents.add", **again) == -3
    magnet = f"magnet:?xt=urn:btih:{scene.hash}"
    assert scene.code_of("torrents.add", magnet_uri=magnet, save_path="elsewhere") == -3
    assert scene.row()["save_path"].endswith("/here")


# -- naming


def test_a_torrent_is_named_in_each_form(scene):
    scene.get()
    for form in (scene.hash, scene.hash.upper(), [scene.hash, None], [scene.hash, "b" * 64]):
        assert scene.call("torrents.files.list", {"info_hash": form})["files"]


FORMS = [
    None,
    "",
    "abcdef0123456789abcd",
    ["abcdef0123456789abcd", None],
    ABSENT,
    [None, "b" * 64],
    "b" * 64,
    [None, None],
    [ABSENT],
    {"v1": ABSENT},
    7,
]


@pytest.mark.parametrize(
    "method",
    [
        "torrents.files.list",
        "torrents.metadata.list",
        "torrents.move",
        "torrents.pause",
        "torrents.peers.add",
        "torrents.peers.list",
        "torrents.properties.get",
        "torrents.properties.set",
        "torrents.recheck",
        "torrents.remove",
        "torrents.resume",
        "torrents.trackers.add",
        "torrents.trackers.list",
    ],
)
def test_what_names_no_torrent_is_told_alike(scene, method):
    for form in FORMS:
        params = {"info_hash": form, "path": "x", "peers": [], "url": "http://a.example/announce"}
        with pytest.raises(RpcError, match="Torrent not found in any session") as raised:
            scene.call(method, params)
        assert raised.value.code == -1


def test_another_session_has_none_of_them(scene):
    scene.get()
    assert scene.code_of("torrents.pause", info_hash=scene.hash, session_id=2) == -1
    assert scene.row()["flags"][0] == "auto_managed"


# -- verbs


def test_a_torrent_is_paused_and_resumed_as_often_as_asked(scene):
    scene.get()
    for _ in range(2):
        assert scene.call("torrents.pause", {"info_hash": scene.hash}) is None
    row = scene.row()
    assert "paused" in row["flags"]
    assert row["state"] == 5
    for _ in range(2):
        assert scene.call("torrents.resume", {"info_hash": scene.hash}) is None
    scene.fleet.until(lambda: scene.job.state is State.COMPLETE)
    assert "paused" not in scene.row()["flags"]


def test_a_torrent_is_rechecked(scene):
    scene.get()
    assert scene.call("torrents.recheck", {"info_hash": scene.hash}) is None
    scene.fleet.until(lambda: scene.job.state is State.COMPLETE)


def test_a_torrent_is_moved(scene):
    scene.get()
    assert scene.call("torrents.move", {"info_hash": scene.hash, "path": "there"}) is None
    assert scene.row()["save_path"].endswith("/there")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"path": ""}, -32602),
        ({}, -32602),
        ({"path": "../../etc"}, -32602),
        ({"path": "there", "flags": "maybe"}, -32602),
    ],
)
def test_a_move_that_cannot_be_is_refused(scene, params, code):
    scene.get()
    assert scene.code_of("torrents.move", info_hash=scene.hash, **params) == code
    assert scene.row()["save_path"].endswith("/here")


@pytest.mark.parametrize("flag", [None, "dont_replace", "fail_if_exist"])
def test_nothing_is_replaced_that_is_not_to_be(scene, flag):
    scene.get()
    path = scene.job.entry.content.path
    other = path.parent.parent / "there" / path.name
    disk = scene.fleet.disks["node"]
    disk.published[other] = b"precious"
    moved = {"info_hash": scene.hash, "path": "there", "flags": flag}
    assert scene.code_of("torrents.move", **moved) == -32002
    assert disk.published[other] == b"precious"
    scene.call("torrents.move", moved | {"flags": "always_replace_files"})
    assert disk.published[other] != b"precious"


@pytest.mark.parametrize(("data", "left"), [({}, 1), ({"remove_data": True}, 0)])
@pytest.mark.parametrize("form", ["info_hash", "info_hashes"])
def test_a_torrent_is_removed_with_its_files_only_if_asked(scene, data, left, form):
    scene.get()
    named = scene.hash if form == "info_hash" else [[scene.hash, None], scene.hash]
    assert scene.call("torrents.remove", {form: named} | data) is None
    assert scene.client.torrents() == []
    assert len(scene.fleet.disks["node"].published) == left


@pytest.mark.parametrize("flag", ["true", 1, "yes", [], {}])
def test_nothing_is_removed_on_a_flag_that_is_neither_true_nor_false(scene, flag):
    scene.get()
    asked = {"info_hash": scene.hash, "remove_data": flag}
    assert scene.code_of("torrents.remove", **asked) == -32602
    assert scene.row()


def test_nothing_is_removed_if_one_of_them_is_not_there(scene):
    scene.get()
    assert scene.code_of("torrents.remove", info_hashes=[scene.hash, ABSENT]) == -1
    assert scene.row()


# -- limits and flags


def test_limits_category_and_tags_are_changed_and_the_rest_stays(scene):
    scene.get(category="c", tags=["t"], upload_limit=9)
    scene.call(
        "torrents.properties.set",
        {"info_hash": scene.hash, "download_limit": 7, "max_uploads": -1, "tags": ["u"]},
    )
    properties = scene.call("torrents.properties.get", {"info_hash": scene.hash})
    assert (properties["download_limit"], properties["upload_limit"]) == (7, 9)
    row = scene.row()
    assert (row["category"], row["tags"]) == ("c", ["u"])
    assert scene.job.entry.download_limit.rate == 7


@pytest.mark.parametrize(
    "flags",
    [
        {"flags": {"paused": True, "sequential_download": True}},
        {"flags": ["paused", "sequential_download"]},
        {"flags": ["paused", "sequential_download"], "flags_mask": ["paused"]},
    ],
)
def test_flags_are_set_and_taken_away(scene, flags):
    scene.get()
    assert scene.call("torrents.properties.set", {"info_hash": scene.hash} | flags) is None
    assert scene.row()["flags"][:2] == ["paused", "sequential_download"]
    off = {"info_hash": scene.hash, "flags": [], "flags_mask": ["paused", "sequential_download"]}
    scene.call("torrents.properties.set", off)
    assert scene.row()["flags"][:2] == ["auto_managed", "disable_dht"]


@pytest.mark.parametrize(
    "flags", [{"super_seeding": True}, {"disable_dht": False}, {"paused": "yes"}, "paused"]
)
def test_flags_that_cannot_be_changed_are_refused_and_nothing_is(scene, flags):
    scene.get()
    asked = {"info_hash": scene.hash, "flags": flags, "download_limit": 5}
    assert scene.code_of("torrents.properties.set", **asked) == -32602
    assert scene.job.options.download_limit == 0


def test_flags_that_are_so_already_may_be_asked_for(scene):
    scene.get()
    same = {"disable_dht": True, "super_seeding": False}
    scene.call("torrents.properties.set", {"info_hash": scene.hash, "flags": same})


# -- files and peers


def test_files_have_their_places(scene):
    scene.get()
    (file,) = scene.call("torrents.files.list", {"info_hash": scene.hash})["files"]
    assert file["path"] == file["name"] == "a.bin"
    assert (file["size"], file["offset"], file["num_blocks"]) == (300_000, 0, 19)


def test_a_file_in_a_directory_has_its_path_and_its_place_in_the_trees():
    file = FileEntry(("d", "f"), 5 * 16384, 100, executable=True)
    assert file_to_wire(file, "root/", 32768) == {
        "absolute_path": False,
        "first_block_node": 7,
        "first_piece_node": 3,
        "flags": 4,
        "name": "f",
        "num_blocks": 5,
        "num_pieces": 3,
        "offset": 100,
        "path": "root/d/f",
        "size": 81920,
        "symlink": "",
    }


def test_peers_are_shown_while_they_are_there(scene):
    scene.downloads.node.limit(download=1000)
    scene.client.add(ti=scene.metainfo, save_path="here")
    scene.fleet.until(lambda: scene.downloads.links(scene.job))
    (peer,) = scene.call("torrents.peers.list", {"info_hash": scene.hash})["peers"]
    assert peer["ip"] == ["seed", 1]
    assert peer["flags"] & 0x20
    assert peer["connection_type"] == 1


def test_peers_are_added(scene):
    scene.client.add(ti=scene.metainfo, save_path="here")
    peers = [["10.0.0.1", 6881], ["::1", 6881]]
    asked = {"info_hash": scene.hash, "peers": peers}
    assert scene.call("torrents.peers.add", asked) is True


@pytest.mark.parametrize(
    "peers", [None, [["a"]], [["a", 0]], [["a b", 1]], [[1, "a"]], [["a", 1]] * 201]
)
def test_what_is_no_peer_is_refused(scene, peers):
    scene.client.add(ti=scene.metainfo, save_path="here")
    assert scene.code_of("torrents.peers.add", info_hash=scene.hash, peers=peers) == -32602


# -- the node as a whole


def test_a_paused_session_begins_nothing_until_it_is_resumed(scene):
    assert scene.call("sessions.pause", {"id": 1}) is None
    (session,) = scene.call("sessions.list")["sessions"]
    assert session["is_paused"]
    scene.client.add(ti=scene.metainfo, save_path="here")
    scene.fleet.advance(5, 0.1)
    assert scene.row()["total_done"] == 0
    assert scene.call("sessions.resume", {"name": "default"}) is True
    scene.fleet.until(lambda: scene.job.state is State.COMPLETE)


@pytest.mark.parametrize("method", ["pause", "resume", "settings.list"])
def test_another_session_is_not_there(scene, method):
    assert scene.code_of(f"sessions.{method}", id=9) == -1


def test_settings_are_told_in_the_words_of_libtorrent(scene):
    changes = {"max_upload_rate": 5, "seeding_ratio": 1.5, "max_active_seeds": 0}
    scene.fleet.done(scene.downloads.change_settings(changes))
    keys = ["upload_rate_limit", "share_ratio_limit", "active_seeds", "nonsense"]
    assert scene.call("sessions.settings.list", {"keys": keys})["settings"] == {
        "upload_rate_limit": 5,
        "share_ratio_limit": 150,
        "active_seeds": -1,
    }


def test_room_is_told(scene):
    space = scene.call("fs.space")
    assert space.keys() == {"available", "capacity", "free", "quota"}
    assert 0 < space["available"] <= space["free"] <= space["capacity"]
    assert scene.code_of("fs.space", path="/etc") < 0


def test_there_are_no_plugins_and_no_presets(scene):
    assert scene.call("plugins.list") == {"plugins": []}
    assert scene.call("presets.list") == {"presets": {}}
    assert scene.code_of("plugins.install", url="x") == -32000
    assert scene.code_of("webui.install") == -32000


def test_clients_find_a_version_where_they_look_for_it(scene):
    assert scene.call("sys.versions")["porla"]["version"] == p2pd.__version__


def test_so_many_torrents_are_removed_at_once_and_no_more(scene):
    scene.get()
    asked = [scene.hash] * 1001
    assert scene.code_of("torrents.remove", info_hashes=asked) == -32602
    assert scene.row()


def test_only_who_owns_a_node_sends_its_token_to_peers():
    assert jsonrpc.methods.policy_of("torrents.peers.add") is Policy.OWN
