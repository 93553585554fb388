"""Replies that stay open: what they tell, how long, to how many, and to whom no more."""

import socket
from contextlib import suppress

import pytest
import pytest_twisted
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from p2pd.errors import Busy
from p2pd.frontends.authorisation import Gate, Policy
from p2pd.frontends.event_stream import LINES, LINES_BEAT, EventStream
from p2pd.frontends.kit import Api, application
from p2pd.frontends.site import Site
from p2pd.node.events import Events, Kind

api = Api(lambda status, reason: pytest.fail(reason))


def render(happening):
    if happening.kind is Kind.TRACKER:
        return None
    return f"{happening.number} {happening.kind}\n".encode()


class Context:
    def __init__(self, clock, since=None):
        self.clock = clock
        self.events = Events(clock.seconds)
        self.since = since

    def stream(self):
        return EventStream(
            self.events,
            render,
            content_type=LINES,
            first=b"hello\n",
            since=self.since,
            beat=LINES_BEAT,
            clock=self.clock,
        )


@api.route("/events", policy=Policy.READ)
async def listen(context, request):
    return context.stream()


class Client(StringTransport):
    """A client's connection to a site; it reads whatever comes."""

    def __init__(self, context, request=b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
        super().__init__()
        self.aborted = False
        site = Site(application(Gate(), [(api, context)]), timeout=5, reactor=context.clock)
        self.channel = site.buildProtocol(None)
        self.channel.makeConnection(self)
        self.channel.dataReceived(request)

    def abortConnection(self):
        self.aborted = True
        self.hang_up()

    def hang_up(self):
        self.channel.connectionLost(Failure(ConnectionDone()))

    @property
    def head(self):
        return self.value().partition(b"\r\n\r\n")[0]

    @property
    def body(self):
        """What was told, without the sizes of chunks."""
        parts = self.value().partition(b"\r\n\r\n")[2].split(b"\r\n")
        return b"".join(parts[1::2])

    @property
    def ended(self):
        return self.value().endswith(b"0\r\n\r\n")


@pytest.fixture
def context():
    return Context(Clock())


def test_the_head_and_the_first_words_come_at_once(context):
    client = Client(context)
    assert client.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: " + LINES in client.head
    assert b"Cache-Control: no-store" in client.head
    assert client.body == b"hello\n"


def test_what_happens_is_told_as_the_api_words_it(context):
    client = Client(context)
    context.events.publish(Kind.ADDED, "a")
    context.events.publish(Kind.TRACKER, "a")
    context.events.publish(Kind.PAUSED, "a")
    assert client.body == b"hello\n1 added\n3 paused\n"


@pytest.mark.parametrize(
    ("since", "told"),
    [
        (None, b""),
        (0, b"1 added\n2 state\n"),
        (1, b"2 state\n"),
        (2, b""),
        (7, b"1 added\n2 state\n"),  # of an earlier run of the node
    ],
)
def test_what_came_after_a_number_is_told_again(context, since, told):
    context.events.publish(Kind.ADDED, "a")
    context.events.publish(Kind.MOVED_ON, "a")
    context.since = since
    assert Client(context).body == b"hello\n" + told


def test_a_stream_outlives_the_idle_timeout_and_beats_meanwhile(context):
    client = Client(context)
    context.clock.pump([1.0] * 100)
    assert not client.disconnecting
    assert client.body == b"hello\n" + LINES_BEAT * 6
    context.events.publish(Kind.ADDED, "a")
    assert client.body.endswith(b"1 added\n")


def test_a_stream_ends_with_the_node(context):
    client = Client(context)
    context.events.publish(Kind.SHUTDOWN)
    assert client.body.startswith(b"hello\n1 shutdown\n")
    assert client.ended
    assert context.events.audience == 0
    context.clock.pump([1.0] * 30)
    assert client.ended


def test_who_hangs_up_is_told_no_more(context):
    client = Client(context)
    client.hang_up()
    assert context.events.audience == 0
    assert not context.clock.getDelayedCalls()


def test_what_happens_while_a_client_does_not_read_is_told_when_it_does(context):
    client = Client(context)
    client.producer.pauseProducing()
    context.events.publish(Kind.ADDED, "a")
    context.clock.advance(20)
    assert client.body == b"hello\n"
    client.producer.resumeProducing()
    assert client.body == b"hello\n1 added\n"


def test_who_does_not_read_for_a_minute_is_cut_off(context):
    client = Client(context)
    client.producer.pauseProducing()
    context.clock.pump([1.0] * 61)
    assert client.aborted
    assert context.events.audience == 0


def test_who_does_not_read_much_is_cut_off(context):
    client = Client(context)
    client.producer.pauseProducing()
    for _ in range(30_000):
        context.events.publish(Kind.ADDED, "a")
    assert client.aborted
    assert context.events.audience == 0


def test_a_stream_that_ends_while_nobody_reads_tells_the_rest_first(context):
    client = Client(context)
    client.producer.pauseProducing()
    context.events.publish(Kind.SHUTDOWN)
    assert client.body.startswith(b"hello\n1 shutdown\n")
    assert client.ended


def test_a_request_for_the_head_is_answered_with_it_alone(context):
    client = Client(context, b"HEAD /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert b"Content-Type: " + LINES in client.head
    assert client.body == b""
    assert context.events.audience == 0


def test_so_many_may_listen_and_no_more(context):
    clients = [Client(context) for _ in range(100)]
    with pytest.raises(Busy, match="close one"):
        context.stream()
    clients[0].hang_up()
    context.stream()


@pytest_twisted.inlineCallbacks
def test_over_a_real_socket():
    from twisted.internet import reactor  # noqa: PLC0415 - pytest-twisted installs it first

    context = Context(reactor)
    site = Site(application(Gate(), [(api, context)]), timeout=5, reactor=reactor)
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    client = socket.create_connection(("127.0.0.1", port.getHost().port))
    client.setblocking(False)
    client.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    told = b""

    def read():
        nonlocal told
        with suppress(BlockingIOError):
            told += client.recv(65536)
        return told

    while b"hello\n" not in read():
        yield deferLater(reactor, 0.01)
    context.events.publish(Kind.ADDED, "a")
    while b"1 added\n" not in read():
        yield deferLater(reactor, 0.01)
    client.close()
    while context.events.audience:
        yield deferLater(reactor, 0.01)
    yield port.stopListening()
