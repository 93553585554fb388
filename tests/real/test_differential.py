"""The same announces to opentracker and to ours: the same peers, the same counts.

What is left out or evened out, because the two differ on purpose:

* opentracker may hand a client its own address, and names seeds to seeds.  Ours does neither,
  so the asker is left out of its answers, and seeds of what a seed hears.
* opentracker hands out random peers beyond `numwant`; so swarms stay smaller than that.
* opentracker counts no second download of a client that has lost the first, but counts one of a
  client that was complete when it came, and does not know BEP 21's event; so who is complete
  stays so, only those who lacked something complete it, and nobody pauses.
"""

import random
from collections import Counter

import pytest

from tests.real.announces import Announce, HttpDoor, PublicTracker, UdpDoor
from tests.real.opentracker import running_opentracker

pytestmark = pytest.mark.real

STEPS = 4000
SWARMS = [random.Random(number).randbytes(20) for number in range(6)]
SOURCES = [f"127.0.0.{number}" for number in range(1, 9)]
PORTS = range(7000, 7006)  # with the sources 48 clients a swarm


@pytest.fixture
def theirs(require_program, tmp_path):
    """The URL of an opentracker with our swarms on its whitelist."""
    program = require_program("opentracker")
    with running_opentracker(program, tmp_path / "opentracker", SWARMS) as url:
        yield url


class Crowd:
    """Clients that do what clients do, one after the other; it knows who is a seed."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        self._left = {}
        self._finished = set()

    def next(self):
        """What the next client says."""
        client = (
            self._random.choice(SWARMS),
            self._random.choice(SOURCES),
            self._random.choice(PORTS),
        )
        left = self._left.get(client)
        if left is None:
            event, left = "started", self._random.choice([0, 500, 1000])
        elif self._random.random() < 0.2:
            event = "stopped"
        elif (left or client in self._finished) and self._random.random() < 0.4:
            event, left = "completed", 0  # some say so twice
            self._finished.add(client)
        else:
            event = self._random.choice(["", "", "", "started"])
            left = self._random.choice([left, 1000]) if left else 0
        self._left[client] = left
        infohash, source, port = client
        said = Announce(infohash, port, left, event, source=source, downloaded=1000 - left)
        if event == "stopped":
            del self._left[client]
            self._finished.discard(client)
        return said

    def comparable(self, said, heard):
        """What of an answer must be the same everywhere."""
        others = {
            (source, port): left
            for (infohash, source, port), left in self._left.items()
            if infohash == said.infohash
        }
        peers = {
            peer
            for peer in heard.peers - {(said.source, said.port)}
            if said.left or others.get(peer, 1)  # one that is not there must show up
        }
        return heard.complete, heard.incomplete, peers


@pytest.mark.parametrize("compiled", ["yes", "no"])
def test_same_announces_same_answers(compiled, theirs, twistd, tmp_path):
    ours = PublicTracker(twistd, tmp_path / "tracker", "--compiled", compiled)
    urls = {"theirs": theirs, "ours": ours.doors["http-4"]}
    http = {name: HttpDoor(url) for name, url in urls.items()}
    with (
        UdpDoor(theirs.removesuffix("/announce")) as their_udp,
        UdpDoor(ours.doors["udp-4"]) as our_udp,
    ):
        doors = [http, {"theirs": their_udp, "ours": our_udp}]
        choice = random.Random(4)
        crowd = Crowd(seed=5)
        told = Counter()
        for step in range(STEPS):
            said = crowd.next()
            door = choice.choice(doors)
            heard = {
                name: crowd.comparable(said, side.announce(said)) for name, side in door.items()
            }
            assert heard["ours"] == heard["theirs"], (step, said)
            told[said.event] += len(heard["ours"][2])
            if step % 100 == 0:
                for infohash in SWARMS:
                    for each in doors:
                        assert each["ours"].scrape(infohash) == each["theirs"].scrape(infohash)
    # Clients heard of many others, and who stopped of none.
    assert min(told[event] for event in ("", "started", "completed")) > 1000
    assert not told["stopped"]
