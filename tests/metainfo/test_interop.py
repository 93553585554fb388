"""Metainfo exchanged with libtorrent, both ways."""

import hashlib
import importlib
import os
import random

import pytest

from p2pd.metainfo.create import describe
from p2pd.metainfo.pieces import BLOCK, DigestKind
from p2pd.metainfo.torrent import Torrent

if os.environ.get("CI"):
    lt = importlib.import_module("libtorrent")
else:
    lt = pytest.importorskip("libtorrent")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TREE = {
    "aligned": 4 * BLOCK,
    "b/long": 7 * BLOCK + 1,
    "b/short": 3 * BLOCK + 17,
    "b/void": 0,
    "bé": 1,
    "c": BLOCK,
    "d": 2 * BLOCK - 1,
    "z": 100,
}
FORMS = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}
KINDS = dict.fromkeys(FORMS, DigestKind.SHA256_TREE) | {"v1": DigestKind.SHA1}
PIECE_LENGTH = 4 * BLOCK


@pytest.fixture
def source(tmp_path):
    content = random.Random(11)
    for path, length in TREE.items():
        place = tmp_path / "top" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.randbytes(length))
    (tmp_path / "top/c").chmod(0o755)
    return tmp_path / "top"


def made_by_libtorrent(path, form):
    storage = lt.file_storage()
    lt.add_files(storage, str(path))
    creator = lt.create_torrent(storage, PIECE_LENGTH, FORMS[form])
    creator.add_tracker("http://one/announce", 0)
    creator.add_tracker("udp://two:1", 1)
    creator.add_url_seed("http://seed/")
    lt.set_piece_hashes(creator, str(path.parent))
    return lt.bencode(creator.generate())


def piece(torrent, index, root):
    parts = []
    for span in torrent.spans(index):
        place = root if torrent.single_file else root.joinpath(*span.file.path)
        content = bytes(span.file.length) if span.file.padding else place.read_bytes()
        parts.append(content[span.offset : span.offset + span.length])
    return b"".join(parts)


@pytest.mark.parametrize("path", ["", "b/long", "b/short", "c", "z"])
def test_libtorrent_reads_what_we_write(source, path):
    root = source / path
    torrent = describe(root, piece_length=PIECE_LENGTH)
    read = lt.torrent_info(lt.bdecode(torrent.to_bytes(trackers=[["http://t/"]])))
    assert read.info_hashes().v1.to_bytes() == torrent.infohash
    assert read.name() == torrent.name
    assert read.piece_length() == torrent.piece_length
    assert read.total_size() == torrent.length
    assert read.num_pieces() == torrent.piece_count
    storage = read.files()
    top = () if torrent.single_file else (torrent.name,)
    assert storage.num_files() == len(torrent.files)
    for number, file in enumerate(torrent.files):
        flags = storage.file_flags(number)
        assert storage.file_path(number) == "/".join(top + file.path)
        assert storage.file_size(number) == file.length
        assert storage.file_offset(number) == file.offset
        assert bool(flags & lt.file_storage.flag_pad_file) is file.padding
        assert bool(flags & lt.file_storage.flag_executable) is file.executable
    for index in range(torrent.piece_count):
        data = piece(torrent, index, root)
        assert read.piece_size(index) == len(data)
        assert read.hash_for_piece(index) == hashlib.sha1(data).digest()
        assert torrent.verify(index, data)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", ["", "b", "aligned", "b/long", "b/short", "c", "d", "z"])
def test_we_read_what_libtorrent_writes(source, path, form):
    root = source / path
    data = made_by_libtorrent(root, form)
    torrent = Torrent.from_bytes(data)
    read = lt.torrent_info(lt.bdecode(data))
    hashes = read.info_hashes()
    infohash = hashes.v2 if form == "v2" else hashes.v1
    assert torrent.infohash == infohash.to_bytes()[:20]
    assert torrent.kind is KINDS[form]
    assert torrent.name == root.name
    assert torrent.single_file is root.is_file()
    assert torrent.trackers == (("http://one/announce",), ("udp://two:1",))
    assert torrent.web_seeds == ("http://seed/",)
    assert torrent.piece_count == read.num_pieces()
    on_disk = {place for place in source.rglob("*") if place.is_file()}
    expected = {root} if root.is_file() else {place for place in on_disk if root in place.parents}
    listed = [file for file in torrent.files if not file.padding]
    assert {root if torrent.single_file else root.joinpath(*f.path) for f in listed} == expected
    for index in range(torrent.piece_count):
        content = piece(torrent, index, root)
        assert len(content) == torrent.piece_size(index)
        assert torrent.verify(index, content)
        assert not torrent.verify(index, content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("form", FORMS)
def test_libtorrent_reads_again_what_we_pass_on(source, form):
    made = made_by_libtorrent(source, form)
    torrent = Torrent.from_bytes(made)
    passed_on = torrent.to_bytes()
    assert Torrent.from_bytes(passed_on) == torrent
    read = lt.bdecode(passed_on)
    assert lt.torrent_info(read).num_files() >= len(TREE)
    ours = {b"info", b"piece layers", b"announce", b"announce-list"}
    assert {key: value for key, value in lt.bdecode(made).items() if key in ours} == {
        key: value for key, value in read.items() if key in ours
    }
