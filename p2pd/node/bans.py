"""Peers that sent false bytes, and until when this node has nothing to do with them."""

_FIRST = 600.0
_LONGEST = 24 * 3600.0
_MOST = 10_000


class Bans:
    """Bans by address, each twice as long as the one before it; times in seconds."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, float]] = {}

    def ban(self, peer: str, now: float) -> None:
        """Ban a peer from now on."""
        _, last = self._until.pop(peer, (0.0, _FIRST / 2))
        if len(self._until) >= _MOST:
            del self._until[next(iter(self._until))]
        length = min(last * 2, _LONGEST)
        self._until[peer] = (now + length, length)

    def banned(self, peer: str, now: float) -> bool:
        """Whether a peer is banned at this moment."""
        until, _ = self._until.get(peer, (0.0, 0.0))
        return now < until
