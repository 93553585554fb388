import json

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater

from p2pd.cli.client import Client, Transfer
from p2pd.cli.outcome import CommandFailed, Exit

INFOHASH = "ab" * 20
DOCUMENT = {
    "infohash": INFOHASH,
    "filename": "a.bin",
    "path": "/downloads/a.bin",
    "state": "downloading",
    "error": "",
    "size": 1000,
    "progress": 0.25,
    "downloaded": 250,
    "uploaded": 0,
    "speed_down": 100.0,
    "speed_up": 0.0,
    "upload_limit": 0,
    "download_limit": 0,
    "eta": 7.5,
    "peers": [{}, {}],
    "added": 1.0,
    "finished": None,
}


def test_a_transfer_is_read():
    transfer = Transfer.from_wire(DOCUMENT)
    assert (transfer.name, transfer.peers, transfer.eta) == ("a.bin", 2, 7.5)
    assert not transfer.settled
    assert transfer.document is DOCUMENT


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (400, {"error": "bad"}, Exit.REFUSED),
        (403, {"error": "bad"}, Exit.REFUSED),
        (409, {"error": "bad"}, Exit.REFUSED),
        (500, {"error": "bad"}, Exit.FAILED),
        (503, {"error": "bad"}, Exit.FAILED),
        (503, {}, Exit.FAILED),
        (404, {"error": "bad"}, Exit.UNREACHABLE),
        (200, [], Exit.UNREACHABLE),
        (200, {}, Exit.UNREACHABLE),
        (200, {"transfers": {}}, Exit.UNREACHABLE),
        (200, {"transfers": [{}]}, Exit.UNREACHABLE),
        (200, {"transfers": [1]}, Exit.UNREACHABLE),
        (200, {"transfers": [{**DOCUMENT, "eta": float("inf")}]}, Exit.UNREACHABLE),
        (200, {"transfers": [{**DOCUMENT, "state": "\x1b[2J"}]}, Exit.UNREACHABLE),
    ],
)
async def test_answers_that_are_no_good(scripted, status, answer, code):
    async with Client(reactor, scripted(status, json.dumps(answer).encode())) as node:
        with pytest.raises(CommandFailed) as failed:
            await node.transfers()
    assert failed.value.status is code


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000, b" " * (65 << 20)])
async def test_what_is_no_json_comes_from_no_node(scripted, body):
    async with Client(reactor, scripted(200, body)) as node:
        with pytest.raises(CommandFailed) as failed:
            await node.transfers()
    assert failed.value.status is Exit.UNREACHABLE
    assert "is no p2pd node" in failed.value.reason


async def test_names_from_the_network_cannot_control_the_terminal(scripted, command):
    evil = {**DOCUMENT, "filename": "\x1b]0;owned\x07\x1b[2J[bold]x", "error": "\x1b[1A"}
    url = scripted(200, json.dumps({"transfers": [evil]}).encode())
    for terminal in (False, True):
        assert await command("--node", url, "ls", terminal=terminal) == Exit.DONE
        assert "\\x1b]0;owned\\x07\\x1b[2J[bold]x" in command.out
        assert "\x1b]" not in command.out
        assert "\x1b[2J" not in command.out
        assert "\x1b[1A" not in command.out
    url = scripted(400, json.dumps({"error": "\x1b[2Jno"}).encode())
    assert await command("--node", url, "ls") == Exit.REFUSED
    assert command.err == "p2pd: \\x1b[2Jno\n"


@pytest.fixture
def silent():
    """The URL of a server that accepts connections and says nothing."""
    port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    yield f"http://127.0.0.1:{port.getHost().port}"
    port.stopListening()


async def test_a_node_that_does_not_answer_is_given_up(silent):
    async with Client(reactor, silent) as node:
        node._clock = clock = Clock()
        asking = Deferred.fromCoroutine(node.transfers())
        await deferLater(reactor, 0.05)
        clock.advance(60)
        with pytest.raises(CommandFailed) as failed:
            await asking
    assert failed.value.status is Exit.UNREACHABLE
    assert "no answer within 30 s" in failed.value.reason


@pytest.mark.parametrize("operation", ["transfers", "share"])
async def test_asking_can_be_cancelled(silent, operation):
    async with Client(reactor, silent) as node:
        work = node.transfers() if operation == "transfers" else node.share("/a", None)
        asking = Deferred.fromCoroutine(work)
        await deferLater(reactor, 0.05)
        asking.cancel()
        with pytest.raises(CancelledError):
            await asking
