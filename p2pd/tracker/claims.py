"""Who is making a file known that nobody has yet; decides by the `now` it is given."""

from p2pd.errors import Invalid, Unavailable
from p2pd.metainfo.ids import NodeId
from p2pd.metainfo.paths import MAX_PATH


class Claims:
    """Names, each claimed by one node until `timeout` seconds after it last said so.

    The dict is ordered by time, so that expiry costs nothing for claims that stay.
    """

    def __init__(self, *, timeout: float, capacity: int) -> None:
        self._timeout = timeout
        self._capacity = capacity
        self._held: dict[str, tuple[NodeId, float]] = {}

    def take(self, name: str, node: NodeId, now: float) -> bool:
        """Claim a name, or renew that; False if another node has it.

        Raises Invalid for a name that is too long, Unavailable if there are too many claims.
        """
        if not 0 < len(name) <= MAX_PATH:
            raise Invalid(f"a name has 1 to {MAX_PATH} characters")
        self._expire(now)
        holder, _ = self._held.get(name, (node, now))
        if holder != node:
            return False
        self._held.pop(name, None)
        if len(self._held) >= self._capacity:
            raise Unavailable("this tracker knows too many claims; try again later")
        self._held[name] = node, now
        return True

    def release(self, name: str, node: NodeId) -> None:
        """Let others claim a name, if this node has it."""
        if name in self._held and self._held[name][0] == node:
            del self._held[name]

    def leave(self, node: NodeId) -> None:
        """Release all names of a node."""
        for name in [name for name, (holder, _) in self._held.items() if holder == node]:
            del self._held[name]

    def _expire(self, now: float) -> None:
        expired = []
        for name, (_, renewed) in self._held.items():
            if renewed + self._timeout >= now:
                break
            expired.append(name)
        for name in expired:
            del self._held[name]
