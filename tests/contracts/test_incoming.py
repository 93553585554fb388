"""The contract of `Incoming`, run against files on disk and their twin in memory."""

import random
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from p2pd.errors import Conflict, Invalid, Unavailable
from p2pd.metainfo import create
from p2pd.store.files import FileStore
from p2pd.store.memory import MemoryStore

DATA = random.Random(5).randbytes(700_000)
WHOLE = len(DATA)
HALF = 300_000
KEY = "ab" * 20


class OnDisk:
    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "downloads"
        self.again()

    def again(self):
        self.store = FileStore(self.root, deferToThread)

    def put(self, name, data):
        self.root.mkdir(exist_ok=True)
        (self.root / name).write_bytes(data)

    def published(self, path):
        return path.read_bytes() if path.exists() else None

    def left(self):
        return [path.name for path in self.root.glob(".p2pd-*")]


class InMemory:
    def __init__(self) -> None:
        self.root = Path("/memory")
        self.store = MemoryStore()

    def again(self):
        self.store = MemoryStore(self.store.disk)

    def put(self, name, data):
        self.store.disk.published[self.root / name] = data

    def published(self, path):
        return self.store.disk.published.get(path)

    def left(self):
        return list(self.store.disk.incoming)


@pytest.fixture(params=["files", "memory"])
def place(request, tmp_path):
    return OnDisk(tmp_path) if request.param == "files" else InMemory()


def receive(place, destination="", **options):
    return place.store.receive("image", destination, KEY, **options)


def described(data=DATA):
    stream = create.describe_stream("image", len(data))
    stream.feed(data)
    return stream.finish()


async def begun(place, data=DATA, validator='"1"', length=WHOLE):
    """What an earlier run left."""
    incoming = receive(place)
    assert await incoming.begin(validator, length) == 0
    await incoming.write(data)
    await incoming.close()
    place.again()


@pytest.mark.parametrize("length", [WHOLE, None])
async def test_a_file_becomes_content(place, length):
    incoming = receive(place, "sub/")
    assert await incoming.begin('"1"', length) == 0
    await incoming.write(DATA[:HALF])
    await incoming.write(DATA[HALF:])
    content = await incoming.publish()
    assert content.torrent == described()
    assert content.path == place.root / "sub" / "image"
    assert place.published(content.path) == DATA
    assert await content.read(0) == DATA[: content.torrent.piece_length]
    assert content.stamps()
    await incoming.discard()
    assert place.left() == []
    assert place.published(content.path) == DATA


async def test_an_empty_file_becomes_content(place):
    incoming = receive(place)
    assert await incoming.begin("", 0) == 0
    content = await incoming.publish()
    assert place.published(content.path) == b""
    await incoming.discard()


@pytest.mark.parametrize("length", [WHOLE, None])
async def test_what_came_before_a_restart_need_not_come_again(place, length):
    await begun(place, DATA[:HALF], length=length)
    incoming = receive(place)
    assert await incoming.begin('"1"', length) == HALF
    await incoming.write(DATA[HALF:])
    assert (await incoming.publish()).torrent == described()
    await incoming.discard()


@pytest.mark.parametrize(
    ("validator", "length", "keep"),
    [('"2"', WHOLE, True), ('"1"', WHOLE + 1, True), ('"1"', WHOLE, False)],
)
async def test_what_came_of_another_version_is_dropped(place, validator, length, keep):
    await begun(place, DATA[:HALF])
    incoming = receive(place)
    assert await incoming.begin(validator, length, keep=keep) == 0
    await incoming.discard()


async def test_without_a_validator_nothing_is_believed(place):
    await begun(place, DATA[:HALF], validator="")
    incoming = receive(place)
    assert await incoming.begin("", WHOLE) == 0
    await incoming.discard()


async def test_it_can_begin_anew(place):
    incoming = receive(place)
    await incoming.begin('"1"', WHOLE)
    await incoming.write(DATA[:HALF])
    assert await incoming.begin('"2"', WHOLE, keep=False) == 0
    await incoming.write(DATA)
    assert (await incoming.publish()).torrent == described()
    await incoming.discard()


async def test_more_than_was_announced_is_refused(place):
    incoming = receive(place)
    await incoming.begin('"1"', HALF)
    with pytest.raises(Conflict):
        await incoming.write(DATA)
    await incoming.discard()


async def test_less_than_was_announced_is_not_published(place):
    incoming = receive(place)
    await incoming.begin('"1"', WHOLE)
    await incoming.write(DATA[:HALF])
    with pytest.raises(Conflict):
        await incoming.publish()
    await incoming.discard()
    assert place.published(place.root / "image") is None


async def test_nothing_that_is_there_is_overwritten_unasked(place):
    place.put("image", b"precious")
    with pytest.raises(Conflict, match="already exists"):
        await receive(place).begin('"1"', WHOLE)
    incoming = receive(place, replace=True)
    await incoming.begin('"1"', WHOLE)
    await incoming.write(DATA)
    await incoming.publish()
    assert place.published(place.root / "image") == DATA
    await incoming.discard()


async def test_what_cannot_be_published_is_kept(place):
    incoming = receive(place)
    await incoming.begin('"1"', WHOLE)
    await incoming.write(DATA)
    place.put("image", b"precious")
    with pytest.raises(Conflict, match="already exists"):
        await incoming.publish()
    await incoming.close()
    assert place.published(place.root / "image") == b"precious"
    place.again()
    incoming = receive(place, replace=True)
    assert await incoming.begin('"1"', WHOLE) == WHOLE
    assert (await incoming.publish()).torrent == described()
    await incoming.discard()


async def test_what_cannot_fit_is_refused(place):
    with pytest.raises(Unavailable, match="free"):
        await receive(place).begin("", 1 << 80)
    await receive(place).discard()


def test_a_destination_outside_is_refused(place):
    with pytest.raises(Invalid):
        receive(place, "/etc/")


# -- what only a disk can do


async def test_a_process_killed_after_publishing_finds_what_it_did(tmp_path):
    place = OnDisk(tmp_path)
    incoming = receive(place)
    await incoming.begin('"1"', WHOLE)
    await incoming.write(DATA)
    first = await incoming.publish()
    await incoming.close()
    place.again()
    incoming = receive(place)
    assert await incoming.begin('"1"', WHOLE) == WHOLE
    again = await incoming.publish()
    assert (again.torrent, again.path) == (first.torrent, first.path)
    await again.inspect()
    await incoming.discard()
    assert place.published(again.path) == DATA


async def test_what_is_cancelled_is_done_before_the_file_is_closed(tmp_path):
    place = OnDisk(tmp_path)
    incoming = receive(place)
    await incoming.begin('"1"', WHOLE)
    await deferLater(reactor, 0)
    writing = Deferred.fromCoroutine(incoming.write(DATA[:HALF]))
    writing.cancel()
    with pytest.raises(CancelledError):
        await writing
    await incoming.close()
    assert await receive(place).begin('"1"', WHOLE) == HALF
    await receive(place).discard()


async def test_only_what_is_safe_on_disk_is_believed(tmp_path):
    place = OnDisk(tmp_path)
    await begun(place, DATA[:HALF])
    [partial] = place.root.glob(".p2pd-*.incoming")
    partial.write_bytes(DATA[:HALF] + b"\0" * 1000)  # as after a power loss
    incoming = receive(place)
    assert await incoming.begin('"1"', WHOLE) == HALF
    await incoming.write(DATA[HALF:])
    assert (await incoming.publish()).torrent == described()
    await incoming.discard()


async def test_a_note_that_cannot_be_read_is_none(tmp_path):
    place = OnDisk(tmp_path)
    await begun(place, DATA[:HALF])
    [note] = place.root.glob(".p2pd-*.note")
    for text in ("", "[]", '{"safe": 1}'):
        note.write_text(text)
        incoming = receive(place)
        assert await incoming.begin('"1"', WHOLE) == 0
        await incoming.close()
    await incoming.discard()
