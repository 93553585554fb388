"""The twin in memory of a file that comes from elsewhere."""

from dataclasses import dataclass, field
from pathlib import Path

from p2pd.errors import Conflict, Unavailable
from p2pd.metainfo import create
from p2pd.node.ports import Content, Store


@dataclass
class Draft:
    """What is kept of one incoming file."""

    validator: str
    length: int | None
    data: bytearray = field(default_factory=bytearray)


class MemoryIncoming:
    """A file that is coming; implements `p2pd.node.ports.Incoming`."""

    def __init__(
        self,
        name: str,
        destination: str,
        key: str,
        *,
        replace: bool,
        store: Store,
        drafts: dict[str, Draft],
        published: dict[Path, bytes],
    ) -> None:
        self._name = name
        self._key = key
        self._replace = replace
        self._store = store
        self._drafts = drafts
        self._published = published
        empty = create.describe_stream(name, 0).finish()
        self._path = store.place(empty, destination)

    def _draft(self) -> Draft:
        try:
            return self._drafts[self._key]
        except KeyError:
            raise Unavailable(f"what has come of {self._name} disappeared") from None

    async def begin(self, validator: str, length: int | None, *, keep: bool = True) -> int:
        """Make ready for the rest of a file; see `Incoming.begin`."""
        if self._path in self._published and not self._replace:
            raise Conflict(f"{self._path} already exists: remove it, or ask to replace it")
        kept = self._drafts.get(self._key)
        known = keep and validator and kept
        if not known or (known.validator, known.length) != (validator, length):
            kept = self._drafts[self._key] = Draft(validator, length)
        if (length or 0) > (await self._store.space()).available:
            raise Unavailable(f"{self._path.parent} has too few bytes free: make room")
        assert kept is not None
        return len(kept.data)

    async def write(self, data: bytes) -> None:
        """Take what comes next; see `Incoming.write`."""
        draft = self._draft()
        if draft.length is not None and len(draft.data) + len(data) > draft.length:
            raise Conflict("the stream is longer than announced; describe it again")
        draft.data += data

    async def publish(self) -> Content:
        """Make it content; see `Incoming.publish`."""
        draft = self._draft()
        if draft.length not in (None, len(draft.data)):
            raise Conflict("the stream ended early; describe it again")
        if self._path in self._published and not self._replace:
            raise Conflict(f"{self._path} already exists: remove it, or ask to replace it")
        self._published[self._path] = bytes(draft.data)
        del self._drafts[self._key]
        _, content = await self._store.describe(self._path, self._name)
        return content

    async def close(self) -> None:
        """Keep what is there: nothing is lost here; see `Incoming.close`."""

    async def discard(self) -> None:
        """Drop what is there; see `Incoming.discard`."""
        self._drafts.pop(self._key, None)
