"""Files over plain HTTP, with curl: whole, in parts, and while they are still arriving."""

import subprocess

import pytest

from tests.real.fleet import MIB, make_file, until

pytestmark = pytest.mark.real


@pytest.fixture
def curl(require_program):
    """`curl(url, ...)` returns what it printed; it fails where HTTP does."""
    program = require_program("curl")

    def run(*arguments):
        command = [program, "--silent", "--show-error", "--fail", "--noproxy", "*", *arguments]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout

    return run


def test_ranges_and_heads(fleet, tmp_path, curl):
    fleet.start_tracker()
    node = fleet.start_node()
    tree = tmp_path / "shared" / "tree"
    large = make_file(tree / "sub" / "large file.bin", 2 * MIB + 17).read_bytes()
    small = make_file(tree / "small.bin", 1000).read_bytes()
    make_file(tree / "empty.bin", 0)
    infohash = fleet.share(node, tree)["infohash"]
    url = f"{node.url}/files/{infohash}/sub/large%20file.bin"

    assert curl(url) == large
    assert curl(f"{node.url}/files/{infohash}/small.bin") == small
    assert curl(f"{node.url}/files/{infohash}/empty.bin") == b""
    for wanted, expected in [
        ("0-0", large[:1]),
        ("0-99999", large[:100000]),
        ("262100-262200", large[262100:262201]),
        ("2000000-", large[2000000:]),
        ("-17", large[-17:]),
    ]:
        assert curl("-r", wanted, url) == expected
        head = curl("-r", wanted, "-o", "/dev/null", "-D", "-", url)
        assert head.startswith(b"HTTP/1.1 206 ")
        assert b"\r\nContent-Length: %d\r\n" % len(expected) in head

    head = curl("--head", url)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nContent-Length: %d\r\n" % len(large) in head
    assert b"\r\nAccept-Ranges: bytes\r\n" in head
    assert b"filename*=UTF-8''large%20file.bin" in head
    etag = head.partition(b"ETag: ")[2].partition(b"\r")[0].decode()
    unchanged = curl("-H", f"If-None-Match: {etag}", "-o", "/dev/null", "-D", "-", url)
    assert unchanged.startswith(b"HTTP/1.1 304 ")


def test_a_download_resumes_with_curl(fleet, tmp_path, curl):
    fleet.start_tracker()
    node = fleet.start_node()
    content = make_file(tmp_path / "shared" / "a.img", 3 * MIB).read_bytes()
    infohash = fleet.share(node, tmp_path / "shared" / "a.img")["infohash"]
    partial = tmp_path / "partial.img"
    partial.write_bytes(content[:1_234_567])

    curl("--continue-at", "-", "--output", partial, f"{node.url}/files/{infohash}/a.img")

    assert partial.read_bytes() == content


def test_a_file_is_read_in_order_while_it_arrives(fleet, tmp_path, require_program):
    fleet.start_tracker()
    seed = fleet.start_node()
    node = fleet.start_node("--max-download-rate", "4M")
    content = make_file(tmp_path / "shared" / "film.bin", 16 * MIB).read_bytes()
    infohash = fleet.share(seed, tmp_path / "shared" / "film.bin")["infohash"]
    node.begin("film.bin")
    until(lambda: node.transfer("film.bin")["state"] == "downloading")

    url = f"{node.url}/files/{infohash}/film.bin"
    command = [require_program("curl"), "--silent", "--fail", "--noproxy", "*", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reading:
        try:
            began = reading.stdout.read(2 * MIB)
            transfer = node.transfer("film.bin")
            assert began == content[: 2 * MIB]
            assert transfer["state"] == "downloading"
            # Read in order: an eighth of the file was had for about as much of its time.
            assert transfer["progress"] < 0.5
            assert reading.stdout.read() == content[2 * MIB :]
            assert reading.wait(30) == 0
        finally:
            reading.kill()
    until(lambda: node.complete("film.bin"))


def test_a_reader_may_jump_ahead(fleet, tmp_path, curl):
    fleet.start_tracker()
    seed = fleet.start_node()
    node = fleet.start_node("--max-download-rate", "4M")
    content = make_file(tmp_path / "shared" / "film.bin", 16 * MIB).read_bytes()
    infohash = fleet.share(seed, tmp_path / "shared" / "film.bin")["infohash"]
    node.begin("film.bin")
    until(lambda: node.transfer("film.bin")["state"] == "downloading")

    url = f"{node.url}/files/{infohash}/film.bin"
    assert curl("-r", "14000000-14500000", url) == content[14_000_000:14_500_001]
    assert node.transfer("film.bin")["progress"] < 0.5
