"""The endgame: which slow request is worth a copy, asked of a second peer.

Once every piece that anyone holds has been asked for, a piece that is slow to come is asked of a
second peer too, if that one should be much sooner, or if the first has fallen silent. Whole
pieces are large, so copies are not sent merely because a slot is free.
"""

from collections.abc import Callable

from p2pd.swarm.peers import Limits, Peers
from p2pd.swarm.requests import Outstanding, Requests


class Endgame:
    """Knows what requests are outstanding, and tells which of them take too long."""

    def __init__(self, requests: Requests, peers: Peers, limits: Limits) -> None:
        self._requests = requests
        self._peers = peers
        self.limits = limits
        self.on = False

    def slowest(self, now: float, least_load: Callable[[], float]) -> list[Outstanding]:
        """Give the requests of which a peer of that load should bring a copy much sooner."""
        slow = [one for one in self._requests.copyable() if self.worth(one, 0.0, now)]
        if not slow:
            return slow
        load = least_load()
        slow = [one for one in slow if self.worth(one, load, now)]
        slow.sort(key=lambda one: max(now - one.heard, self._remaining(one)), reverse=True)
        return slow

    def worth(self, one: Outstanding, load: float, now: float) -> bool:
        """Tell whether a copy from a peer of this load should be here well before the answer."""
        if now >= one.heard + self.limits.hurry:
            return True
        remaining = self._remaining(one)
        if remaining <= self.limits.hurry:
            return False
        return one.request.length * load * self.limits.endgame_gain < remaining

    def _remaining(self, one: Outstanding) -> float:
        """Estimate the seconds until a request is answered; 0 if its peer's rate is unknown."""
        peer = self._peers[one.request.peer]
        return one.left * peer.in_flight / peer.pace.rate if peer.pace.rate else 0.0

    def next_hurried(self, now: float) -> float | None:
        """Give the next time at which a request becomes slow, if nothing more is heard of it."""
        if not self.on:
            return None
        hurried = (one.heard + self.limits.hurry for one in self._requests.copyable())
        return min((time for time in hurried if time > now), default=None)
