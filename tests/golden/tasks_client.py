"""Clients of the task API, as its original ones behave: the web page, and scripts."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

Send = Callable[[str, str, dict[str, str], bytes | None], tuple[int, str, bytes]]
"""Sends (method, path, headers, body); returns (status, content type, body)."""


class Page:
    """youtube-dl-webui's page: vue-resource 1.0.3, whose replies it parses itself."""

    _ACCEPT = {
        "Accept": "application/json, text/plain, */*",
        "X-Requested-With": "XMLHttpRequest",
    }
    _JSON = {"Content-Type": "application/json;charset=utf-8"}

    def __init__(self, send: Send) -> None:
        self._send = send

    def add(self, url: str, options: dict[str, str]) -> Any:
        return self._change("POST", "/task", {"url": url, "ydl_opts": options})

    def pause(self, tid: str) -> Any:
        return self._change("PUT", f"/task/tid/{tid}?act=pause")

    def resume(self, tid: str) -> Any:
        return self._change("PUT", f"/task/tid/{tid}?act=resume")

    def remove(self, tid: str) -> Any:
        return self._change("DELETE", f"/task/tid/{tid}")

    def remove_with_data(self, tid: str) -> Any:
        return self._change("DELETE", f"/task/tid/{tid}?del_file=true")

    def list(self, state: str) -> Any:
        return self._call("GET", f"/task/list?state={state}", self._ACCEPT)

    def status(self, tid: str) -> Any:
        return self._call("GET", f"/task/tid/{tid}/status", self._ACCEPT)

    def preferences(self) -> Any:
        return self._call("GET", "/config", self._ACCEPT)

    def prefer(self, preferences: dict[str, Any]) -> Any:
        return self._change("POST", "/config", preferences)

    def _change(self, method: str, path: str, document: Any = None) -> Any:
        body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode()
        return self._call(method, path, self._ACCEPT | self._JSON, body)

    def _call(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> Any:
        status, content_type, text = self._send(method, path, headers, body)
        assert 200 <= status < 300, "network connection lost"
        assert not content_type.startswith("application/json"), "parsed twice"
        return json.loads(text)


class Script:
    """What the document has and the page leaves out; JSON must be called JSON, as aiohttp asks."""

    _FORM = {"Content-Type": "application/x-www-form-urlencoded"}
    _JSON = {"Content-Type": "application/json"}

    def __init__(self, send: Send) -> None:
        self._send = send

    def add(self, fields: dict[str, str]) -> Any:
        return self._call("POST", "/task", self._FORM, urlencode(fields).encode())

    def act(self, tid: str, query: str) -> Any:
        return self._call("PUT", f"/task/tid/{tid}{query}")

    def status(self, tid: str, query: str) -> Any:
        return self._call("GET", f"/task/tid/{tid}/status{query}")

    def info(self, tid: str) -> Any:
        return self._call("GET", f"/task/tid/{tid}/info")

    def list(self, query: str) -> Any:
        return self._call("GET", f"/task/list{query}")

    def count(self, spelling: str) -> Any:
        return self._call("GET", f"/task/{spelling}")

    def batch(self, action: str, document: Any) -> Any:
        body = json.dumps(document, separators=(",", ":")).encode()
        return self._call("POST", f"/task/batch/{action}", self._JSON, body)

    def ask(self, method: str, path: str) -> Any:
        return self._call(method, path)

    def _call(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Any:
        _, content_type, text = self._send(
            method, path, {"Accept": "*/*", **(headers or {})}, body
        )
        assert content_type.startswith("application/json")
        return json.loads(text)
