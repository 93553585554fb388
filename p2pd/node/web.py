"""What a node needs from outside to read web servers; `links` fills it in."""

from typing import Protocol


class Opened(Protocol):
    """A file at a URL that is being read; close it if it is not read to its end."""

    @property
    def url(self) -> str:
        """Where it was found in the end."""

    @property
    def name(self) -> str:
        """What to call it; a safe name."""

    @property
    def content_type(self) -> str:
        """Its media type, in lower case and without parameters; empty if untold."""

    @property
    def length(self) -> int | None:
        """Bytes in the whole file; None if untold."""

    @property
    def offset(self) -> int:
        """Where reading begins: as asked for, or 0 if the file changed or cannot be read so."""

    @property
    def validator(self) -> str:
        """What changes when the file changes; empty if untold."""

    async def read(self) -> bytes:
        """The next bytes, nothing at the end; raises `Unavailable` if it breaks off."""

    def close(self) -> None:
        """Read no more."""


class Web(Protocol):
    """Reads files of web servers."""

    async def open(
        self,
        url: str,
        *,
        strict: bool,
        credentials: str = "",
        offset: int = 0,
        validator: str = "",
    ) -> Opened:
        """Begin to read the file at a URL, which holds no password, with `credentials` if any.

        `strict` for URLs that others than our user gave.  From `offset` on if the file is still
        the one of the `validator`.  Raises `NotFound`, `Denied` (of our own rules too) and
        `Unavailable`.
        """
