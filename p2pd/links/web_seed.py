"""A web seed as a source of pieces: any server of whole files that knows Range (BEP 19)."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from p2pd.errors import Denied, Unavailable
from p2pd.links.http import Caller
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.files import FileEntry, Span
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Buffer, Follower


class _Seed:
    """What web seeds have in common: they hold everything, and are followed by knowing that."""

    origin = True

    def __init__(self, url: str) -> None:
        self.key = url

    def follow(self, torrent: Torrent, follower: Follower) -> None:
        """Say that everything is there; see `PeerLink.follow`."""
        follower.peer_has_bitfield(self.key, Bitfield.full(torrent.piece_count))

    def close(self) -> None:
        """Do nothing: there is no stream to end."""


class HttpSeed(_Seed):
    """A link to an HTTP web seed; implements `p2pd.node.ports.PeerLink`."""

    def __init__(self, url: str, caller: Caller, *, trusted: bool) -> None:
        super().__init__(url)
        self._caller = caller
        self._trusted = trusted

    async def fetch(self, torrent: Torrent, index: int, received: Callable[[int], None]) -> Buffer:
        """Get one piece, a request for each of its files; see `PeerLink.fetch`."""
        data = bytearray(torrent.piece_size(index))
        view = memoryview(data)
        for span in torrent.spans(index):
            if not span.file.padding:
                part = view[span.start : span.start + span.length]
                await self._fetch_span(torrent, span, part, received)
        return data

    async def _fetch_span(
        self, torrent: Torrent, span: Span, part: memoryview, received: Callable[[int], None]
    ) -> None:
        url = file_url(self.key, torrent, span.file)
        wanted = f"bytes={span.offset}-{span.offset + span.length - 1}"
        response = await self._caller.send(
            "GET", url, headers={"Range": wanted}, trusted=self._trusted
        )
        whole = span.length == span.file.length
        if response.code != 206 and not (response.code == 200 and whole):
            await self._caller.read(response, 65536)
            raise Unavailable(f"{url} answered {response.code} to a range request")
        await self._caller.fill(response, part, received)


def file_url(base: str, torrent: Torrent, file: FileEntry) -> str:
    """Where a web seed has one of a torrent's files (BEP 19)."""
    if torrent.single_file:
        return base + quote(torrent.name) if base.endswith("/") else base
    return "/".join([base.rstrip("/"), quote(torrent.name), *map(quote, file.path)])


class DirectorySeed(_Seed):
    """A local directory as a web seed (`file:` URL); implements `p2pd.node.ports.PeerLink`."""

    def __init__(self, url: str, root: Path, threads: Callable[..., Awaitable[bytearray]]) -> None:
        super().__init__(url)
        self._path = Path(unquote(urlsplit(url).path))
        self._root = root
        self._threads = threads
        if not self._path.is_relative_to(root):
            raise Denied(f"{url} is outside the origin directory {root}")

    async def fetch(self, torrent: Torrent, index: int, received: Callable[[int], None]) -> Buffer:
        """Read one piece; see `PeerLink.fetch`."""
        data = await self._threads(self._read, torrent, index)
        received(len(data))
        return data

    def _read(self, torrent: Torrent, index: int) -> bytearray:
        data = bytearray(torrent.piece_size(index))
        view = memoryview(data)
        for span in torrent.spans(index):
            if span.file.padding:
                continue
            path = self._path if torrent.single_file else self._path.joinpath(*span.file.path)
            # A URL is anybody's: it may lead out by "..", by a link, or to what never answers.
            real = path.resolve()
            if not real.is_relative_to(self._root.resolve()) or not real.is_file():
                raise Denied(f"{path} is not a file in the origin directory {self._root}")
            try:
                with path.open("rb", buffering=0) as file:
                    got = os.preadv(
                        file.fileno(), [view[span.start : span.start + span.length]], span.offset
                    )
            except OSError as error:
                raise Unavailable(f"cannot read {path}: {error.strerror}") from error
            if got != span.length:
                raise Unavailable(f"{path} is shorter than it was")
        return data
