import hashlib
import random
from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.metainfo import bencode, files
from p2pd.metainfo import torrent as torrent_module
from p2pd.metainfo.create import describe_stream
from p2pd.metainfo.pieces import BLOCK, DigestKind, digest, merkle_root
from p2pd.metainfo.torrent import BLAKE3_KEY, FileEntry, Span, Torrent
from tests import samples

KIB = 1024
CONTENT = random.Random(7).randbytes(3 * KIB + 100)
FOUR_DIGESTS = b"".join(
    hashlib.sha1(CONTENT[at : at + KIB]).digest() for at in range(0, len(CONTENT), KIB)
)


def metainfo(outer=None, **info):
    fields = {"name": "n", "piece length": KIB, "length": len(CONTENT), "pieces": FOUR_DIGESTS}
    fields |= {key.replace("_", " "): value for key, value in info.items()}
    kept = {key: value for key, value in fields.items() if value is not None}
    return bencode.encode({"info": kept} | (outer or {}))


def listing(*entries):
    listed = [{"path": path.split("/"), "length": length} for path, length in entries]
    count = -(-sum(length for _, length in entries) // KIB)
    return metainfo(length=None, files=listed, pieces=bytes(20 * count))


def v2_file(content, **more):
    root = digest(DigestKind.SHA256_TREE, content)
    return {"": {"length": len(content), "pieces root": root} | more}


def v2(tree, outer=None, **info):
    fields = {"file_tree": tree, "meta_version": 2, "piece_length": BLOCK}
    return metainfo(outer, pieces=None, length=None, **(fields | info))


def test_a_single_v1_file():
    torrent = Torrent.from_bytes(metainfo())
    assert torrent.files == (FileEntry(("n",), len(CONTENT), 0),)
    assert torrent.single_file
    assert torrent.kind is DigestKind.SHA1
    assert (torrent.length, torrent.size, torrent.piece_count) == (len(CONTENT), len(CONTENT), 4)
    assert [torrent.piece_size(index) for index in range(4)] == [KIB, KIB, KIB, 100]
    assert torrent.infohash == hashlib.sha1(torrent.info).digest()
    for form in (bytes, bytearray, memoryview):
        assert torrent.verify(3, form(CONTENT[3 * KIB :]))
    assert not torrent.verify(2, CONTENT[3 * KIB :])
    assert not torrent.verify(0, CONTENT[1:KIB])
    assert not torrent.verify(0, CONTENT[1 : KIB + 1])


def test_the_strongest_digest_counts():
    digests = b"".join(
        blake3(CONTENT[at : at + KIB]).digest() for at in range(0, len(CONTENT), KIB)
    )
    torrent = Torrent.from_bytes(metainfo(**{BLAKE3_KEY.decode(): digests}))
    assert torrent.kind is DigestKind.BLAKE3
    assert torrent.piece_ids[0] == digests[:32]
    assert torrent.verify(0, CONTENT[:KIB])
    lying = Torrent.from_bytes(metainfo(**{BLAKE3_KEY.decode(): bytes(128)}))
    assert not lying.verify(0, CONTENT[:KIB])


@pytest.mark.parametrize("index", [-1, 4])
def test_there_are_no_pieces_outside(index):
    torrent = Torrent.from_bytes(metainfo())
    for question in (torrent.piece_size, torrent.spans, lambda i: torrent.verify(i, b"")):
        with pytest.raises(IndexError):
            question(index)


def test_files_padding_and_pieces_lie_where_they_should():
    listed = [
        {"path": ["empty"], "length": 0},
        {"path": ["d", "big"], "length": 1500, "attr": "x"},
        {"path": [".pad", "548"], "length": 548, "attr": "p"},
        {"path": ["next"], "length": 1024},
        {"path": ["last"], "length": 3},
        {"path": ["last, empty"], "length": 0},
    ]
    torrent = Torrent.from_bytes(metainfo(length=None, files=listed))
    empty, big, pad, following, last, _ = torrent.files
    assert not torrent.single_file
    assert big == FileEntry(("d", "big"), 1500, 0, executable=True)
    assert pad.padding
    assert (torrent.length, torrent.size) == (3075, 2527)
    assert torrent.spans(0) == [Span(big, 0, 1024, 0)]
    assert torrent.spans(1) == [Span(big, 1024, 476, 0), Span(pad, 0, 548, 476)]
    assert torrent.spans(2) == [Span(following, 0, 1024, 0)]
    assert torrent.spans(3) == [Span(last, 0, 3, 0)]
    assert torrent.pieces_of(big) == range(2)
    assert torrent.pieces_of(following) == range(2, 3)
    assert not torrent.pieces_of(empty)


def test_padding_that_is_not_zero_fails():
    piece = b"a" * 1000 + b"b" * 24
    listed = [{"path": ["a"], "length": 1000}, {"path": ["p"], "length": 24, "attr": "p"}]
    data = metainfo(length=None, files=listed, pieces=hashlib.sha1(piece).digest())
    assert not Torrent.from_bytes(data).verify(0, piece)


def test_equal_pieces_share_an_id():
    torrent = Torrent.from_bytes(
        metainfo(length=3 * KIB, pieces=b"a" * 20 + b"b" * 20 + b"a" * 20)
    )
    assert torrent.indexes_of(torrent.piece_ids[2]) == (0, 2)
    assert torrent.indexes_of(torrent.piece_ids[1]) == (1,)
    assert torrent.indexes_of(b"c" * 20) == ()


@pytest.mark.parametrize(
    ("outer", "tiers"),
    [
        ({}, ()),
        ({"announce": ""}, ()),
        ({"announce": "http://t/a"}, (("http://t/a",),)),
        (
            {"announce": "x", "announce-list": [["a", " b "], [], [""], ["c"]]},
            (("a", "b"), ("c",)),
        ),
    ],
)
def test_trackers_are_read_in_tiers(outer, tiers):
    torrent = Torrent.from_bytes(metainfo(outer))
    assert torrent.trackers == tiers
    assert Torrent.from_bytes(torrent.to_bytes()) == torrent


@pytest.mark.parametrize(
    ("value", "seeds"), [("", ()), ("http://w/", ("http://w/",)), (["u", "v", ""], ("u", "v"))]
)
def test_web_seeds_are_read_from_a_string_or_a_list(value, seeds):
    torrent = Torrent.from_bytes(metainfo({"url-list": value}))
    assert torrent.web_seeds == seeds
    assert Torrent.from_bytes(torrent.to_bytes()) == torrent


def test_trackers_and_web_seeds_can_be_replaced():
    torrent = Torrent.from_bytes(metainfo({"announce": "a", "url-list": "w", "comment": "c"}))
    other = Torrent.from_bytes(torrent.to_bytes(trackers=[["x"], [], ["y"]], web_seeds=["z"]))
    assert (other.trackers, other.web_seeds) == ((("x",), ("y",)), ("z",))
    assert other.infohash == torrent.infohash
    assert torrent.to_bytes(trackers=[], web_seeds=[]) == metainfo({"comment": "c"})


def test_the_infohash_is_over_the_bytes_as_they_came():
    raw = b"d4:name1:n12:piece lengthi1024e6:lengthi1e6:pieces20:" + bytes(20) + b"e"
    torrent = Torrent.from_bytes(b"d4:info" + raw + b"e")
    assert torrent.infohash == hashlib.sha1(raw).digest()
    assert Torrent.from_bytes(torrent.to_bytes()) == torrent


def test_utf_8_variants_of_names_are_preferred():
    listed = [{"path": [b"\xff"], "path.utf-8": ["é"], "length": 1}]
    torrent = Torrent.from_bytes(
        metainfo(name=b"\xff", length=None, files=listed, pieces=bytes(20), **{"name.utf-8": "ü"})
    )
    assert (torrent.name, torrent.files[0].path) == ("ü", ("é",))


def test_an_empty_file_is_a_torrent_without_pieces():
    torrent = Torrent.from_bytes(metainfo(length=0, pieces=b""))
    assert (torrent.piece_count, torrent.length) == (0, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i1e",
        b"de",
        b"d4:infoi1ee",
        metainfo(name=None),
        metainfo(name=""),
        metainfo(name=".."),
        metainfo(name="a/b"),
        metainfo(name=b"\xff"),
        metainfo(name=7),
        metainfo(length=None),
        metainfo(length="3"),
        metainfo(length=-1),
        metainfo(length=len(CONTENT) + KIB),
        metainfo(length=2**50 + 1),
        metainfo(length=2**40),
        metainfo(piece_length=0),
        metainfo(piece_length=-KIB),
        metainfo(piece_length=KIB - 1),
        metainfo(piece_length=2**27),
        metainfo(piece_length="1"),
        metainfo(pieces=None),
        metainfo(pieces=7),
        metainfo(pieces=FOUR_DIGESTS[:-1]),
        metainfo(pieces=FOUR_DIGESTS + bytes(20)),
        metainfo(attr="l"),
        metainfo(attr="p"),
        metainfo(attr=1),
        metainfo(**{BLAKE3_KEY.decode(): bytes(127)}),
        metainfo(**{BLAKE3_KEY.decode(): 1}),
        metainfo({"announce-list": "a"}),
        metainfo({"announce-list": ["a"]}),
        metainfo({"announce-list": [["a"] * 501, ["b"] * 500]}),
        metainfo({"announce": 1}),
        metainfo({"announce": b"\xff"}),
        metainfo({"url-list": 1}),
        metainfo({"url-list": [["a"]]}),
        metainfo({"url-list": "a" * 3000}),
        metainfo(length=None, files=[], pieces=b""),
        metainfo(length=None, files=[1]),
        metainfo(length=None, files=[{"length": 1}], pieces=bytes(20)),
        metainfo(length=None, files=[{"length": 1, "path": []}], pieces=bytes(20)),
        metainfo(length=None, files=[{"length": 1, "path": "a"}], pieces=bytes(20)),
        metainfo(length=None, files=[{"length": 1, "path": ["a"], "attr": "p"}], pieces=bytes(20)),
        listing(("../a", 1)),
        listing(("a", 1), ("a", 1)),
        listing(("a", 1), ("a/b", 1)),
        listing(("a/b", 1), ("c", 1), ("a", 1)),
        listing((".p2pd-a", 1)),
        listing(("a//b", 1)),
    ],
)
def test_malformed_and_unsafe_metainfo_is_refused(data):
    with pytest.raises(Invalid):
        Torrent.from_bytes(data)


def test_sizes_are_bounded(monkeypatch):
    with pytest.raises(Invalid, match="larger"):
        Torrent.from_bytes(bytes(32 * KIB * KIB + 1))
    monkeypatch.setattr(files, "MAX_FILES", 3)
    monkeypatch.setattr(torrent_module, "MAX_PIECES", 3)
    Torrent.from_bytes(listing(("a", 1), ("b", 1), ("c", 3000)))
    with pytest.raises(Invalid, match="not 1 to 3"):
        Torrent.from_bytes(listing(("a", 1), ("b", 1), ("c", 1), ("d", 1)))
    with pytest.raises(Invalid, match="more than 3 files"):
        Torrent.from_bytes(listing(*((str(number), 1) for number in range(7))))
    with pytest.raises(Invalid, match="more than 3 pieces"):
        Torrent.from_bytes(listing(("a", 1), ("b", 3073)))
    content = bytes(BLOCK)
    with pytest.raises(Invalid, match="more than 3 pieces"):
        Torrent.from_bytes(v2({"a": v2_file(content), "b": v2_file(content, length=3 * BLOCK)}))
    with pytest.raises(Invalid, match="more than 3 files"):
        Torrent.from_bytes(v2({str(number): v2_file(b"") for number in range(4)}))


def test_v2_files_begin_at_piece_boundaries():
    small, large = b"s" * 100, random.Random(1).randbytes(2 * BLOCK + 5)
    leaves = [digest(DigestKind.SHA256_TREE, large[at : at + BLOCK]) for at in (0, BLOCK)]
    leaves.append(digest(DigestKind.SHA256_TREE, large[2 * BLOCK :]))
    root = merkle_root(leaves, 4)
    tree = {
        "d": {"small": v2_file(small, attr="x"), "void": {"": {"length": 0}}},
        "large": {"": {"length": len(large), "pieces root": root}},
        "z": v2_file(small),
    }
    data = v2(tree, {"piece layers": {root: b"".join(leaves)}})
    torrent = Torrent.from_bytes(data)
    assert torrent.kind is DigestKind.SHA256_TREE
    assert torrent.infohash == hashlib.sha256(torrent.info).digest()[:20]
    assert [file.offset for file in torrent.files] == [0, BLOCK, BLOCK, 4 * BLOCK]
    assert torrent.files[0].executable
    assert torrent.size == 200 + len(large)
    assert [torrent.piece_size(index) for index in range(5)] == [100, BLOCK, BLOCK, 5, 100]
    assert torrent.indexes_of(torrent.piece_ids[0]) == (0, 4)
    assert torrent.pieces_of(torrent.files[2]) == range(1, 4)
    assert torrent.spans(3) == [Span(torrent.files[2], 2 * BLOCK, 5, 0)]
    assert torrent.verify(0, small)
    assert torrent.verify(3, large[2 * BLOCK :])
    assert not torrent.verify(3, b"wrong")
    assert torrent.to_bytes() == data
    wrong = v2(tree, {"piece layers": {root: b"".join(reversed(leaves))}})
    with pytest.raises(Invalid, match="does not match"):
        Torrent.from_bytes(wrong)
    for layers in ({}, {root: leaves[0]}, {root: 1}):
        with pytest.raises(Invalid, match="3 digests"):
            Torrent.from_bytes(v2(tree, {"piece layers": layers}))


@pytest.mark.parametrize(
    "data",
    [
        v2(None),
        v2({}),
        v2({"a": 1}),
        v2({"": {"length": 1}}),
        v2({"a": {"": 1}}),
        v2({"a": {"": {"length": 1}}}),
        v2({"a": {"": {"length": 1, "pieces root": bytes(31)}}}),
        v2({"a": v2_file(b"a") | {"b": v2_file(b"b")}}),
        v2({"..": v2_file(b"a")}),
        v2({"a": v2_file(b"a", attr="l")}),
        v2({"a": v2_file(b"a", attr="p")}),
        v2({"a": v2_file(b"a")}, piece_length=BLOCK + 2),
        v2({"a": v2_file(b"a")}, piece_length=BLOCK // 2),
        v2({"a": v2_file(b"a")}, {"piece layers": 1}),
        v2({"a": v2_file(b"a")}, meta_version=3),
    ],
)
def test_malformed_v2_metainfo_is_refused(data):
    with pytest.raises(Invalid):
        Torrent.from_bytes(data)


def hybrid(*listed, count=2):
    tree = {"a": v2_file(b"aaa"), "b": v2_file(b"b")}
    entries = [
        {"path": [path], "length": length} | ({"attr": "p"} if path == ".pad" else {})
        for path, length in listed
    ]
    return metainfo(
        length=None,
        files=entries,
        file_tree=tree,
        meta_version=2,
        piece_length=BLOCK,
        pieces=bytes(20 * count),
    )


def test_a_hybrid_is_modelled_as_v2_with_the_v1_infohash():
    torrent = Torrent.from_bytes(hybrid(("a", 3), (".pad", BLOCK - 3), ("b", 1)))
    assert torrent.kind is DigestKind.SHA256_TREE
    assert torrent.infohash == hashlib.sha1(torrent.info).digest()
    assert [(file.path, file.offset) for file in torrent.files] == [(("a",), 0), (("b",), BLOCK)]
    assert torrent.piece_size(0) == 3
    assert torrent.verify(0, b"aaa")
    assert torrent.length == BLOCK + 1
    assert Torrent.from_bytes(hybrid(("a", 3), (".pad", BLOCK - 3), ("b", 1), (".pad", 9)))


@pytest.mark.parametrize(
    "data",
    [
        hybrid(("a", 3), (".pad", BLOCK - 3), ("c", 1)),
        hybrid(("a", 3), (".pad", BLOCK - 3), ("b", 2)),
        hybrid(("b", 1), (".pad", BLOCK - 1), ("a", 3)),
        hybrid(("a", 3), ("b", 1), count=1),
        hybrid(("a", 3), (".pad", BLOCK - 3), ("b", 1), (".pad", BLOCK), count=3),
    ],
)
def test_a_hybrid_that_contradicts_itself_is_refused(data):
    with pytest.raises(Invalid, match="contradict"):
        Torrent.from_bytes(data)


def test_a_v2_torrent_of_one_file_of_its_own_name_is_a_single_file():
    assert Torrent.from_bytes(v2({"n": v2_file(b"a")})).single_file
    assert not Torrent.from_bytes(v2({"m": v2_file(b"a")})).single_file


SAMPLES = [
    metainfo({"announce": "http://t/", "url-list": ["http://w/"]}),
    listing(("a", 5), ("b/c", 3000)),
    hybrid(("a", 3), (".pad", BLOCK - 3), ("b", 1)),
    v2({"n": v2_file(b"abc"), "d": {"e": v2_file(b"x" * 50_000)}}, piece_length=65536),
]


@settings(deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_mutated_metainfo_is_read_or_refused(sample, data):
    mutated = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(mutated)))
        stop = start + data.draw(st.integers(0, 3))
        mutated[start:stop] = data.draw(st.binary(max_size=3) | st.sampled_from(SAMPLES))
    try:
        torrent = Torrent.from_bytes(bytes(mutated))
    except Invalid:
        return
    assert Torrent.from_bytes(torrent.to_bytes()) == torrent
    for index in range(torrent.piece_count):
        assert sum(span.length for span in torrent.spans(index)) == torrent.piece_size(index)


def test_torrents_can_be_kept_in_sets():
    stream = describe_stream("n", 3, KIB)
    stream.feed(b"abc")
    torrent = stream.finish()
    assert {torrent, Torrent.from_bytes(torrent.to_bytes())} == {torrent}
    assert len(repr(torrent)) < 500


def test_a_comment_is_kept_and_is_no_part_of_the_identity():
    plain = samples.torrent()
    said = replace(plain, comment="grüße")
    again = Torrent.from_bytes(said.to_bytes())
    assert (again.comment, again.infohash) == ("grüße", plain.infohash)
    assert Torrent.from_bytes(again.to_bytes()) == again
    assert Torrent.from_bytes(plain.to_bytes()).comment == ""


@pytest.mark.parametrize(
    ("comment", "read"), [(b"\xff", "\ufffd"), (b"x" * 9999, "x" * 4096), (5, ""), ([], "")]
)
def test_a_comment_may_be_anything(comment, read):
    outer = bencode.decode(samples.torrent().to_bytes()) | {b"comment": comment}
    assert Torrent.from_bytes(bencode.encode(outer)).comment == read


@pytest.mark.parametrize(("value", "private"), [(1, True), (0, False), (2, False), (b"1", False)])
def test_a_torrent_is_private_if_it_says_so(value, private):
    outer = bencode.decode(samples.torrent().to_bytes())
    outer[b"info"] = outer[b"info"] | {b"private": value}
    made = Torrent.from_bytes(bencode.encode(outer))
    assert made.private is private
    assert Torrent.from_bytes(made.to_bytes()) == made


def test_a_torrent_that_is_not_of_bep_52_has_no_second_infohash():
    assert samples.torrent().v2_infohash == b""
    of_both = v2({"a": v2_file(b"aaa")})
    info = bencode.decode_raw(of_both)[1][b"info"]
    made = Torrent.from_bytes(of_both)
    assert made.v2_infohash == hashlib.sha256(info).digest()
    assert made.infohash == made.v2_infohash[:20]
