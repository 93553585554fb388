"""Daemons with the same many downloads: p2pd and others, asked for lists by each of their APIs."""

import base64
import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fleet import Daemon
from peers import accepts, program
from processes import Failed, free_port, running
from sample import write_file

from p2pd.metainfo.create import describe

_TIMEOUT = 60.0
_START_TIMEOUT = 300.0
_LENGTH = 40_000
_PARTS = 0.5, 0.2, 0.1  # of all: seeds, paused, magnets; the rest looks for peers
_ANNOUNCED = 10  # one in so many has a tracker


class Torrent(NamedTuple):
    """One download of a library: its file, if it is here, and where it is announced."""

    path: Path
    infohash: str
    metainfo: bytes
    tracker: str | None

    @property
    def magnet(self) -> str:
        """The link that leads to it."""
        more = f"&tr={self.tracker}" if self.tracker else ""
        return f"magnet:?xt=urn:btih:{self.infohash}&dn={self.path.name}{more}"


@dataclass(frozen=True, slots=True)
class Library:
    """What a daemon is to have; nobody else has any of what it lacks."""

    seeds: Sequence[Torrent]
    paused: Sequence[Torrent]
    magnets: Sequence[Torrent]
    fetched: Sequence[Torrent]

    def __len__(self) -> int:
        return sum(map(len, (self.seeds, self.paused, self.magnets, self.fetched)))

    def __str__(self) -> str:
        parts = (f"{len(getattr(self, name))} {name}" for name in self.__slots__)
        return f"{len(self)} downloads: {', '.join(parts)}"


def make_library(directory: Path, count: int, tracker: str) -> Library:
    """Write small files and their metainfo; those of seeds stay in `directory`."""
    directory.mkdir()
    torrents = []
    bounds = [round(count * sum(_PARTS[:end])) for end in range(1, len(_PARTS) + 1)]
    for number in range(count):
        path = directory / f"a file with a name as long as most names are, {number:05}.bin"
        write_file(path, _LENGTH + number)
        told = tracker if number % _ANNOUNCED == 0 else None
        torrent = describe(path)
        metainfo = replace(torrent, trackers=((told,),) if told else ()).to_bytes()
        torrents.append(Torrent(path, torrent.infohash.hex(), metainfo, told))
        if number >= bounds[0]:
            path.unlink()
    parts = zip([0, *bounds], [*bounds, count], strict=True)
    return Library(*(torrents[start:end] for start, end in parts))


class Client:
    """Asks a daemon, with a connection for each request."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.headers: dict[str, str] = {}

    def send(
        self, method: str, path: str, body: str | bytes | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Send a request; returns the answer's status, headers and body."""
        with closing(http.client.HTTPConnection(self._address, timeout=_TIMEOUT)) as connection:
            connection.request(method, path, body, self.headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def call(self, method: str, path: str, body: str | bytes | None = None) -> bytes:
        """Send a request; raises Failed unless it is answered well."""
        status, _, text = self.send(method, path, body)
        if status >= HTTPStatus.BAD_REQUEST:
            raise Failed(f"{method} {path} was answered {status} {text[:500]!r}")
        return text


List = Callable[[], bytes]


class Holder(Protocol):
    """A daemon that has a library; `lists` are its calls by the name of what they give."""

    name: str
    pid: int
    lists: Mapping[str, List]

    def fill(self, library: Library) -> None:
        """Add all downloads, and wait until each is in its state."""


# What is asked of each, by how much of a download it gives.
FULL = "all facts"
DEEP = "all facts, files, pieces, peers"
EXCERPT = "excerpts"
WHOLE = "whole tasks"
PAGE = "a page of 50"
ALL = "one page of all"
TRANSFERS = "transfers"
POLLED = EXCERPT
"""What a web page asks for again and again."""


class P2pd:
    """A node, as a user starts it, and its tracker."""

    name = "p2pd"

    def __init__(self, stack: ExitStack, directory: Path, *options: str) -> None:
        # Trackers that metainfo names are believed less than the user: loopback must be allowed.
        nets = ("--allow-source-net", "127.0.0.0/8")
        self._daemon = Daemon(stack, "p2p-node", directory, *nets, *options)
        self._client = Client(self._daemon.address)
        self.pid = self._daemon.process.pid
        get = partial(self._client.call, "GET")
        deep = "?get_files=1&get_pieces=1&get_peers=1"
        self.lists = {
            FULL: partial(get, "/downloads"),
            DEEP: partial(get, f"/downloads{deep}"),
            EXCERPT: partial(get, "/task/list"),
            WHOLE: partial(get, "/task/list?exerpt=false"),
            PAGE: partial(self._rpc, "torrents.list", page_size=50),
            ALL: partial(self._rpc, "torrents.list", page_size=1_000_000),
            TRANSFERS: partial(get, "/api/v1/transfers"),
        }

    def _rpc(self, method: str, **params: Any) -> bytes:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self._client.call("POST", "/api/v1/jsonrpc", json.dumps(asked))

    def fill(self, library: Library) -> None:
        """Add all downloads, each by the API that it is usual in."""
        for torrent in library.seeds:
            self._daemon.call("share", {"path": str(torrent.path)})
            if torrent.tracker:
                path = f"/downloads/{torrent.infohash}/trackers"
                self._client.call("PUT", path, f"url={torrent.tracker}")
        for torrent in (*library.paused, *library.fetched):
            self._client.call("PUT", "/downloads", torrent.metainfo)
        for torrent in library.paused:
            self._client.call("PATCH", f"/downloads/{torrent.infohash}", "state=stop")
        for torrent in library.magnets:
            self._client.call("POST", "/task", json.dumps({"url": torrent.magnet}))
        _wait(lambda: self._has(library))

    def _has(self, library: Library) -> bool:
        states = [one["status"] for one in json.loads(self.lists[FULL]())["downloads"]]
        wanted = {
            "DLSTATUS_SEEDING": len(library.seeds),
            "DLSTATUS_STOPPED": len(library.paused),
            "DLSTATUS_METADATA": len(library.magnets),
        }
        return len(states) == len(library) and all(
            states.count(state) == count for state, count in wanted.items()
        )


# What its answers have of a download in the place of p2pd's facts.
_TRANSMISSION_EXCERPT = (
    *("hashString", "name", "status", "percentDone", "eta", "rateDownload"),
    "sizeWhenDone",
)
_TRANSMISSION_FACTS = (
    *_TRANSMISSION_EXCERPT,
    *("id", "rateUpload", "totalSize", "leftUntilDone", "haveValid", "desiredAvailable"),
    *("peersConnected", "peersSendingToUs", "peersGettingFromUs", "uploadedEver"),
    *("downloadedEver", "uploadRatio", "trackerStats", "uploadLimit", "downloadLimit"),
    *("downloadDir", "pieceCount", "pieceSize", "error", "errorString", "addedDate"),
    *("doneDate", "activityDate", "startDate", "queuePosition", "seedRatioLimit"),
    *("seedIdleLimit", "secondsDownloading", "secondsSeeding", "isPrivate", "comment", "labels"),
)
_TRANSMISSION_DEEP = (*_TRANSMISSION_FACTS, "files", "fileStats", "pieces", "peers")
_TRANSMISSION_SETTINGS = {
    "rpc-bind-address": "127.0.0.1",
    "bind-address-ipv4": "127.0.0.1",
    **dict.fromkeys(
        (
            *("dht-enabled", "lpd-enabled", "pex-enabled", "utp-enabled"),
            *("port-forwarding-enabled", "download-queue-enabled", "seed-queue-enabled"),
            *("queue-stalled-enabled", "rpc-authentication-required"),
        ),
        False,
    ),
}


class Transmission:
    """transmission-daemon, which looks for peers at trackers only, and has no queue."""

    name = "transmission"

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._directory = directory / "downloads"
        self._directory.mkdir(parents=True)
        port = free_port()
        settings = {
            **_TRANSMISSION_SETTINGS,
            "rpc-port": port,
            "peer-port": free_port(),
            "download-dir": str(self._directory),
        }
        (directory / "settings.json").write_text(json.dumps(settings), "utf-8")
        command = [program("transmission-daemon"), "-f", "-g", str(directory)]
        process = stack.enter_context(running(command, directory / "output.log"))
        _wait(lambda: accepts(port))
        self.pid = process.pid
        self._client = Client(f"127.0.0.1:{port}")
        _, headers, _ = self._client.send("POST", "/transmission/rpc", "{}")
        self._client.headers["X-Transmission-Session-Id"] = headers["X-Transmission-Session-Id"]
        self.lists = {
            FULL: self._get(_TRANSMISSION_FACTS),
            DEEP: self._get(_TRANSMISSION_DEEP),
            EXCERPT: self._get(_TRANSMISSION_EXCERPT),
            PAGE: self._get(_TRANSMISSION_FACTS, ids=list(range(1, 51))),
        }

    def _get(self, fields: Sequence[str], **arguments: Any) -> List:
        return partial(self._call, "torrent-get", fields=fields, **arguments)

    def _call(self, method: str, **arguments: Any) -> bytes:
        asked = json.dumps({"method": method, "arguments": arguments})
        text = self._client.call("POST", "/transmission/rpc", asked)
        if b'"result":"success"' not in text:
            raise Failed(f"transmission answered {text[:500]!r} to {method}")
        return text

    def fill(self, library: Library) -> None:
        """Add all downloads; a seed's file lies where it would be downloaded."""
        for torrent in library.seeds:
            (self._directory / torrent.path.name).hardlink_to(torrent.path)
        for torrent in (*library.seeds, *library.paused, *library.fetched):
            self._call(
                "torrent-add",
                metainfo=base64.b64encode(torrent.metainfo).decode(),
                paused=torrent in library.paused,
            )
        for torrent in library.magnets:
            self._call("torrent-add", filename=torrent.magnet)
        _wait(lambda: self._has(library))

    def _has(self, library: Library) -> bool:
        states = [
            one["status"] for one in json.loads(self.lists[EXCERPT]())["arguments"]["torrents"]
        ]
        stopped, downloading, seeding = 0, 4, 6
        going = len(library.magnets) + len(library.fetched)
        return [states.count(state) for state in (stopped, downloading, seeding)] == [
            len(library.paused),
            going,
            len(library.seeds),
        ]


def _wait(is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while not is_ready():
        if time.monotonic() > deadline:
            raise Failed(f"it is not ready after {_START_TIMEOUT:g} s")
        time.sleep(0.2)
