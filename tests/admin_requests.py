"""Requests to a tracker's admin API as they stand in files, sent over a connection in memory.

A request is a line of method and target, and the lines of its body; an empty line ends it. What
no HTTP server lets pass in a method or a target is made what it does let pass.
"""

import json
import random
import re
from urllib.parse import quote_from_bytes

from twisted.internet.testing import StringTransport

from p2pd.frontends.site import Site
from p2pd.tracker.records import STARTED, UserRecord
from p2pd.tracker.users import hash_of
from tests.administered import LIFETIME, NOW, TOKEN, Administered

HASH = bytes.fromhex("0123456789abcdef0123456789abcdef01234567")
NAME = "550e8400-e29b-41d4-a716-446655440000"
_METHOD = re.compile(rb"[A-Z]{1,16}")
_SAFE = bytes(range(0x21, 0x7F)).decode()
_RESPONSE = re.compile(rb"HTTP/1\.1 ([0-9]{3}) .*\r\n((?:[-A-Za-z]+: .*\r\n)+)\r\n((?s:.*))")
_TURNS = 1000


class Administrated:
    """An admin API that is asked again and again, from the same state."""

    def __init__(self):
        self._admin = Administered()
        self._site = Site(self._admin.root, timeout=None)

    def check(self, content):
        """Send the requests in a file; fail if one is answered badly."""
        self._begin()
        for request in content.split(b"\n\n"):
            line, _, body = request.partition(b"\n")
            method, _, target = line.partition(b" ")
            self._check(
                method if _METHOD.fullmatch(method) else b"POST",
                b"/" + quote_from_bytes(target, safe=_SAFE).encode().lstrip(b"/"),
                body,
            )

    def _begin(self):
        """Have one of everything. A new API would take a hundred times as long as a request."""
        admin = self._admin
        admin.table.__init__(lifetime=LIFETIME, now=NOW - 1000, rng=random.Random(1))
        admin.access.__init__(clock=admin.clock.seconds)
        admin.stored.__init__()
        admin.table.put(HASH, 5)
        for number, left in ((1, 0), (2, 7)):
            address = bytes([10, 0, 0, number, 0, 80])
            admin.table.announce(HASH, address, b"-qB4530-NoxCXf*!&^&B", left, 1, 2, STARTED, 0)
        for which in ("whitelist", "blacklist"):
            admin.administration.put_listed(which, HASH)
        admin.administration.put_key(HASH, 3600)
        admin.administration.put_user(UserRecord(hash_of(NAME), NAME, HASH))

    def _check(self, method, target, body):
        found = _RESPONSE.fullmatch(self._send(method, target, body))
        assert found, "this is no response"
        status, headers, content = int(found[1]), found[2].split(b"\r\n"), found[3]
        assert status < 500, content
        if b"Content-Type: application/json; charset=utf-8" not in headers:
            assert status == 200, status
            assert target.startswith(b"/metrics"), headers
        elif method != b"HEAD":
            assert isinstance(json.loads(content), dict)

    def _send(self, method, target, body):
        connection = self._site.buildProtocol(None)
        transport = StringTransport()
        connection.makeConnection(transport)
        head = b"%b %b HTTP/1.1\r\nHost: tracker\r\nConnection: close\r\n" % (method, target)
        head += b"Authorization: Bearer %b\r\nContent-Length: " % TOKEN.encode()
        connection.dataReceived(head + b"%d\r\n\r\n" % len(body) + body)
        for _ in range(_TURNS):
            if transport.disconnecting:
                return transport.value()
            self._admin.clock.advance(0)
        raise AssertionError("there is no answer")
