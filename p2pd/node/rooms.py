"""Memory for pieces on their way: kept and used again, since fresh pages cost more than bytes."""

from mmap import mmap


class Rooms:
    """Lends memory; `most` bytes at most are kept for the next who asks."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free: dict[int, list[mmap]] = {}
        self._kept = 0
        self.lent = 0
        """Bytes in use."""
        self.planned = 0
        """Bytes that will be taken for what was asked of peers."""

    def take(self, size: int) -> memoryview:
        """As many bytes of memory, with anything in them."""
        self.lent += size
        free = self._free.get(size)
        if not free:
            # Mapped: what is not kept goes back to the system at once.
            return memoryview(mmap(-1, size))
        self._kept -= size
        return memoryview(free.pop())

    def give(self, room: memoryview) -> None:
        """Take back what `take` gave; its content is lost from now on."""
        size = len(room)
        self.lent -= size
        if self._kept + size > self._most and self._free.keys() - {size}:
            self._free.clear()  # memory of another size is of no more use
            self._kept = 0
        if self._kept + size <= self._most:
            self._kept += size
            owner = room.obj
            assert isinstance(owner, mmap)
            self._free.setdefault(size, []).append(owner)
