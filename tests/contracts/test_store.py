"""The contract of `Store` and `Content`, run against files on disk and their twin in memory."""

import os
import random
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from p2pd.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from p2pd.metainfo import create
from p2pd.store.files import FileStore
from p2pd.store.memory import Disk, MemoryStore

PIECE = 256 * 1024
DATA = random.Random(5).randbytes(3 * PIECE + 1000)


class OnDisk:
    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "downloads"
        self.second = tmp_path / "second"
        self.elsewhere = tmp_path
        self.again()

    def again(self):
        self.store = FileStore(self.root, deferToThread, [self.second])
        return self.store

    def put(self, name: str, data: bytes) -> Path:
        path = self.elsewhere / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def published(self, path: Path) -> bytes | None:
        return path.read_bytes() if path.exists() else None

    def files(self) -> set[str]:
        """What is below the roots, hidden files too."""
        found = (each for root in (self.root, self.second) for each in root.rglob("*"))
        return {str(each.relative_to(self.elsewhere)) for each in found if each.is_file()}

    def lose(self, content) -> None:
        for partial in self.root.glob(".p2pd-*.part"):
            partial.unlink()


class InMemory:
    def __init__(self) -> None:
        self.elsewhere = Path("/")
        self.root = Path("/downloads")
        self.second = Path("/second")
        self.disk = Disk()
        self.again()

    def again(self):
        self.store = MemoryStore(self.disk, [self.second], root=self.root)
        return self.store

    def put(self, name: str, data: bytes) -> Path:
        path = self.elsewhere / name
        self.store.disk.published[path] = data
        return path

    def published(self, path: Path) -> bytes | None:
        return self.store.disk.published.get(path)

    def files(self) -> set[str]:
        """What is below the roots, and what is partial."""
        below = [*self.disk.below(self.root), *self.disk.below(self.second)]
        return {str(each)[1:] for each in below} | set(map(str, self.disk.partial))

    def lose(self, content) -> None:
        self.store.disk.partial.clear()


@pytest.fixture(params=["files", "memory"])
def place(request, tmp_path):
    return OnDisk(tmp_path) if request.param == "files" else InMemory()


async def torrent_of(place, data=DATA, name="image"):
    torrent, _ = await place.store.describe(place.put(f"{name}.source", data), name)
    return torrent


def pieces_of(torrent, data=DATA):
    return [data[i * PIECE : (i + 1) * PIECE] for i in range(torrent.piece_count)]


async def fill(content, data=DATA):
    await content.allocate()
    for index, piece in enumerate(pieces_of(content.torrent, data)):
        assert await content.write([index], piece)


async def test_what_is_described_can_be_read(place):
    path = place.put("image", DATA)
    torrent, content = await place.store.describe(path, None)
    assert torrent.name == "image"
    assert content.path == path
    assert [await content.read(i) for i in range(torrent.piece_count)] == pieces_of(torrent)
    assert await content.read(1, 10, 20) == DATA[PIECE + 10 : PIECE + 30]


async def test_describing_what_is_not_there_is_refused(place):
    with pytest.raises(NotFound):
        await place.store.describe(Path("/nowhere/at/all"), None)


async def test_verified_pieces_are_kept_and_published_under_the_final_name_only(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await fill(content)
    assert place.published(content.path) is None
    assert not await content.occupied()
    await content.publish()
    assert not await content.occupied()
    assert await place.store.begin(torrent, "").occupied()
    assert place.published(content.path) == DATA
    assert await content.read(2) == pieces_of(torrent)[2]


async def test_a_piece_that_fails_its_digest_is_not_kept(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await content.allocate()
    assert not await content.write([0], bytes(PIECE))
    assert not await content.write([0], DATA[: PIECE - 1])
    found = []
    await content.check(range(torrent.piece_count), found.append)
    assert found == []


async def test_partial_content_is_found_again_by_its_digests(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await content.allocate()
    for index in (0, 3):
        await content.write([index], pieces_of(torrent)[index])
    resumed = place.again().resume(torrent, str(content.path), content.stamps())
    await resumed.allocate()
    found = []
    await resumed.check(range(torrent.piece_count), found.append)
    assert found == [0, 3]


async def test_equal_pieces_are_written_to_all_their_places(place):
    data = DATA[:PIECE] * 3
    torrent = await torrent_of(place, data)
    content = place.store.begin(torrent, "")
    await content.allocate()
    assert await content.write([0, 1, 2], DATA[:PIECE])
    await content.publish()
    assert place.published(content.path) == data


async def test_publishing_does_not_overwrite_unless_asked(place):
    old = await torrent_of(place, DATA[:PIECE], "old")
    first = place.store.begin(old, "same")
    await fill(first, DATA[:PIECE])
    await first.publish()
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "same")
    await fill(content)
    with pytest.raises(Conflict, match="already exists"):
        await content.publish()
    assert place.published(content.path) == DATA[:PIECE]
    await content.publish(replace=True)
    assert place.published(content.path) == DATA


async def test_what_disappeared_meanwhile_is_neither_written_nor_published(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await content.allocate()
    place.lose(content)
    with pytest.raises(Unavailable):
        await content.write([0], pieces_of(torrent)[0])
    content = place.store.begin(torrent, "")
    assert not await content.allocate()
    await fill(content)
    place.lose(content)
    with pytest.raises(Unavailable, match="disappeared"):
        await content.publish()
    assert place.published(content.path) is None


async def test_a_store_that_rests_goes_on_when_it_is_asked_to(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await content.allocate()
    for index, piece in enumerate(pieces_of(torrent)):
        place.store.rest()
        assert await content.write([index], piece)
        assert await content.read(index) == piece
    await content.publish()
    place.store.rest()
    assert await content.read(0) == DATA[:PIECE]


async def test_content_is_read_from_its_new_place_once_published(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await fill(content)
    assert await content.read(0) == DATA[:PIECE]
    await content.publish()
    place.put("image.source", b"")
    assert await content.read(0) == DATA[:PIECE]
    assert content.stamps() == content.stamps() != b""


async def test_published_content_comes_back_by_its_stamps(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await fill(content)
    await content.publish()
    back = place.again().resume(torrent, str(content.path), content.stamps())
    await back.inspect()
    assert await back.read(0) == DATA[:PIECE]


async def test_a_change_after_publishing_is_noticed(place):
    path = place.put("image", DATA)
    torrent, content = await place.store.describe(path, None)
    place.put("image", DATA[:-1] + b"x")
    with pytest.raises(Conflict, match="changed on disk"):
        await content.inspect()
    with pytest.raises(Conflict, match="changed on disk"):
        content.locate(0, 0, 10)
    with pytest.raises(Conflict, match="changed on disk"):
        await content.read(0)
    resumed = place.store.resume(torrent, str(path), content.stamps())
    with pytest.raises(Conflict):
        await resumed.inspect()


async def test_adopted_content_is_unverified_until_checked(place):
    torrent = await torrent_of(place)
    path = place.put("older", bytes(PIECE) + DATA[PIECE:])
    content = await place.store.adopt(torrent, path)
    found = []
    await content.check(range(torrent.piece_count), found.append)
    assert found == [1, 2, 3]


async def test_adopting_what_is_not_there_conflicts(place):
    torrent = await torrent_of(place)
    with pytest.raises(Conflict, match="gone"):
        await place.store.adopt(torrent, place.root / "nothing")


async def test_a_located_range_is_what_it_says(place):
    _, content = await place.store.describe(place.put("image", DATA), None)
    got = b""
    for extent in content.locate(3, 100, 500):
        got += os.pread(extent.fileno, extent.length, extent.offset)
    assert got == DATA[3 * PIECE + 100 : 3 * PIECE + 600]


async def test_discarded_content_leaves_nothing(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await fill(content)
    await content.discard()
    found = []
    await place.store.begin(torrent, "").check(range(torrent.piece_count), found.append)
    assert found == []


@pytest.mark.parametrize("destination", ["../up", "/etc/passwd", "a/../../b", "a\0b", "a/./b"])
async def test_destinations_outside_are_refused(place, destination):
    torrent = await torrent_of(place)
    with pytest.raises(Invalid):
        place.store.begin(torrent, destination)


async def test_destinations_inside_are_relative_or_absolute(place):
    torrent = await torrent_of(place)
    assert place.store.begin(torrent, "").path == place.root / "image"
    assert place.store.begin(torrent, "a/b").path == place.root / "a/b"
    assert place.store.begin(torrent, str(place.root / "a/b")).path == place.root / "a/b"


async def test_there_may_be_several_roots(place):
    torrent = await torrent_of(place)
    inside = str(place.second / "a")
    assert place.store.place(torrent, inside) == place.second / "a"
    assert place.store.place(torrent, f"{inside}/") == place.second / "a/image"
    assert place.store.place(torrent, str(place.second)) == place.second / "image"
    with pytest.raises(Invalid, match="outside the download directory"):
        place.store.place(torrent, f"{place.second}ary/a")


async def test_what_may_be_used_is_below_the_roots(place):
    place.put("downloads/sub/a", b"a")
    place.put("second/b", b"b")
    secret = place.put("secret", b"s")
    assert await place.store.allowed(str(place.root / "sub/a")) == place.root / "sub/a"
    assert await place.store.allowed(str(place.root / "sub")) == place.root / "sub"
    assert await place.store.allowed(f"{place.root}/../second/b") == place.second / "b"
    with pytest.raises(Denied, match="outside"):
        await place.store.allowed(str(secret))
    with pytest.raises(Denied, match="outside"):
        await place.store.allowed(f"{place.root}/sub/../../secret")
    with pytest.raises(Denied, match="outside"):
        await place.store.allowed(str(place.elsewhere / "not/there"))
    with pytest.raises(NotFound, match="nothing at"):
        await place.store.allowed(str(place.root / "sub/c"))


@pytest.mark.parametrize("path", ["", "sub/a", "/a\0b", "/" + "a" * 5000, "/\ud800"])
async def test_what_is_no_absolute_path_may_not_be_used(place, path):
    with pytest.raises((Invalid, Denied)):
        await place.store.allowed(path)


async def test_room_is_what_the_disk_has(place):
    capacity, free, available = await place.store.space()
    assert capacity >= free >= available > 0
    place.put("second/b", b"b")
    assert await place.store.space(str(place.second / "b"))
    with pytest.raises(Denied):
        await place.store.space("/nowhere")


async def test_some_room_stays_free_and_only_wanted_files_need_any(place):
    torrent = tree_torrent()
    place.store.least_free = (await place.store.space()).capacity
    content = place.store.begin(torrent, "")
    with pytest.raises(Unavailable, match="bytes free"):
        await content.allocate()
    with pytest.raises(Unavailable, match="bytes free"):
        await content.allocate({SMALL})
    await content.allocate({EMPTY})
    place.store.least_free = 0
    await content.allocate()


# -- trees

TREE = {
    ("a", "large"): DATA,
    ("a", "small"): b"small",
    ("b", "deep", "middle"): random.Random(6).randbytes(PIECE - 5000),
    ("empty",): b"",
    ("last",): random.Random(7).randbytes(PIECE - 5000),
}
A, SMALL, MIDDLE, EMPTY, LAST = range(5)
STREAM = b"".join(TREE.values())


def tree_torrent():
    torrent = create.describe_bytes("tree", TREE)
    assert torrent.size == torrent.length, "no padding in this one"
    return torrent


def piece_of(torrent, index):
    start = index * torrent.piece_length
    return STREAM[start : start + torrent.piece_size(index)]


async def fetch(content, *wanted):
    """Write all pieces of some files."""
    torrent = content.torrent
    for index in range(torrent.piece_count):
        files = {span.file.path for span in torrent.spans(index)}
        if not wanted or files & {torrent.files[number].path for number in wanted}:
            assert await content.write([index], piece_of(torrent, index))


async def begun(place, *wanted, destination=""):
    content = place.store.begin(tree_torrent(), destination)
    await content.allocate(wanted or None)
    await fetch(content, *wanted)
    return content


def tree_at(place, path):
    return {names: place.published(path.joinpath(*names)) for names in TREE}


def only(*numbers):
    return {
        names: data if number in numbers else None
        for number, (names, data) in enumerate(TREE.items())
    }


async def held(content):
    found = []
    await content.check(range(content.torrent.piece_count), found.append)
    return found


async def test_wanted_files_get_their_names_and_the_others_stay_partial(place):
    content = await begun(place, SMALL, EMPTY)
    assert not content.covers({SMALL})
    await content.publish(wanted={SMALL, EMPTY})
    assert content.covers({SMALL, EMPTY})
    assert not content.covers()
    assert not content.covers({A, SMALL})
    assert tree_at(place, content.path) == only(SMALL, EMPTY)
    # The piece that the small file shares with its neighbours is whole.
    assert await held(content) == [3]
    assert await content.read(3) == piece_of(content.torrent, 3)


async def test_a_tree_published_in_parts_is_in_the_end_as_one_published_at_once(place):
    content = await begun(place, SMALL)
    await content.publish(wanted={SMALL})
    stamps = content.stamps()
    await fetch(content, A)
    await content.publish(wanted={A, SMALL})
    assert tree_at(place, content.path) == only(A, SMALL)
    assert content.stamps() != stamps
    await fetch(content)
    await content.publish()
    assert content.covers()
    assert tree_at(place, content.path) == TREE
    names = {f"downloads/tree/{'/'.join(each)}" for each in TREE}
    assert place.files() == names
    assert await held(content) == list(range(content.torrent.piece_count))
    back = place.again().resume(content.torrent, str(content.path), content.stamps())
    await back.inspect()
    assert back.covers()


async def test_content_published_in_part_goes_on_after_a_restart(place):
    content = await begun(place, A, SMALL)
    await content.publish(wanted={A, SMALL})
    back = place.again().resume(content.torrent, str(content.path), content.stamps())
    assert back.covers({A, SMALL})
    assert not back.covers({A, LAST})
    assert not await back.occupied()
    await back.inspect()
    assert await back.allocate({MIDDLE, LAST})
    assert await held(back) == [0, 1, 2, 3]
    await fetch(back)
    await back.publish()
    assert tree_at(place, back.path) == TREE


async def test_publishing_nothing_more_changes_nothing(place):
    content = await begun(place, A)
    await content.publish(wanted=set())
    assert content.stamps() == b""
    assert not await place.store.begin(content.torrent, "").occupied()
    await content.publish(wanted={A})
    stamps = content.stamps()
    await content.publish(wanted={A})
    assert content.stamps() == stamps


async def test_a_wanted_file_whose_name_is_taken_is_not_published_unless_asked(place):
    content = await begun(place, A, SMALL)
    place.put("downloads/tree/a/small", b"another")
    place.put("downloads/tree/mine", b"mine")
    with pytest.raises(Conflict, match=r"a/small already exists"):
        await content.publish(wanted={A, SMALL})
    assert tree_at(place, content.path) == only() | {("a", "small"): b"another"}
    await content.publish(wanted={A, SMALL}, replace=True)
    assert tree_at(place, content.path) == only(A, SMALL)
    assert place.published(content.path / "mine") == b"mine"


async def test_the_rest_of_what_is_published_may_be_there_already(place):
    content = await begun(place, A)
    await content.publish(wanted={A})
    for names, data in list(TREE.items())[1:]:
        assert not await content.occupied()
        place.put(f"downloads/tree/{'/'.join(names)}", data)
    assert await content.occupied()
    await (await place.store.adopt(content.torrent, content.path)).inspect()


async def test_what_is_published_is_not_written_to(place):
    content = await begun(place, A, SMALL)
    await content.publish(wanted={A, SMALL})
    await fetch(content)
    await content.inspect()
    assert await held(content) == list(range(content.torrent.piece_count))


async def test_a_change_of_a_file_published_early_is_noticed(place):
    content = await begun(place, A)
    await content.publish(wanted={A})
    place.put("downloads/tree/a/large", DATA[:-1] + b"?")
    with pytest.raises(Conflict, match="a/large changed"):
        await content.inspect()
    with pytest.raises(Conflict, match="a/large changed"):
        content.locate(0, 0, 10)
    assert await held(content) == []


# -- moving and deleting


async def test_published_content_moves(place):
    content = await begun(place)
    await content.publish()
    old = content.path
    await content.move(place.second / "new/name")
    assert content.path == place.second / "new/name"
    assert tree_at(place, content.path) == TREE
    assert tree_at(place, old) == only()
    await content.inspect()
    assert await content.read(1) == piece_of(content.torrent, 1)
    assert place.files() == {f"second/new/name/{'/'.join(each)}" for each in TREE}
    back = place.again().resume(content.torrent, str(content.path), content.stamps())
    await back.inspect()


async def test_partial_content_moves_and_goes_on(place):
    content = await begun(place, SMALL)
    await content.move(place.second / "tree")
    assert content.stamps() == b""
    assert await held(content) == [3]
    await fetch(content)
    await content.publish()
    assert tree_at(place, place.second / "tree") == TREE


async def test_content_published_in_part_moves_and_goes_on(place):
    content = await begun(place, A, SMALL)
    await content.publish(wanted={A})
    await content.move(place.second / "tree")
    assert tree_at(place, content.path) == only(A)
    await content.inspect()
    assert await held(content) == [0, 1, 2, 3]
    await fetch(content)
    await content.publish()
    assert tree_at(place, content.path) == TREE
    assert place.files() == {f"second/tree/{'/'.join(each)}" for each in TREE}


async def test_a_file_is_renamed_where_it_is(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await fill(content)
    await content.move(place.root / "before")
    await content.publish()
    assert content.path == place.root / "before"
    await content.move(place.root / "after")
    await content.move(place.root / "after")
    assert place.published(place.root / "after") == DATA
    assert place.published(place.root / "before") is None
    assert await content.read(0) == DATA[:PIECE]


async def test_moving_does_not_overwrite_unless_asked(place):
    content = await begun(place)
    place.put("second/tree/old", b"old")
    with pytest.raises(Conflict, match="already exists"):
        await content.move(place.second / "tree")
    await content.publish()
    with pytest.raises(Conflict, match="already exists"):
        await content.move(place.second / "tree")
    assert tree_at(place, content.path) == TREE
    with pytest.raises(Conflict, match="old is not of tree"):
        await content.move(place.second / "tree", replace=True)
    assert place.published(place.second / "tree/old") == b"old"


async def test_moving_replaces_files_of_the_torrent(place):
    content = await begun(place)
    await content.publish()
    for path in TREE:
        place.put("/".join(("second/tree", *path)), b"old")
    await content.move(place.second / "tree", replace=True)
    assert tree_at(place, place.second / "tree") == TREE


async def test_nothing_moves_into_itself(place):
    content = await begun(place, destination="up/tree")
    await content.publish()
    for path in (content.path / "inside", content.path.parent):
        with pytest.raises(Invalid, match="inside the other"):
            await content.move(path, replace=True)
    assert tree_at(place, content.path) == TREE


async def test_content_that_changed_does_not_move(place):
    path = place.put("image", DATA)
    _, content = await place.store.describe(path, None)
    place.put("image", DATA[:-1] + b"x")
    with pytest.raises(Conflict, match="changed on disk"):
        await content.move(place.second / "image")
    assert place.published(path) == DATA[:-1] + b"x"
    assert content.path == path


async def test_what_others_put_into_a_tree_stays_where_it_is(place):
    content = await begun(place)
    await content.publish()
    old = content.path
    notes = place.put("downloads/tree/a/notes", b"mine")
    await content.move(place.second / "tree")
    assert place.published(notes) == b"mine"
    assert tree_at(place, old) == only()
    more = place.put("second/tree/b/more", b"mine too")
    await content.delete()
    assert place.published(more) == b"mine too"
    assert place.files() == {"downloads/tree/a/notes", "second/tree/b/more"}


async def test_shared_content_moves_below_a_root(place):
    path = place.put("shared/image", DATA)
    _, content = await place.store.describe(path, None)
    await content.move(place.second / "image")
    assert place.published(path) is None
    assert place.published(place.second / "image") == DATA


async def test_some_of_a_directory_is_described(place):
    for name in ("one/a", "one/b", "two", "three"):
        place.put(f"second/{name}", name.encode())
    torrent, content = await place.store.describe(place.second, "some", only={"one", "three"})
    paths = [file.path for file in torrent.files if not file.padding]
    assert paths == [("one", "a"), ("one", "b"), ("three",)]
    assert torrent.name == "some"
    assert await content.read(0) == b"one/aone/bthree"
    await content.move(place.root / "some")
    assert place.files() == {
        "second/two",
        "downloads/some/one/a",
        "downloads/some/one/b",
        "downloads/some/three",
    }


async def test_deleted_content_leaves_nothing(place):
    content = await begun(place, A, SMALL)
    await content.publish(wanted={A})
    await content.delete()
    assert place.files() == set()
    assert not content.covers({A})
    assert content.stamps() == b""
    await content.delete()


async def test_deleting_partial_content_leaves_what_is_at_the_destination(place):
    content = await begun(place)
    place.put("downloads/tree/a/large", b"mine")
    await content.delete()
    assert place.files() == {"downloads/tree/a/large"}
