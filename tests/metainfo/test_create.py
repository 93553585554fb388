import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from p2pd.metainfo import create
from p2pd.metainfo import torrent as torrent_module
from p2pd.metainfo.create import describe, describe_stream
from p2pd.metainfo.pieces import MIN_PIECE_LENGTH, DigestKind
from p2pd.metainfo.torrent import Torrent

KIB = 1024


def write(root, tree):
    for path, content in tree.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return root


def pieces(torrent, root):
    for index in range(torrent.piece_count):
        parts = []
        for span in torrent.spans(index):
            if span.file.padding:
                parts.append(bytes(span.length))
            else:
                content = root.joinpath(*span.file.path).read_bytes()
                parts.append(content[span.offset : span.offset + span.length])
        yield b"".join(parts)


def test_a_file_is_described_as_its_stream_is(tmp_path):
    content = random.Random(3).randbytes(700 * KIB)
    write(tmp_path, {"f.bin": content})
    torrent = describe(tmp_path / "f.bin")
    assert torrent.kind is DigestKind.BLAKE3
    assert (torrent.name, torrent.piece_length) == ("f.bin", MIN_PIECE_LENGTH)
    assert torrent.single_file
    assert all(torrent.verify(*numbered) for numbered in enumerate(pieces(torrent, tmp_path)))
    stream = describe_stream("f.bin", len(content))
    stream.feed(content[:5])
    stream.feed(content[5:])
    assert stream.finish() == torrent
    assert Torrent.from_bytes(torrent.to_bytes()) == torrent


def test_a_directory_is_laid_out_by_the_rules(tmp_path):
    tree = {"b/two": b"2", "a": b"1" * 10, "b.c": b"3" * 1025, "b/big": b"4" * 1024, "z": b""}
    torrent = describe(write(tmp_path / "top", tree), piece_length=KIB)
    assert [("/".join(file.path), file.length, file.offset) for file in torrent.files] == [
        ("a", 10, 0),
        (".pad/1014", 1014, 10),
        ("b.c", 1025, 1024),
        (".pad/1023", 1023, 2049),
        ("b/big", 1024, 3072),
        ("b/two", 1, 4096),
        ("z", 0, 4097),
    ]
    assert [file.padding for file in torrent.files] == [False, True, False, True] + 3 * [False]
    assert torrent.name == "top"
    assert not torrent.single_file
    everything = enumerate(pieces(torrent, tmp_path / "top"))
    assert all(torrent.verify(*numbered) for numbered in everything)


def test_many_small_files_share_pieces(tmp_path):
    write(tmp_path, {f"{number:03}": bytes(10) for number in range(500)})
    assert describe(tmp_path, piece_length=KIB).piece_count == 5


def test_equal_content_has_an_equal_infohash(tmp_path):
    tree = {"é": b"1", "a/b": b"2", "Z": b"3" * 5000}
    write(tmp_path / "one", tree)
    write(tmp_path / "two", dict(reversed(tree.items())))
    os.utime(tmp_path / "two/Z", (0, 0))
    first = describe(tmp_path / "one", name="n").to_bytes()
    assert describe(tmp_path / "two", name="n").to_bytes() == first
    (tmp_path / "two/Z").chmod(0o755)
    changed = describe(tmp_path / "two", name="n")
    assert changed.to_bytes() != first
    assert [file.executable for file in changed.files] == [True, False, False]


def test_an_executable_single_file_stays_executable(tmp_path):
    write(tmp_path, {"run": b"#!"})
    (tmp_path / "run").chmod(0o755)
    assert describe(tmp_path / "run").files[0].executable


def test_an_empty_file_can_be_described(tmp_path):
    write(tmp_path, {"void": b""})
    assert describe(tmp_path / "void").piece_count == 0


def test_progress_counts_the_bytes_read(tmp_path):
    write(tmp_path, {"a": b"1" * 10, "b": b"2" * 2000, "c": b"3"})
    seen = []
    describe(tmp_path, piece_length=KIB, progress=seen.append)
    assert seen == [10, 2010, 2011]


def test_the_status_of_each_file_is_told_in_the_torrents_order(tmp_path):
    write(tmp_path, {"b/two": b"2", "a": b"1" * 10, "b.c": b"3" * 1025, "z": b""})
    seen = []
    torrent = describe(tmp_path, piece_length=KIB, seen=seen.append)
    places = [tmp_path.joinpath(*file.path) for file in torrent.files if not file.padding]
    assert [status.st_ino for status in seen] == [place.stat().st_ino for place in places]


def test_what_progress_raises_ends_the_work(tmp_path):
    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe(write(tmp_path, {"a": b"1"}), progress=stop)


def test_a_link_within_the_directory_counts_as_its_file(tmp_path):
    write(tmp_path, {"d/real": b"content"})
    (tmp_path / "link").symlink_to("d/real")
    torrent = describe(tmp_path)
    assert [file.path for file in torrent.files] == [("d", "real"), ("link",)]
    assert [file.length for file in torrent.files] == [7, 7]


def test_a_link_may_itself_be_shared(tmp_path):
    write(tmp_path, {"v1.2": b"content", "dir/file": b"1"})
    (tmp_path / "latest").symlink_to("v1.2")
    (tmp_path / "linked").symlink_to("dir")
    assert describe(tmp_path / "latest").name == "latest"
    assert describe(tmp_path / "linked").files[0].path == ("file",)


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "directory", "nowhere", "link"])
def test_a_link_that_leads_elsewhere_is_refused_by_name(tmp_path, target):
    write(tmp_path, {"outside": b"1", "top/directory/file": b"2"})
    (tmp_path / "top/link").symlink_to(target)
    with pytest.raises(Invalid, match="top/link"):
        describe(tmp_path / "top")


def test_what_cannot_be_shared_is_refused(tmp_path):
    (tmp_path / "empty/below").mkdir(parents=True)
    with pytest.raises(Invalid, match="no files"):
        describe(tmp_path / "empty")
    os.mkfifo(tmp_path / "empty/pipe")
    with pytest.raises(Invalid, match="pipe"):
        describe(tmp_path / "empty")
    with pytest.raises(Invalid, match="pipe"):
        describe(tmp_path / "empty/pipe")
    with pytest.raises(NotFound, match="missing"):
        describe(tmp_path / "missing")
    with pytest.raises(Invalid):
        describe("/")
    write(tmp_path, {"bad/a\\b": b"1", "part/.p2pd-a": b"1", "f": b"1"})
    for name in ("bad", "part"):
        with pytest.raises(Invalid):
            describe(tmp_path / name)
    with pytest.raises(Invalid):
        describe(tmp_path / "f", name="../f")
    with pytest.raises(Unavailable):
        describe(tmp_path / "f" / "g")


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"1")
    with pytest.raises(Invalid, match="Unicode"):
        describe(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_denied(tmp_path):
    write(tmp_path, {"f": b"1"})
    (tmp_path / "f").chmod(0)
    with pytest.raises(Denied, match="f may not be read"):
        describe(tmp_path / "f")


@pytest.mark.parametrize("piece_length", [0, -1, 1023, 2**27])
def test_piece_lengths_are_bounded(tmp_path, piece_length):
    write(tmp_path, {"f": b"1"})
    with pytest.raises(Invalid, match="piece length"):
        describe(tmp_path / "f", piece_length=piece_length)
    with pytest.raises(Invalid, match="piece length"):
        describe_stream("f", 1, piece_length)


def test_too_many_pieces_are_refused_before_any_is_read(tmp_path):
    with (tmp_path / "f").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(Invalid, match="longer pieces"):
        describe(tmp_path / "f", piece_length=KIB)


def test_what_metainfo_cannot_hold_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torrent_module, "MAX_PIECES", 3)
    write(tmp_path, {"a": b"1", "b": bytes(2048), "c": b"1"})
    read = []
    with pytest.raises(Invalid, match="more than 3 pieces"):
        describe(tmp_path, piece_length=KIB, progress=read.append)
    assert not read


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(create, "MAX_FILES", 2)
    write(tmp_path, dict.fromkeys("ab", b""))
    describe(tmp_path)
    write(tmp_path, {"c": b""})
    with pytest.raises(Invalid, match="more than 2 files"):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("moment", "content"),
    [(5, b""), (5, b"short"), (5, b"l" * 200_000), (100_005, b"s" * 100_000)],
)
def test_a_file_that_changes_while_it_is_read_is_a_conflict(tmp_path, moment, content):
    write(tmp_path, {"1": b"first", "2": b"o" * 100_000})
    os.utime(tmp_path / "2", (0, 0))

    def change(done):
        if done == moment:
            (tmp_path / "2").write_bytes(content)

    with pytest.raises(Conflict, match="changed"):
        describe(tmp_path, progress=change)


def test_a_file_that_vanishes_or_becomes_a_link_is_refused(tmp_path):
    write(tmp_path, {"1": b"first", "2": b"second"})
    with pytest.raises(NotFound):
        describe(tmp_path, progress=lambda _: (tmp_path / "2").unlink())
    write(tmp_path, {"2": b"second"})

    def replace(done):
        (tmp_path / "2").unlink()
        (tmp_path / "2").symlink_to("/etc/passwd")

    with pytest.raises(Unavailable):
        describe(tmp_path, progress=replace)


def test_a_stream_has_the_length_announced():
    stream = describe_stream("n", 3)
    stream.feed(b"ab")
    with pytest.raises(Conflict, match="1 bytes early"):
        stream.finish()
    with pytest.raises(Conflict, match="longer"):
        stream.feed(b"cd")
    with pytest.raises(Invalid):
        describe_stream("n", -1)
    with pytest.raises(Invalid):
        describe_stream("a/b", 1)


names = st.text("ab.é", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})
trees = st.dictionaries(names, st.integers(0, 4000), min_size=1, max_size=8)


@settings(deadline=None)
@given(trees, st.sampled_from([1024, 1500, 4096]))
def test_any_tree_is_described_and_verified(tmp_path_factory, tree, piece_length):
    root = tmp_path_factory.mktemp("tree")
    source = random.Random(str(tree))
    write(root, {f"d/{name}": source.randbytes(length) for name, length in tree.items()})
    torrent = describe(root / "d", piece_length=piece_length)
    assert torrent.size == sum(tree.values())
    assert Torrent.from_bytes(torrent.to_bytes()) == torrent
    for index, piece in enumerate(pieces(torrent, root / "d")):
        assert len(piece) == torrent.piece_size(index)
        assert torrent.verify(index, piece)
    for file in torrent.files:
        if file.length >= piece_length:
            assert file.offset % piece_length == 0
