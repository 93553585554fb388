"""Which nodes are alive, where, and which were until lately; decides by the `now` it is given."""

from dataclasses import dataclass

from p2pd.errors import Unavailable
from p2pd.metainfo.ids import Address, NodeId


@dataclass(frozen=True, slots=True)
class Session:
    """A live node: where it listens and when it last said so."""

    address: Address
    seen: float


class Registry:
    """Nodes by id.

    A node is live for `timeout` seconds after each heart beat, then absent for `memory` seconds,
    in which what it holds is not forgotten. Both dicts are ordered by time, so that expiry costs
    nothing for nodes that stay.
    """

    def __init__(self, *, timeout: float, memory: float, capacity: int) -> None:
        self._timeout = timeout
        self._memory = memory
        self._capacity = capacity
        self._live: dict[NodeId, Session] = {}
        self._absent: dict[NodeId, float] = {}

    def beat(self, node: NodeId, address: Address, now: float) -> bool:
        """Note that `node` lives at `address`; tell whether it was not live before."""
        returned = self._live.pop(node, None) is None
        if returned:
            self._make_room(node)
            self._absent.pop(node, None)
        self._live[node] = Session(address, now)
        return returned

    def remember(self, node: NodeId, now: float) -> None:
        """Note that `node` exists, though it may not have said yet where."""
        if node not in self._live:
            self._make_room(node)
            self._absent.pop(node, None)
            self._absent[node] = now

    def leave(self, node: NodeId) -> None:
        """Forget `node`."""
        self._live.pop(node, None)
        self._absent.pop(node, None)

    def address(self, node: NodeId) -> Address | None:
        """Return where a live node listens, None for any other."""
        session = self._live.get(node)
        return session.address if session else None

    def expire(self, now: float) -> list[NodeId]:
        """Make silent nodes absent; return them."""
        expired = []
        for node, session in self._live.items():
            if session.seen + self._timeout >= now:
                break
            expired.append(node)
        for node in expired:
            del self._live[node]
            self._absent[node] = now
        return expired

    def forget(self, now: float) -> list[NodeId]:
        """Forget nodes that have been absent for long; return them."""
        forgotten = []
        for node, since in self._absent.items():
            if since + self._memory >= now:
                break
            forgotten.append(node)
        for node in forgotten:
            del self._absent[node]
        return forgotten

    def sessions(self) -> dict[NodeId, Session]:
        """Return the live nodes, the longest silent first."""
        return dict(self._live)

    def __contains__(self, node: NodeId) -> bool:
        return node in self._live

    def __len__(self) -> int:
        return len(self._live)

    def _make_room(self, node: NodeId) -> None:
        known = len(self._live) + len(self._absent)
        if node not in self._absent and known >= self._capacity:
            raise Unavailable(f"this tracker knows {known} nodes already, and takes no more")
