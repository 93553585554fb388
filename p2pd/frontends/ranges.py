"""Byte ranges: the head of a reply to whoever asks for some bytes of something (RFC 9110)."""

from twisted.web.http import CACHED
from twisted.web.server import Request
from werkzeug.http import parse_range_header


def begin(request: Request, length: int, etag: bytes, content_type: bytes) -> range | None:
    """Write the head of a reply; the range of bytes to send, or None if no body follows.

    Knows Range (one range), If-Range, If-None-Match and HEAD (RFC 9110).
    """
    headers = request.responseHeaders
    headers.setRawHeaders(b"Content-Type", [content_type])
    headers.setRawHeaders(b"Accept-Ranges", [b"bytes"])
    headers.setRawHeaders(b"X-Content-Type-Options", [b"nosniff"])
    if request.setETag(b'"%b"' % etag) is CACHED:
        return None
    wanted = range(length)
    asked = request.getHeader(b"range")
    if (
        asked
        and request.method == b"GET"
        and request.getHeader(b"if-range") in (None, b'"%b"' % etag)
    ):
        parsed = parse_range_header(asked.decode("latin-1"))
        if parsed is not None and parsed.units == "bytes" and len(parsed.ranges) == 1:
            bounds = parsed.range_for_length(length)
            if bounds is None:
                request.setResponseCode(416)
                headers.setRawHeaders(b"Content-Range", [b"bytes */%d" % length])
                headers.setRawHeaders(b"Content-Length", [b"0"])
                return None
            wanted = range(*bounds)
            request.setResponseCode(206)
            headers.setRawHeaders(
                b"Content-Range", [b"bytes %d-%d/%d" % (wanted.start, wanted.stop - 1, length)]
            )
    headers.setRawHeaders(b"Content-Length", [b"%d" % len(wanted)])
    return None if request.method == b"HEAD" else wanted
