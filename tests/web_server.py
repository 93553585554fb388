"""A small web server on loopback, and names that lead where a test wants."""

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site


class Named:
    """The reactor, but for the names that it knows: each lead to the addresses given here."""

    def __init__(self, **hosts):
        self.hosts = {name.replace("_", "."): addresses for name, addresses in hosts.items()}
        self.asked = []
        self.nameResolver = self

    def __getattr__(self, name):
        return getattr(reactor, name)

    def resolveHostName(self, receiver, host, port=0, *_):
        self.asked.append(host)
        receiver.resolutionBegan(None)
        addresses = self.hosts.get(host, [host] if host[0] in "0123456789:" else [])
        for address in addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, port))
        receiver.resolutionComplete()


class Server(Resource):
    """Answers each path as `pages` says: (code, headers, body), or a function of the request."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.pages = {}
        self.asked = []
        self.port = reactor.listenTCP(0, Site(self), interface="127.0.0.1")
        self.number = self.port.getHost().port

    def close(self):
        """Listen no more, and let connections end."""
        closing = maybeDeferred(self.port.stopListening)
        return closing.addCallback(lambda _: deferLater(reactor, 0.01))

    def url(self, path="/", host="127.0.0.1"):
        return f"http://{host}:{self.number}{path}"

    def headers(self, at=-1):
        return {name.lower().decode(): values[0].decode() for name, values in self.asked[at][1]}

    def render_GET(self, request):
        self.asked.append((request.uri.decode(), list(request.requestHeaders.getAllRawHeaders())))
        page = self.pages.get(request.path.decode(), (404, {}, b"nothing"))
        if callable(page):
            page = page(request)
        if page is NOT_DONE_YET:
            return page
        code, headers, body = page
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name, value)
        return body


def ranged(data, *, etag='"1"', **headers):
    """A page that knows Range and If-Range."""

    def page(request):
        asked = request.getHeader("Range")
        told = {"ETag": etag, **headers}
        if asked is None or request.getHeader("If-Range") not in (None, etag):
            return 200, told, data
        first = int(asked.removeprefix("bytes=").removesuffix("-"))
        told["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        return 206, told, data[first:]

    return page
