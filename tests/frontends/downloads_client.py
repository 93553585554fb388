"""Asks a node in memory by the downloads API."""

import hashlib
import json

from p2pd.metainfo import bencode
from p2pd.metainfo.torrent import Torrent
from tests.fleet import Door


class Client:
    def __init__(self, fleet, node):
        self.door = Door(fleet, node)

    def ask(self, method, path, body=None, headers=None):
        body = body.encode() if isinstance(body, str) else body
        return self.door.ask(method, path, body, headers=headers)

    def call(self, method, path, body=None, headers=None):
        response = self.ask(method, path, body, headers)
        assert response.headers.getRawHeaders("Content-Type") == [
            "application/json; charset=utf-8"
        ]
        told = json.loads(response.whole)
        # To clients of this API any top-level `error` is a failure.
        assert ("error" in told) == (response.code >= 400)
        return response.code, told

    def get(self, path):
        return self.call("GET", path)

    def put(self, path, body, headers=None):
        return self.call("PUT", path, body, headers)

    def patch(self, infohash, body, headers=None):
        return self.call("PATCH", f"/downloads/{infohash}", body, headers)

    def listed(self):
        return self.get("/downloads")[1]["downloads"]

    def one(self, infohash):
        return self.get(f"/downloads/{infohash}")[1]["download"]


def several(*names) -> Torrent:
    """A torrent of files of 1000 bytes in one directory."""
    data = b"x" * 1000 * len(names)
    digests = [hashlib.sha1(data[at : at + 1024]).digest() for at in range(0, len(data), 1024)]
    info = {
        b"name": b"dir",
        b"piece length": 1024,
        b"pieces": b"".join(digests),
        b"files": [{b"length": 1000, b"path": [b"sub", name.encode()]} for name in names],
    }
    return Torrent.from_bytes(bencode.encode({b"info": info}))
