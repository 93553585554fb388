"""After a restart of the tracker thousands tell it again what they do, but not all at once."""

import heapq
import random
from collections import Counter
from types import SimpleNamespace

from p2pd.errors import Unavailable
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address, InfoHash, NodeId
from p2pd.node.announcer import Announcer
from p2pd.protocol.announcement import Handout
from p2pd.sim.clock import HeapClock
from p2pd.swarm.lifecycle import State
from p2pd.tracker.access import Access
from p2pd.tracker.announcing import Announcing

CLIENTS = 10_000
INTERVAL = 1800
BEAT = 3.0


def busiest(times, begin, end, width):
    """How many came in the busiest of the windows of this width between two times."""
    windows = Counter(int((time - begin) // width) for time in times if begin <= time < end)
    return max(windows.values())


def test_clients_that_came_in_the_same_second_drift_apart():
    rng = random.Random(8)
    access = Access(clock=lambda: 0.0)
    announcing = Announcing(None, access, interval=INTERVAL, rng=rng)
    rounds = 13
    # Each is told one of the intervals whenever it announces, and does as it is told.
    due = [(rng.random(), client) for client in range(CLIENTS)]
    announced = []
    while due[0][0] < rounds * INTERVAL:
        now, client = due[0]
        announced.append(now)
        heapq.heapreplace(due, (now + rng.choice(announcing.intervals), client))
    window = INTERVAL / 20
    fair = CLIENTS / 20
    crowds = [
        busiest(announced, number * INTERVAL, (number + 1) * INTERVAL, window) / fair
        for number in range(rounds)
    ]
    assert crowds[0] == 20, "all of them in the first second"
    assert max(crowds[1:]) < 3.0
    assert max(crowds[8:]) < 1.5


class RestartingTracker:
    """A tracker as all nodes see it: away for some time, and then another instance."""

    url = "http://tracker.example"

    def __init__(self, clock, away, back):
        self._clock = clock
        self._away = away
        self._back = back
        self.interval = 30.0
        self._rng = random.Random(9)
        self.announced = []

    async def beat(self, node_id, address):
        now = self._clock.seconds()
        if self._away <= now < self._back:
            raise Unavailable("it restarts")
        return "before" if now < self._back else "after"

    async def announce(self, announcement):
        self.announced.append(self._clock.seconds())
        return Handout((), self.interval * self._rng.uniform(0.8, 1.2))


def test_nodes_that_find_the_tracker_restarted_come_back_over_the_whole_interval():
    clock = HeapClock()
    rng = random.Random(10)
    back = 12.0
    tracker = RestartingTracker(clock, away=6.0, back=back)
    entry = SimpleNamespace(
        torrent=SimpleNamespace(infohash=InfoHash(bytes(20))),
        filename="file",
        state=State.COMPLETE,
        held=Bitfield.full(8),
        uploaded=0,
        downloaded=0,
        bytes_left=0,
    )
    announcers = [
        Announcer(
            tracker,
            [entry],
            clock=clock,
            node_id=NodeId(f"node-{number}"),
            zone="",
            address=lambda: Address("node.example:1"),
            interval=BEAT,
            rng=rng,
            met=lambda entry, peers: None,
            eager=lambda entry: False,
        )
        for number in range(CLIENTS)
    ]
    for announcer in announcers:
        clock.callLater(rng.uniform(0, BEAT), announcer.startService)
    clock.run(10**9, back + 2 * tracker.interval)
    again = [time for time in tracker.announced if time >= back]
    first_round = [time for time in again if time < back + tracker.interval]
    assert len(first_round) > 0.8 * CLIENTS
    # Their beats come every three seconds, wherever in those; so it is twentieths of the interval
    # that are compared.
    fair = CLIENTS / 20
    assert busiest(again, back, clock.seconds(), tracker.interval / 20) < 1.5 * fair
    for announcer in announcers:
        announcer.stopService()
