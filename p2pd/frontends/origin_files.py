"""The files of an origin directory by HTTP, as a web seed of last resort (BEP 19)."""

import os
import stat
from http import HTTPStatus
from pathlib import Path
from typing import cast

from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.static import File

from p2pd.errors import NotFound, Refusal
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import Dialect, refusal_reply
from p2pd.metainfo.paths import parse_relative


class OriginFiles(Resource):
    """GET and HEAD, with one Range, for every regular file below `root`; nothing is listed."""

    isLeaf = True
    policy = Policy.SWARM

    def __init__(self, root: Path, dialect: Dialect) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._root = root.resolve()
        self._dialect = dialect

    def render(self, request: Request) -> int | bytes:
        """Send the file that the rest of the path names."""
        if request.method not in {b"GET", b"HEAD"}:
            request.responseHeaders.setRawHeaders(b"Allow", [b"GET, HEAD"])
            reply = self._dialect(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD")
            return reply.put_on(request)
        try:
            path = self._find(request.postpath or [])
        except Refusal as refusal:
            return refusal_reply(refusal, self._dialect).put_on(request)
        # Many ranges make a reply of many parts, which web seeds' clients do not ask for.
        if b"," in (request.requestHeaders.getRawHeaders(b"Range") or [b""])[0]:
            request.requestHeaders.removeHeader(b"Range")
        request.responseHeaders.setRawHeaders(b"X-Content-Type-Options", [b"nosniff"])
        file = File(str(path))
        # Else it would guess from the name, and call an archive's compression a transfer's.
        file.type, file.encoding = "application/octet-stream", None
        return cast("int | bytes", file.render_GET(request))

    def _find(self, segments: list[bytes]) -> Path:
        try:
            parts = parse_relative(b"/".join(segments).decode())
            path = self._root.joinpath(*parts).resolve()
            regular = path.is_relative_to(self._root) and stat.S_ISREG(path.stat().st_mode)
            if regular and os.access(path, os.R_OK):
                return path
        except (OSError, UnicodeDecodeError):
            pass
        raise NotFound("the origin has no such file")
