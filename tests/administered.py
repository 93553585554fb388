"""A tracker's admin API in memory: the tables it administers, and how to call it."""

import json
import random

from treq.testing import StubTreq
from twisted.internet.task import Clock

from p2pd.frontends.admin import admin_apis
from p2pd.frontends.admin_dialect import Admin
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.kit import application
from p2pd.frontends.metrics import Counted, Figures
from p2pd.frontends.root import Root
from p2pd.store.admin_tables import MemoryAdminTables
from p2pd.store.snapshot import MemorySnapshot
from p2pd.tracker.access import Access
from p2pd.tracker.administration import Administration
from p2pd.tracker.announcing import Announcing, Tally
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.persistence import Persistence

NOW = 1_706_976_000
TOKEN = "a token of the admin".replace(" ", "-")
LIFETIME = 1600.0  # so that the table's times are exact to 10 seconds


class Administered:
    """What the admin API stands in front of; `root` serves it."""

    def __init__(self, *, literal_304=False, strict=False, clock=None):
        self.clock = clock or Clock()
        self.clock.advance(NOW)
        self.table = CompactTable(lifetime=LIFETIME, now=NOW - 1000, rng=random.Random(1))
        self.access = Access(clock=self.clock.seconds)
        self.announcing = Announcing(self.table, self.access)
        self.announcing.open = True
        self.administration = Administration(self.table, self.access)
        self.tallies = {"http": (Tally(), Tally()), "udp": (Tally(), Tally())}
        self.figures = Figures(
            counts=self.administration.counts,
            nodes=lambda: 3,
            doors={name: lambda name=name: self.tallies[name] for name in self.tallies},
            enabled={"whitelist": False, "blacklist": True, "keys": False, "users": True},
            started=NOW - 60,
        )
        self.stored = MemoryAdminTables()
        persistence = Persistence(
            self.clock, self.announcing, self.stored, MemorySnapshot(), lifetime=LIFETIME
        )
        admin = Admin(self.administration, self.clock, literal_304)
        self.apis = admin_apis(admin, persistence, self.figures)
        gate = Gate(admin_token=TOKEN.encode(), strict=strict)
        root = Root(gate, self.apis[0][0].dialect, application(gate, self.apis), {})
        self.root = Counted(root, self.figures.visits)
        self.treq = StubTreq(self.root)

    async def send(self, method, path, body=None, **options):
        """Send one request without a token, unless it is in the path or the headers."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return await self.treq.request(method, f"http://tracker.test{path}", data=body, **options)

    async def __call__(self, request, body=None, status=200):
        """Send "METHOD path" with the token; return the JSON of the reply."""
        method, path = request.split()
        mark = "&" if "?" in path else "?"
        response = await self.send(method, f"{path}{mark}token={TOKEN}", body)
        content = await response.content()
        assert response.code == status, content
        assert response.headers.getRawHeaders("content-type") == [
            "application/json; charset=utf-8"
        ]
        return json.loads(content)
