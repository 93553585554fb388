"""The downloads API: files of downloads for players, also while they are still arriving."""

import mimetypes
from dataclasses import dataclass

from twisted.web.server import Request

from p2pd.errors import NotFound
from p2pd.frontends import ranges
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.content import ContentSender
from p2pd.frontends.control import Control
from p2pd.frontends.downloads_dialect import error, find, make_api
from p2pd.frontends.raw import Raw
from p2pd.metainfo.files import FileEntry
from p2pd.node.entry import Entry

api = make_api("/downloads")

# What a browser would not run, whoever made the file.
_PLAYED = ("audio/", "video/")
_BYTES = "application/octet-stream"


@dataclass(frozen=True)
class Player:
    """What these operations speak for."""

    control: Control
    sender: ContentSender


@api.route("/<infohash>/stream/<index>", policy=Policy.READ)
async def stream(player: Player, _request: Request, infohash: str, index: str) -> "FileStream":
    """A file by its index, or a range of it; what a reader comes to is fetched first."""
    entry = find(player.control, infohash).entry
    if entry is None:
        raise NotFound("the files of this download are not known yet: ask again when they are")
    files = [file for file in entry.torrent.files if not file.padding]
    if not (index.isascii() and index.isdigit() and len(index) < 10 and int(index) < len(files)):
        raise NotFound(f"index {index} out of range")
    return FileStream(player.sender, entry, files[int(index)])


class FileStream(Raw):
    """One file, in order."""

    def __init__(self, sender: ContentSender, entry: Entry, file: FileEntry) -> None:
        super().__init__(error)
        self._sender = sender
        self._entry = entry
        self._file = file

    async def _answer(self, request: Request, _path: list[str]) -> None:
        guessed = mimetypes.guess_type(self._file.path[-1])[0] or _BYTES
        content_type = guessed if guessed.startswith(_PLAYED) else _BYTES
        etag = f"{self._entry.torrent.infohash.hex()}-{self._file.offset}"
        wanted = ranges.begin(request, self._file.length, etag.encode(), content_type.encode())
        if wanted:
            await self._sender.send_file(request, self._entry, self._file, wanted)
        request.finish()
