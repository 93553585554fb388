"""The user of a node in memory: what an API would call, and what its listeners hear."""

from pathlib import Path

from twisted.internet.defer import Deferred

from p2pd.metainfo import create
from p2pd.node.options import DownloadOptions
from p2pd.swarm.lifecycle import State

PIECE = 256 * 1024
TREE = {("a",): 3 * PIECE, ("b", "c"): 2 * PIECE, ("b", "d"): 4 * PIECE}


class User:
    def __init__(self, fleet, name="leech", **outfit):
        self.fleet = fleet
        self.name = name
        self.outfit = outfit
        self.begin()

    def begin(self):
        self.node = self.fleet.node(self.name, **self.outfit)
        self.downloads = self.fleet.control(self.node).downloads
        self.heard = []
        self.downloads.events.subscribe(self.heard.append)

    def kill_and_restart(self):
        self.fleet.kill(self.node)
        self.begin()

    def stop_and_restart(self):
        async def stop():
            await self.downloads.stopService()

        self.fleet.done(stop())
        self.begin()

    @property
    def disk(self):
        return self.fleet.disks[self.name]

    @property
    def table(self):
        return self.fleet.tables[self.name]

    def add(self, source, *, wait=True, **options):
        return self.do(self.downloads.add(source, DownloadOptions(**options), wait=wait))

    def do(self, coroutine):
        return self.fleet.done(coroutine)

    def view(self, job):
        return self.downloads.view(job)

    def only(self):
        [job] = self.downloads.jobs()
        return job

    def until(self, job, state):
        self.fleet.until(lambda: job.state is state)

    def complete(self, job):
        self.until(job, State.COMPLETE)
        self.fleet.advance(0.01)

    def kinds(self, job=None):
        return [str(one.kind) for one in self.heard if job is None or one.id in (job.id, job.tid)]

    def files(self, job):
        """What is published of a download, by path."""
        root = job.entry.content.path
        found = {}
        for place in self.disk.below(root):
            found[place.relative_to(root).parts] = self.disk.published[place]
        return found


class Hung:
    """What a slow store does: it waits, at one place, until it is told to go on."""

    def __init__(self, name):
        self.name = name
        self.waiting = []

    async def __call__(self, name):
        if name == self.name:
            waiting = Deferred()
            self.waiting.append(waiting)
            await waiting

    def go_on(self):
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(None)


def seed(fleet, name="image", pieces=20, node="seed"):
    """Share a file; gives its data and its torrent."""
    at = fleet.node(node) if isinstance(node, str) else node
    data = fleet.data(pieces * PIECE)
    return data, fleet.share(at, name, data).torrent


def seed_tree(fleet, name="tree", sizes=TREE, node="seed"):
    """Share a directory; gives its files and its torrent."""
    at = fleet.node(node)
    files = {path: fleet.data(size) for path, size in sizes.items()}
    for path, data in files.items():
        fleet.disks[node].published[Path("/shared", name, *path)] = data
    return files, fleet.done(at.share(Path("/shared", name), name)).torrent


def metainfo(name="alone", size=3 * PIECE):
    """The metainfo of a torrent that nobody has."""
    stream = create.describe_stream(name, size, PIECE)
    stream.feed(name[:1].encode() * size)
    return stream.finish()
