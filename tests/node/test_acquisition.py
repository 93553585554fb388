"""How sources become torrents, in a fleet in memory."""

import base64
import dataclasses
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError, Deferred

from p2pd.background import at_once
from p2pd.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from p2pd.links.memory_web import MemoryWeb, Page
from p2pd.node.acquisition import Acquisition, NotTorrent
from p2pd.node.job import Job
from p2pd.node.options import DownloadOptions, TrackerSource
from p2pd.store.memory import MemoryStore
from tests.fleet import Fleet
from tests.samples import torrent

TORRENT = torrent("image", 4)
HEX = TORRENT.infohash.hex()
URL = "http://origin.test/files/image.iso"
TORRENT_URL = "http://origin.test/image.torrent"


class World:
    def __init__(self):
        self.fleet = Fleet()
        self.web = MemoryWeb(self.fleet.clock)
        self.acquisitions = {}

    def node(self, name):
        node = self.fleet.node(name)
        self.acquisitions[name] = Acquisition(
            node,
            self.web,
            MemoryStore(self.fleet.disks[name]),
            clock=self.fleet.clock,
            rng=self.fleet.rng,
            threads=at_once,
            trackers=[announcer.link for announcer in node._announcers],
        )
        return node

    def begin(self, source, name="a", **options):
        """A job, and the outcome of following its source."""
        job = Job(DownloadOptions(source=source, **options), added=0.0)
        job.when_identified().addCallback(lambda _: setattr(job, "known", True))
        job.known = False
        following = Deferred.fromCoroutine(self.acquisitions[name].acquire(job))
        following.addErrback(lambda failure: failure)
        return job, following

    def acquire(self, source, name="a", **options):
        job, following = self.begin(source, name, **options)
        return job, self.end(following)

    def end(self, following, within=600.0):
        self.fleet.until(lambda: following.called, within)
        result = following.result
        following.addErrback(lambda _: None)
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def publish(self, node, acquired):
        """What a node does with what it has acquired."""
        job = Job(DownloadOptions(), added=0.0)
        return self.fleet.done(node.keep(acquired.content, acquired.filename, job))

    def files(self, name="a"):
        return self.fleet.disks[name].published


@pytest.fixture
def world():
    world = World()
    yield world
    assert world.web.open_files == 0


@pytest.fixture
def node(world):
    return world.node("a")


DATA = bytes(range(256)) * 4000


# -- what the fleet knows


def test_a_name_of_the_fleet_is_found_or_refused_at_once(world, node):
    other = world.node("b")
    world.fleet.share(other, "an image", DATA)
    _, acquired = world.acquire("an image")
    assert acquired.filename == "an image"
    assert acquired.trusted
    assert acquired.content is None
    with pytest.raises(NotFound):
        world.acquire("nothing")


def test_an_infohash_is_asked_for_until_somebody_knows_it(world, node):
    job, following = world.begin(HEX.upper())
    assert job.known, "its infohash is all there is to know at first"
    assert job.infohash == TORRENT.infohash
    world.fleet.advance(300, step=1)
    assert not following.called
    world.fleet.done(world.fleet.tracker.publish(TORRENT.to_bytes(), "image"))
    acquired = world.end(following)
    assert acquired.torrent == TORRENT
    assert acquired.trackers == ()


def test_a_name_that_is_an_infohash_does_not_stand_for_it(world, node):
    other = world.node("b")
    world.fleet.share(other, HEX, DATA)
    _, following = world.begin(HEX)
    world.fleet.advance(30, step=1)
    assert not following.called
    following.cancel()
    with pytest.raises(CancelledError):
        world.end(following)


def test_what_is_here_is_not_asked_for(world, node):
    entry = world.fleet.share(node, "image", DATA)
    world.fleet.stop_tracker()
    _, acquired = world.acquire(entry.torrent.infohash.hex())
    assert acquired.torrent == entry.torrent


# -- magnet links


def magnet(more=""):
    return f"magnet:?xt=urn:btih:{base64.b32encode(TORRENT.infohash).decode()}{more}"


def test_a_magnet_link_brings_all_that_it_says(world, node):
    world.fleet.done(world.fleet.tracker.publish(TORRENT.to_bytes(), "image"))
    job, acquired = world.acquire(
        magnet(
            "&dn=its+name&tr=http://t.test/a&tr=udp://u.test:1&ws=http://w.test/&so=0"
            "&x.pe=10.0.0.1:1"
        )
    )
    assert job.magnet.name == "its name"
    assert acquired.torrent == TORRENT
    assert [(one.url, one.tier) for one in acquired.trackers] == [
        ("http://t.test/a", 0),
        ("udp://u.test:1", 1),
    ]
    assert {one.source for one in acquired.trackers} == {TrackerSource.MAGNET}
    assert acquired.web_seeds == ("http://w.test/",)
    assert acquired.selected == (0,)


def test_metainfo_is_read_from_an_exact_source_and_verified(world, node):
    world.web.pages["http://x.test/wrong.torrent"] = Page(torrent("other", 2).to_bytes())
    world.web.pages["http://x.test/broken.torrent"] = Page(b"not metainfo")
    world.web.pages["http://private.test/a.torrent"] = Page(TORRENT.to_bytes())
    sources = "&".join(f"xs={url}" for url in (*world.web.pages, "file:///etc/passwd"))
    job, following = world.begin(magnet(f"&{sources}"))
    world.fleet.advance(60, step=0.1)
    assert not following.called
    told = " ".join(line.text for line in job.log)
    for words in ("another torrent", "no torrent", "no public address", "no http"):
        assert words in told
    world.web.pages["http://x.test/wrong.torrent"] = Page(TORRENT.to_bytes())
    acquired = world.end(following)
    assert acquired.torrent == TORRENT
    assert not acquired.trusted


def test_an_exact_source_that_says_nothing_holds_nobody_up(world, node):
    world.web.latency = 20.0  # for each of several readings
    world.web.pages["http://slow.test/a"] = Page(TORRENT.to_bytes())
    job, following = world.begin(magnet("&xs=http://slow.test/a"))
    world.fleet.advance(50, step=0.1)
    assert "within 30 s" in " ".join(line.text for line in job.log)
    world.fleet.done(world.fleet.tracker.publish(TORRENT.to_bytes(), "image"))
    assert world.end(following).trusted


def test_few_exact_sources_are_asked(world, node):
    sources = "".join(f"&xs=http://x.test/{number}" for number in range(100))
    _, following = world.begin(magnet(sources))
    world.fleet.advance(1)
    assert len(world.web.asked) == 10
    following.cancel()
    with pytest.raises(CancelledError):
        world.end(following)


# -- files with metainfo


def test_a_file_is_read_below_the_allowed_roots_only(world, node, tmp_path):
    class Store(MemoryStore):
        async def allowed(self, path):
            if not path.startswith(str(tmp_path)):
                raise Denied(f"{path} is not below the roots")
            return Path(path)

    acquisition = world.acquisitions["a"]
    acquisition._store = Store()
    place = tmp_path / "a b.torrent"
    place.write_bytes(TORRENT.to_bytes())
    _, acquired = world.acquire(place.as_uri())
    assert acquired.torrent == TORRENT
    assert not acquired.trusted
    place.write_bytes(b"no metainfo")
    with pytest.raises(NotTorrent):
        world.acquire(place.as_uri())
    with pytest.raises(Denied):
        world.acquire("file:///etc/passwd")
    with pytest.raises(NotTorrent):
        world.acquire(tmp_path.as_uri())
    with pytest.raises(Unavailable):
        world.acquire((tmp_path / "nothing").as_uri())


@pytest.mark.parametrize(
    ("url", "content_type"),
    [
        (TORRENT_URL, "application/octet-stream"),
        ("http://origin.test/download?id=7", "application/x-bittorrent"),
        ("http://origin.test/download?id=7", "text/plain"),
    ],
)
def test_the_url_of_metainfo_leads_to_its_torrent(world, node, url, content_type):
    world.web.pages[url] = Page(TORRENT.to_bytes(), content_type=content_type)
    _, acquired = world.acquire(url)
    assert acquired.torrent == TORRENT
    assert (acquired.filename, acquired.content, acquired.trusted) == ("image", None, False)
    assert world.fleet.tracker.claim(url, "b"), "others need not wait"


def test_what_should_be_metainfo_and_is_not_is_refused(world, node):
    world.web.pages[TORRENT_URL] = Page(b"<html>no</html>", content_type="text/html")
    with pytest.raises(NotTorrent, match="no torrent"):
        world.acquire(TORRENT_URL)
    world.web.pages[TORRENT_URL] = Page(b"d" + bytes(40_000_000))
    with pytest.raises(NotTorrent):
        world.acquire(TORRENT_URL)


@pytest.mark.parametrize("source", ["", "ftp://a.test/", "magnet:?dn=a", "http://"])
def test_what_is_no_source_is_refused(world, node, source):
    with pytest.raises(Invalid):
        world.acquire(source)


# -- plain files


def test_a_plain_file_is_read_and_becomes_a_torrent(world, node):
    world.web.pages[URL] = Page(DATA)
    job, acquired = world.acquire(URL, destination="sub/name.iso")
    assert acquired.filename == URL
    assert acquired.torrent.name == "image.iso"
    assert acquired.torrent.web_seeds == (URL,)
    assert acquired.content.torrent == acquired.torrent
    assert world.files()[acquired.content.path] == DATA
    assert acquired.content.path.name == "name.iso"
    assert (job.received, job.total) == (len(DATA), len(DATA))
    assert job.known
    assert world.web.asked == [(URL, 0)]


@pytest.mark.parametrize("data", [b"", b"d", b"d1:not metainfo", b"d8:announce" + bytes(500_000)])
def test_any_bytes_can_be_a_plain_file(world, node, data):
    world.web.pages[URL] = Page(data, length_told=False)
    _, acquired = world.acquire(URL)
    assert world.files()[acquired.content.path] == data


def test_what_is_not_there_is_told_and_can_be_claimed_by_others(world, node):
    with pytest.raises(NotFound, match="404"):
        world.acquire(URL)
    assert world.fleet.tracker.claim(URL, "b")


def test_one_reads_it_and_the_others_join_its_swarm(world, node):
    others = [world.node("b"), world.node("c")]
    world.web.pages[URL] = Page(DATA * 20)
    _, first = world.begin(URL)
    world.fleet.advance(0.01)
    waiting = [world.begin(URL, other.node_id) for other in others]
    world.fleet.until(lambda: all(job.known for job, _ in waiting))
    acquired = world.end(first)
    world.publish(node, acquired)
    for _, following in waiting:
        found = world.end(following)
        assert found.torrent.infohash == acquired.torrent.infohash
        assert (found.filename, found.content, found.trusted) == (URL, None, True)
        assert found.torrent.web_seeds == (URL,)
    assert [url for url, _ in world.web.asked] == [URL]


def test_another_takes_over_when_the_reader_goes(world, node):
    world.node("b")
    world.web.pages[URL] = Page(DATA * 20)
    _, first = world.begin(URL)
    world.fleet.advance(0.01)
    _, second = world.begin(URL, "b")
    world.fleet.advance(0.05)
    assert [url for url, _ in world.web.asked] == [URL]
    first.cancel()
    with pytest.raises(CancelledError):
        world.end(first)
    acquired = world.end(second)
    assert world.files("b")[acquired.content.path] == DATA * 20


def test_a_claim_lasts_as_long_as_the_reading(world, node):
    world.web.pages[URL] = Page(DATA * 20)
    world.web.latency = 1.0
    _, following = world.begin(URL)
    for _ in range(60):
        world.fleet.advance(1, step=0.5)
        assert not world.fleet.tracker.claim(URL, "b")
    world.end(following)


def test_without_trackers_every_node_reads_by_itself(world, node):
    world.fleet.stop_tracker()
    world.web.pages[URL] = Page(DATA)
    _, acquired = world.acquire(URL)
    assert world.files()[acquired.content.path] == DATA


def test_what_breaks_off_is_gone_on_with(world, node):
    world.web.pages[URL] = Page(DATA, breaks=[250_000, -1, 400_000])
    job, acquired = world.acquire(URL)
    assert world.files()[acquired.content.path] == DATA
    assert world.web.asked == [(URL, 0), (URL, 250_000), (URL, 250_000), (URL, 650_000)]
    assert len(job.log) == 3


@pytest.mark.parametrize(
    "changes", [{"ranges": False}, {"validator": ""}, {"length_told": False}], ids=str
)
def test_servers_that_cannot_go_on_are_read_anew(world, node, changes):
    world.web.pages[URL] = dataclasses.replace(Page(DATA, breaks=[250_000]), **changes)
    _, acquired = world.acquire(URL)
    assert world.files()[acquired.content.path] == DATA


def test_a_file_that_changes_meanwhile_is_read_anew(world, node):
    world.web.pages[URL] = Page(DATA, breaks=[250_000])
    _, following = world.begin(URL)
    world.fleet.until(lambda: not world.web.pages[URL].breaks)
    world.web.pages[URL] = Page(DATA[::-1] + b"more", validator='"2"')
    acquired = world.end(following)
    assert world.files()[acquired.content.path] == DATA[::-1] + b"more"


def test_a_server_that_gives_nothing_any_more_is_given_up(world, node):
    world.web.pages[URL] = Page(DATA, breaks=[250_000, *[0] * 100])
    _, following = world.begin(URL)
    with pytest.raises(Unavailable, match="broke off"):
        world.end(following)
    assert len(world.web.asked) == 8
    world.web.pages[URL].breaks.clear()
    _, acquired = world.acquire(URL)
    assert world.web.asked[8:] == [(URL, 0), (URL, 250_000)]
    assert world.files()[acquired.content.path] == DATA


def test_what_was_read_is_kept_over_a_pause_and_a_restart(world, node):
    world.web.pages[URL] = Page(DATA * 3)
    job, following = world.begin(URL)
    world.fleet.until(lambda: job.received > 500_000)
    following.cancel()
    with pytest.raises(CancelledError):
        world.end(following)
    world.acquisitions["a"]._store = MemoryStore(world.fleet.disks["a"])
    _, acquired = world.acquire(URL)
    assert world.web.asked == [(URL, 0), (URL, 0), (URL, job.received)]
    assert world.files()[acquired.content.path] == DATA * 3
    world.fleet.done(world.acquisitions["a"].discard(job))
    assert world.fleet.disks["a"].incoming == {}
    assert acquired.content.path in world.files()


def test_a_destination_that_is_taken_is_refused_before_anything_is_read(world, node):
    world.web.pages[URL] = Page(DATA)
    world.acquire(URL)
    with pytest.raises(Conflict, match="already exists"):
        world.acquire(URL)
    world.acquire(URL, replace=True)


def test_a_password_is_used_and_told_nobody(world, node):
    world.web.pages[URL] = Page(DATA, credentials="us:er")
    _, acquired = world.acquire(URL.replace("//", "//us:er@"))
    assert acquired.filename == URL
    assert acquired.torrent.web_seeds == ()
    with pytest.raises(Denied) as refused:
        world.acquire(URL.replace("//", "//other:secret@"), destination="x")
    assert "secret" not in refused.value.reason


def test_a_limit_is_kept(world, node):
    world.web.pages[URL] = Page(DATA)
    began = world.fleet.clock.seconds()
    world.acquire(URL, download_limit=100_000)
    assert world.fleet.clock.seconds() - began == pytest.approx(len(DATA) / 100_000, rel=0.1)
    node.limit(download=200_000)
    began = world.fleet.clock.seconds()
    world.acquire(URL, replace=True, destination="again")
    assert world.fleet.clock.seconds() - began == pytest.approx(len(DATA) / 200_000, rel=0.1)


# -- only looking


def inspect(world, source):
    return world.end(Deferred.fromCoroutine(world.acquisitions["a"].inspect(source)))


def test_a_source_can_be_looked_at(world, node):
    world.web.pages[TORRENT_URL] = Page(TORRENT.to_bytes())
    world.web.pages[URL] = Page(DATA)
    assert inspect(world, TORRENT_URL) == TORRENT
    with pytest.raises(NotTorrent):
        inspect(world, URL)
    with pytest.raises(Unavailable, match="30 s"):
        inspect(world, magnet())
    with pytest.raises(NotFound):
        inspect(world, "nothing")
    world.fleet.done(world.fleet.tracker.publish(TORRENT.to_bytes(), "image"))
    assert inspect(world, magnet()) == inspect(world, HEX) == inspect(world, "image") == TORRENT
    assert world.files() == {}
