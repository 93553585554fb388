"""Resources that write their replies themselves, without klein: what is large, or slow to come."""

from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from p2pd import background
from p2pd.errors import Invalid, Refusal
from p2pd.frontends.cors import invitation
from p2pd.frontends.kit import BROKEN, Dialect, Reply, refusal_reply


class Raw(Resource):
    """A leaf whose GET is a coroutine; refusals are answered in the dialect of its API."""

    isLeaf = True

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dialect = dialect

    def _answer(self, request: Request, path: list[str]) -> Coroutine[Any, Any, None]:
        """Answer a GET or HEAD for the path below this resource, and finish the request."""
        raise NotImplementedError

    def render(self, request: Request) -> int | bytes:
        """Start to answer; what the client's hanging up leaves undone is dropped."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            refused = self._dialect(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD")
            return refused.put_on(request)
        answering = background.start(
            self._guarded(request), "a reply", ConnectionLost, ConnectionDone
        )
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        return NOT_DONE_YET

    async def _guarded(self, request: Request) -> None:
        try:
            path = _decode(request)
            await self._answer(request, path)
        except Refusal as refusal:
            _break_off(request, refusal_reply(refusal, self._dialect))
        except (CancelledError, ConnectionLost, ConnectionDone):
            raise
        except Exception:
            _break_off(request, self._dialect(HTTPStatus.INTERNAL_SERVER_ERROR, BROKEN))
            raise


def _break_off(request: Request, reply: Reply) -> None:
    """Answer with `reply` instead; once the head is out, hanging up is the only way to say it."""
    if request.startedWriting:
        request.loseConnection()
        return
    request.responseHeaders = invitation(request.responseHeaders)
    request.write(reply.put_on(request))
    request.finish()


def _decode(request: Request) -> list[str]:
    try:
        return [segment.decode() for segment in request.postpath or []]
    except UnicodeDecodeError:
        raise Invalid("the path must be UTF-8") from None
