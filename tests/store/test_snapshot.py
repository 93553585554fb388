"""The snapshot of the swarms: as a whole or not at all, and as far as it is undamaged."""

from contextlib import aclosing

import pytest
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher

from p2pd.background import at_once
from p2pd.errors import Unavailable
from p2pd.store.snapshot import MemorySnapshot, SnapshotFile

PORTIONS = [b"one", b"x" * 3_000_000, b"three"]


async def read(file):
    async with aclosing(file.read()) as portions:
        return [portion async for portion in portions]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "swarms"


@pytest.fixture
def warnings():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [event["log_format"] for event in events if event["log_level"].name == "warn"]
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture(params=["file", "memory"])
def swarms(request, path):
    return SnapshotFile(path, deferToThread) if request.param == "file" else MemorySnapshot()


async def test_there_is_none_at_first(swarms):
    assert await read(swarms) == []


async def test_gives_back_what_was_written(swarms):
    await swarms.write(iter([b"old"] * 9))
    await swarms.write(iter(PORTIONS))
    assert await read(swarms) == PORTIONS


async def test_what_cannot_be_written_leaves_the_former(path):
    file = SnapshotFile(path, at_once)
    await file.write(iter(PORTIONS))

    def portions():
        yield b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable, match="cannot write the snapshot: No space left"):
        await file.write(portions())
    assert await read(file) == PORTIONS
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def test_refuses_a_directory_that_is_not_there(tmp_path):
    file = SnapshotFile(tmp_path / "absent" / "swarms", at_once)
    with pytest.raises(Unavailable, match="absent"):
        await file.write(iter(PORTIONS))


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda data: data[:-1], 2),  # cut off
        (lambda data: data[:-6], 2),
        (lambda data: data + b"\0", 3),
        (lambda data: data[:20] + b"!" + data[21:], 0),  # in the checksum of the first
        (lambda data: data[:2_000_000] + b"!" + data[2_000_001:], 1),  # within the second
        (
            lambda data: data[:25] + b"\xff\xff\xff\xff" + data[29:],
            1,
        ),  # a length beyond all bounds
        (lambda data: b"q" + data[1:], 0),  # something else
        (lambda data: b"", 0),
    ],
)
async def test_reads_as_far_as_it_is_undamaged(path, damage, left, warnings):
    file = SnapshotFile(path, at_once)
    await file.write(iter(PORTIONS))
    path.write_bytes(damage(path.read_bytes()))
    assert await read(file) == PORTIONS[:left]
    assert any("damaged" in text for text in warnings()) == bool(path.stat().st_size)


async def test_what_cannot_be_read_is_no_snapshot(path, warnings):
    path.mkdir()
    assert await read(SnapshotFile(path, at_once)) == []
    assert warnings()


async def test_a_disk_that_fails_is_read_as_far_as_it_can_be(path, warnings):
    calls = []

    async def failing(call, *args):
        calls.append(call)
        if len(calls) == 4:
            raise OSError(5, "Input/output error")
        return call(*args)

    await SnapshotFile(path, at_once).write(iter(PORTIONS))
    assert await read(SnapshotFile(path, failing)) == PORTIONS[:2]
    assert len(warnings()) == 1
