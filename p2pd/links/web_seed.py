"""A web seed as a source of pieces: any server of whole files that knows Range (BEP 19)."""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from p2pd.errors import Denied, Unavailable
from p2pd.links.http import Caller
from p2pd.links.receiving import Rooms
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.files import FileEntry, Span
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Follower, Landing
from p2pd.swarm.rates import TokenBucket


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

    async def fetch(self, torrent: Torrent, indexes: Sequence[int], landing: Landing) -> None:
        """Get pieces, a request for each of their files; see `PeerLink.fetch`."""
        for index in indexes:
            room = landing.room(index)
            for span in torrent.spans(index):
                part = room[span.start : span.start + span.length]
                if span.file.padding:
                    part[:] = bytes(len(part))
                    continue

                def received(count: int, index: int = index) -> None:
                    landing.received(index, count)

                rooms = Rooms(iter([part]), len(part), received=received)
                await self._fetch_span(torrent, span, rooms, landing.limit)
            landing.landed(index)

    async def _fetch_span(
        self, torrent: Torrent, span: Span, rooms: Rooms, limit: TokenBucket
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
        await self._caller.receive(response, rooms, limit)


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

    async def fetch(self, torrent: Torrent, indexes: Sequence[int], landing: Landing) -> None:
        """Read pieces; see `PeerLink.fetch`."""
        for index in indexes:
            data = await self._threads(self._read, torrent, index)
            landing.room(index)[:] = data
            landing.received(index, len(data))
            landing.landed(index)

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
