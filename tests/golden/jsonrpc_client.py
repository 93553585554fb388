"""A small client of Porla's JSON-RPC API, which asks and reads as the original's web page does."""

import json


class RpcError(Exception):
    def __init__(self, code, message, data):
        super().__init__(code, message)
        self.code = code
        self.data = data


class UnauthorizedError(Exception):
    pass


class PorlaClient:
    """`send(method, path, headers, body)` makes a request; it gives (status, type, body)."""

    def __init__(self, send, token=None):
        self._send = send
        self._id = 0
        self._token = token

    def call(self, method, params=None):
        """The result of a method; a failure is raised."""
        self._id += 1
        body = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params or {}}
        headers = {"Content-Type": "text/plain;charset=UTF-8"}
        if self._token:
            headers["X-Porla-Token"] = f"Bearer {self._token}"
        answer = self._send("POST", "/api/v1/jsonrpc", headers, json.dumps(body).encode())
        return self._read(*answer)

    def _read(self, status, content_type, body):
        if status == 401:
            assert content_type.startswith("text/plain")
            assert body == b"Unauthorized"
            raise UnauthorizedError
        assert status == 200
        assert content_type.startswith("application/json")
        answer = json.loads(body)
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == self._id
        if "error" in answer:
            error = answer["error"]
            raise RpcError(error["code"], error["message"], error["data"])
        return answer["result"]

    def add(self, **params):
        return self.call("torrents.add", params)["info_hash"]

    def torrents(self, **params):
        return self.call("torrents.list", params)["torrents"]

    def trackers(self, info_hash):
        return self.call("torrents.trackers.list", {"info_hash": info_hash})["trackers"]
