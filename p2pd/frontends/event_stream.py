"""Replies that stay open and tell what happens on a node, in whatever words an API has for it."""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from p2pd.errors import Busy
from p2pd.frontends.open_reply import OpenReply
from p2pd.node.events import Events, Happening, Kind

SSE = b"text/event-stream; charset=utf-8"
LINES = b"application/json; charset=utf-8"
"""The types of a stream of server-sent events, and of one of JSON texts, a line each."""
SSE_BEAT = b":\n\n"
LINES_BEAT = b"\n"
"""What can be written into such streams without telling anything."""

_MOST_STREAMS = 100
_MOST_UNREAD = 256 * 1024
_BEAT_EVERY = 15.0


class EventStream(Resource):
    """Answers one request with `first`, and then with each happening as `render` words it.

    Those after happening `since` come too, as far as they are kept; None is none of them.
    Happenings that `render` gives None for are left out.  `beat` is written now and then, so that
    a client that is gone is noticed; one that does not read is cut off.  The stream ends with the
    node.  Raises `Busy` if too many listen already.
    """

    isLeaf = True

    def __init__(
        self,
        events: Events,
        render: Callable[[Happening], bytes | None],
        *,
        content_type: bytes,
        first: bytes,
        since: int | None,
        beat: bytes,
        clock: IReactorTime,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if events.audience >= _MOST_STREAMS:
            raise Busy(f"{_MOST_STREAMS} clients listen already: close one of them")
        self._events = events
        self._word = render
        self._content_type = content_type
        self._first = first
        self._since = since
        self._beat = beat
        self._clock = clock

    def render(self, request: Request) -> int | bytes:
        """Write the head and what there is to tell already; the rest follows as it happens."""
        request.setHeader(b"Content-Type", self._content_type)
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        if request.method == b"HEAD":
            return b""
        self._request = request
        self._reply = OpenReply(
            request,
            self._clock,
            beat=self._beat,
            every=_BEAT_EVERY,
            closed=self._events.subscribe(self._tell),
            most_unread=_MOST_UNREAD,
        )
        request.notifyFinish().addBoth(lambda _: self._reply.close())
        self._reply.say(b"".join([self._first, *filter(None, map(self._word, self._missed()))]))
        return NOT_DONE_YET

    def _missed(self) -> list[Happening]:
        if self._since is None:
            return []
        # A number that was not given out yet is of an earlier run of the node.
        return self._events.since(self._since if self._since <= self._events.latest else 0)

    def _tell(self, happening: Happening) -> None:
        text = self._word(happening)
        if text:
            self._reply.say(text)
        if happening.kind is Kind.SHUTDOWN and self._reply.is_open:
            self._reply.close(b"")
            self._request.finish()
