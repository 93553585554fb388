import json

import pytest
from rich.text import Text
from twisted.internet import reactor
from twisted.internet.task import deferLater

from p2pd import __version__
from p2pd.cli.outcome import Exit
from p2pd.frontends.authorisation import Gate
from p2pd.roles import Role
from p2pd.swarm.lifecycle import State
from tests import samples

TOKEN = b"a-token-of-the-fleet"


async def until(condition):
    while not condition():
        await deferLater(reactor, 0.01)


async def shared(command, server, servers, name="a.bin", size=3_000_000):
    data = bytes(range(256)) * (size // 256)
    server.put(f"/data/{name}", data)
    assert await command("--node", server.url, "share", f"/data/{name}") == Exit.DONE
    await until(lambda: any(file.filename == name for file in servers.tracker.files()))
    return data


async def test_version(command):
    assert await command("version") == Exit.DONE
    assert command.out == f"p2pd {__version__}\n"
    assert await command("version", "--json") == Exit.DONE
    assert json.loads(command.out) == {"version": __version__}


async def test_share_tells_how_to_get_it(command, servers):
    server = servers.start("one")
    server.put("/data/a b.bin", b"content")
    assert await command("--node", server.url, "share", "/data/a b.bin") == Exit.DONE
    [transfer] = server.node.transfers()
    lines = dict(line.split(maxsplit=1) for line in command.out.splitlines())
    assert lines["shared"] == "a b.bin"
    assert lines["infohash"] == transfer.infohash
    assert lines["size"].startswith("7 bytes")
    assert command.out.endswith("p2pd get 'a b.bin'\n")


async def test_share_under_another_name_as_json(command, servers):
    server = servers.start("one")
    server.put("/data/a.bin", b"content")
    argv = ["share", "/data/a.bin", "--name", "other", "--json", "--node", server.url]
    assert await command(*argv) == Exit.DONE
    assert json.loads(command.out)["filename"] == "other"
    assert command.out.count("\n") == 1


async def test_share_of_nothing_is_not_found(command, servers):
    server = servers.start("one")
    assert await command("--node", server.url, "share", "/data/none") == Exit.NOT_FOUND
    assert command.out == ""
    assert command.err.startswith("p2pd: ")


async def test_get_by_name(command, servers):
    one, two = servers.start("one"), servers.start("two")
    data = await shared(command, one, servers)
    assert await command("--node", two.url, "get", "a.bin") == Exit.DONE
    assert command.out.splitlines()[-1].startswith("a.bin: complete, 3.0 MB in ")
    assert command.err == ""
    assert data in two.disk.published.values()


async def test_get_again_finds_it_complete(command, servers):
    one = servers.start("one")
    await shared(command, one, servers)
    assert await command("--node", one.url, "get", "a.bin") == Exit.DONE
    assert command.out.startswith("a.bin: already complete, 3.0 MB in ")


async def test_get_by_infohash_as_json_ends_with_the_finished_transfer(command, servers):
    one, two = servers.start("one"), servers.start("two")
    await shared(command, one, servers)
    infohash = one.node.transfers()[0].infohash
    assert await command("--json", "--node", two.url, "get", infohash) == Exit.DONE
    documents = [json.loads(line) for line in command.out.splitlines()]
    assert documents[-1]["state"] == "complete"
    assert {document["infohash"] for document in documents} == {infohash}


async def test_get_draws_a_bar_on_a_terminal(command, servers):
    one, two = servers.start("one"), servers.start("two")
    await shared(command, one, servers, name="[red]a.bin")
    assert await command("--node", two.url, "get", "[red]a.bin", terminal=True) == Exit.DONE
    assert "[red]a.bin" in command.out
    assert "100.0 %" in command.out
    assert command.out.endswith("\n")


async def test_get_by_torrent_file_to_a_destination(command, servers, tmp_path):
    one, two = servers.start("one"), servers.start("two")
    await shared(command, one, servers)
    file = tmp_path / "some.torrent"
    [entry] = one.node.library
    file.write_bytes(entry.torrent.to_bytes())
    argv = ["get", str(file), "-o", "elsewhere/b.bin", "--node", two.url]
    assert await command(*argv) == Exit.DONE
    assert command.out.splitlines()[-1].split(" after ")[0].endswith("elsewhere/b.bin")


async def test_get_of_an_unknown_file(command, servers):
    server = servers.start("one")
    assert await command("--node", server.url, "get", "unknown") == Exit.NOT_FOUND
    assert command.err == "p2pd: no file named unknown is known: share it first\n"
    assert command.out == ""


@pytest.mark.parametrize("content", [b"", b"<html>", b"d3:fooi1ee"])
async def test_get_of_a_broken_torrent_file(command, servers, tmp_path, content):
    server = servers.start("one")
    file = tmp_path / "broken.torrent"
    file.write_bytes(content)
    assert await command("--node", server.url, "get", str(file)) == Exit.REFUSED
    assert command.err.startswith("p2pd: ")


async def test_get_to_a_place_outside_is_refused(command, servers):
    one, two = servers.start("one"), servers.start("two")
    await shared(command, one, servers)
    argv = ["--node", two.url, "get", "a.bin", "-o", "../../escaped"]
    assert await command(*argv) == Exit.REFUSED


async def test_get_interrupted_leaves_the_download_running(command, servers, tmp_path):
    server = servers.start("one")
    file = tmp_path / "wanted.torrent"
    file.write_bytes(samples.torrent("wanted.bin").to_bytes())
    running = command.start("--node", server.url, "get", str(file))
    await until(server.node.transfers)
    await deferLater(reactor, 0.05)
    running.cancel()
    assert await running == Exit.INTERRUPTED
    assert "goes on" in command.err
    assert "p2pd ls" in command.err
    assert server.node.transfers()[0].state is State.DOWNLOADING


async def test_a_failed_download_tells_why(command, servers):
    one, two = servers.start("one"), servers.start("two")
    await shared(command, one, servers)
    await command("--node", two.url, "get", "a.bin")
    path = next(iter(two.disk.published))
    three = servers.start("three")
    three.put(path, b"something else")
    assert await command("--node", three.url, "get", "a.bin") == Exit.FAILED
    assert "already exists" in command.err
    assert command.err.count("\n") == 1
    assert await command("--node", three.url, "get", "a.bin", "--replace") == Exit.DONE


async def test_ls(command, servers):
    server = servers.start("one")
    assert await command("--node", server.url, "ls") == Exit.DONE
    assert command.out == ""
    await shared(command, server, servers)
    [transfer] = server.node.transfers()

    await command("--node", server.url, "ls")
    row = ["a.bin", "complete", "100.0", str(transfer.size), "0", "0", "0", transfer.infohash, ""]
    assert command.out == "\t".join(row) + "\n"

    await command("--node", server.url, "ls", "--json")
    assert json.loads(command.out)["transfers"][0]["infohash"] == transfer.infohash

    await command("--node", server.url, "ls", terminal=True)
    heading, line = (Text.from_ansi(shown).plain for shown in command.out.splitlines())
    assert heading.split()[:2] == ["Name", "State"]
    assert line.split()[:2] == ["a.bin", "complete"]
    assert transfer.infohash in line


async def test_ls_tells_why_a_transfer_failed(command, servers):
    server = servers.start("one")
    await shared(command, server, servers)
    [entry] = server.node.library
    entry.damaged("the disk is gone")
    await command("--node", server.url, "ls", terminal=True)
    assert command.out.splitlines()[-1] == "a.bin: damaged: the disk is gone"
    await command("--node", server.url, "ls")
    assert command.out.rstrip().endswith("\tdamaged: the disk is gone")


async def test_limits(command, servers):
    server = servers.start("one")
    server.put("/data/a.bin", b"content")
    on = ["--node", server.url]
    await command(*on, "share", "/data/a.bin", "--max-upload-rate", "2M")
    assert server.node.transfers()[0].upload_limit == 2_000_000

    assert await command(*on, "limit", "a.bin", "--down", "64KiB") == Exit.DONE
    assert command.out == "a.bin: up at most 2.0 MB/s, down at most 65.5 kB/s\n"
    [transfer] = server.node.transfers()
    assert (transfer.upload_limit, transfer.download_limit) == (2_000_000, 65536)

    assert await command(*on, "limit", transfer.infohash, "--up", "0", "--json") == Exit.DONE
    assert json.loads(command.out)["upload_limit"] == 0

    assert await command(*on, "limit", "--max-upload-rate", "10M") == Exit.DONE
    assert command.out == "node: up at most 10.0 MB/s, down without limit\n"
    assert server.node.uplink.rate == 10_000_000

    assert await command(*on, "limit", "nothing", "--up", "1") == Exit.NOT_FOUND
    assert "p2pd ls" in command.err
    assert await command(*on, "limit") == Exit.USAGE


async def test_get_at_a_limit(command, servers):
    one, two = servers.start("one"), servers.start("two")
    await shared(command, one, servers)
    argv = ["get", "a.bin", "--max-download-rate", "100M", "--max-upload-rate", "1M"]
    assert await command("--node", two.url, *argv) == Exit.DONE
    [transfer] = two.node.transfers()
    assert (transfer.upload_limit, transfer.download_limit) == (1_000_000, 100_000_000)


async def test_the_token_is_shown(command, servers, tmp_path):
    server = servers.start("one", Gate(TOKEN))
    assert await command("--node", server.url, "ls") == Exit.REFUSED
    assert "--token-file" in command.err
    file = tmp_path / "token"
    file.write_bytes(TOKEN + b"\n")
    file.chmod(0o600)
    argv = ["--node", server.url, "--token-file", str(file), "ls"]
    assert await command(*argv) == Exit.DONE
    assert await command("ls", "--token-file", "/does/not/exist") == Exit.USAGE


async def test_the_token_may_be_of_a_user_of_the_node(command, servers, tmp_path):
    reader = b"a-token-of-a-reader"
    server = servers.start("one", Gate(TOKEN, control={reader: Role.READER}))
    file = tmp_path / "control-tokens"
    file.write_bytes(b"# who may use the node\n" + reader + b" reader\nanother-token-of-it\n")
    file.chmod(0o600)
    argv = ["--node", server.url, "--token-file", str(file)]
    assert await command(*argv, "ls") == Exit.DONE
    assert await command(*argv, "limit", "--max-upload-rate", "1M") == Exit.REFUSED
    assert "this takes the role admin" in command.err


@pytest.mark.parametrize(
    "url", ["node", "ftp://127.0.0.1", "http://", "http://[::1", "http://n:99999", "http://a b"]
)
async def test_a_wrong_node_url_is_wrong_usage(command, url):
    assert await command("ls", "--node", url) == Exit.USAGE
    assert "is not a URL" in command.err


async def test_a_node_that_is_not_there(command):
    assert await command("ls", "--node", "http://127.0.0.1:1") == Exit.UNREACHABLE
    assert "twistd -n p2p-node --tracker" in command.err
    assert command.err.count("\n") == 1
