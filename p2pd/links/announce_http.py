"""Announces to BitTorrent trackers over HTTP and HTTPS."""

import base64
import os
from string import punctuation
from urllib.parse import quote, unquote, urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as Late
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.error import TimeoutError as NoConnection
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from p2pd import __version__
from p2pd.errors import Refusal
from p2pd.links.connection import reason_of
from p2pd.links.responses import Body, drop
from p2pd.protocol.announce_client import (
    AnnounceFailed,
    AnnounceReply,
    BitTorrentAnnounce,
    announce_url,
    read_reply,
)

TIMED_OUT = "timed out"

_TIMEOUT = 30.0
_LONGEST_REPLY = 256 * 1024
_GONE = 410


class HttpAnnounces:
    """Announces over HTTP; `agent` calls trackers that the user named, `strict_agent` others.

    The agents are to follow redirects if that is wanted.
    """

    def __init__(self, agent: IAgent, strict_agent: IAgent, clock: IReactorTime) -> None:
        self._agent = agent
        self._strict_agent = strict_agent
        self._clock = clock

    async def announce(
        self, url: str, asked: BitTorrentAnnounce, *, strict: bool
    ) -> AnnounceReply:
        """Announce, and give the reply; see `AnnounceLink.announce`."""
        agent = self._strict_agent if strict else self._agent
        asking = Deferred.fromCoroutine(self._ask(agent, url, asked))
        late = self._clock.callLater(_TIMEOUT, asking.cancel)
        try:
            body = await asking
        except AnnounceFailed:
            raise
        except Exception as error:
            cause = _cause(error)
            if isinstance(cause, CancelledError) and late.active():
                raise cause from error
            raise AnnounceFailed(words_of(cause)) from error
        finally:
            if late.active():
                late.cancel()
        return read_reply(body)

    async def _ask(self, agent: IAgent, url: str, asked: BitTorrentAnnounce) -> bytes:
        bare, credentials = _split_credentials(announce_url(url, asked))
        headers = Headers(
            {
                "User-Agent": [f"p2pd/{__version__}"],
                "Accept-Encoding": ["identity"],
                "Connection": ["close"],
            }
        )
        if credentials:
            basic = base64.b64encode(credentials.encode()).decode()
            headers.addRawHeader("Authorization", f"Basic {basic}")
        # Some URLs have spaces or letters that are not ASCII; what is escaped stays so.
        escaped = quote(bare, safe=punctuation).encode("ascii")
        response: IResponse = await agent.request(b"GET", escaped, headers)
        if response.code != 200:
            drop(response)
            raise _status(response)
        return await self._read(response)

    async def _read(self, response: IResponse) -> bytes:
        body = Body(response, self._clock)
        received = bytearray()
        while data := await body.read():
            received += data
            if len(received) > _LONGEST_REPLY:
                body.close()
                raise AnnounceFailed(f"the reply has more than {_LONGEST_REPLY >> 10} KiB")
        return bytes(received)


def words_of(error: BaseException) -> str:
    """Say in few words why nothing was heard from a tracker, as an operating system would."""
    match error:
        case Refusal(reason=reason):
            return reason
        case CancelledError() | Late() | NoConnection():
            return TIMED_OUT
        case ConnectError(osError=int(number)) | OSError(errno=int(number)):
            return os.strerror(number)
        case ConnectionDone():
            return "End of file"
    return reason_of(error)


def _cause(error: BaseException) -> BaseException:
    """Give the first error where Twisted wraps several."""
    reasons = getattr(error, "reasons", None)
    if reasons and isinstance(reasons[0], Failure) and reasons[0].value is not None:
        return _cause(reasons[0].value)
    return error


def _status(response: IResponse) -> AnnounceFailed:
    phrase = response.phrase.decode("latin-1")[:200]
    return AnnounceFailed(f"{response.code} {phrase}", phrase, for_good=response.code == _GONE)


def _split_credentials(url: str) -> tuple[str, str]:
    """Take a user name and a password out of a URL, where agents do not look for them."""
    netloc = urlsplit(url).netloc
    credentials, _, host = netloc.rpartition("@")
    return url.replace(netloc, host, 1), unquote(credentials)
