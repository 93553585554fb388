"""The APIs that drive a node as their clients speak them: the same verbs, the same facts.

Each dialect works over `ask(method, path, body=None, headers=None)`, which gives something with
`status` and `body`, be the node in memory or a process.  How the words of the dialects stand for
states is written down here anew, as the documents have it.
"""

import base64
import json
from dataclasses import dataclass, fields
from pathlib import PurePath
from urllib.parse import quote, urlencode

RUNNING = frozenset({"fetching metainfo", "allocating", "checking", "downloading"})
STATES = RUNNING | {"queued", "complete", "paused", "failed"}

DLSTATUS = {
    "DLSTATUS_WAITING4HASHCHECK": "queued",
    "DLSTATUS_METADATA": "fetching metainfo",
    "DLSTATUS_ALLOCATING_DISKSPACE": "allocating",
    "DLSTATUS_HASHCHECKING": "checking",
    "DLSTATUS_DOWNLOADING": "downloading",
    "DLSTATUS_SEEDING": "complete",
    "DLSTATUS_STOPPED": "paused",
    "DLSTATUS_STOPPED_ON_ERROR": "failed",
}
TASK_STATES = {
    "downloading": RUNNING | {"queued"},
    "paused": {"paused"},
    "finished": {"complete", "paused", "queued"},
    "invalid": {"failed"},
}
LIBTORRENT_STATES = {
    1: {"checking"},
    2: {"fetching metainfo"},
    3: {"downloading"},
    4: {"complete", "queued"},
    5: {"complete", "queued"},
    7: {"queued", "allocating"},
}
NO_LIMIT = (0, -1)
_UNKNOWN = ("does not exist", "not found in any session")


class RefusedError(Exception):
    """The API said no."""


@dataclass(frozen=True)
class Facts:
    """What a dialect tells of a download; None for what it has no word for.

    `states` are those that the words may stand for.  `complete` tells whether all that is wanted
    is here; times are in whole seconds.
    """

    id: str | None
    states: frozenset[str]
    complete: bool | None = None
    partial: bool | None = None
    name: str | None = None
    size: int | None = None
    wanted: int | None = None
    done: int | None = None
    progress: float | None = None
    percent: float | None = None
    received: int | None = None
    sent: int | None = None
    directory: str | None = None
    path: str | None = None
    error: str | None = None
    added: int | None = None
    finished: int | None = None
    down: int | None = None
    up: int | None = None
    position: int | None = None
    upload_limit: int | None = None
    download_limit: int | None = None
    seeds: int | None = None
    peers: int | None = None
    trackers: tuple[str, ...] | None = None
    files: tuple[tuple[str, int], ...] | None = None


class Downloads:
    """The downloads API."""

    adds = frozenset({"metainfo", "magnet", "torrent url", "url"})

    def __init__(self, ask):
        self._ask = ask

    def call(self, method, path, form=None, *, body=None):
        if form is not None:
            body = urlencode(form, doseq=True).encode()
        answer = self._ask(method, path, body)
        told = json.loads(answer.body)
        if "error" in told:
            assert answer.status >= 400
            raise RefusedError(told["error"])
        assert answer.status == 200
        return told

    def add(self, kind, source, **options):
        if kind == "metainfo":
            return self.call("PUT", "/downloads", body=source)["infohash"]
        return self.call("PUT", "/downloads", {"uri": source, **options})["infohash"]

    def _patch(self, name, **fields):
        self.call("PATCH", f"/downloads/{name}", fields)

    def pause(self, name):
        self._patch(name, state="stop")

    def resume(self, name):
        self._patch(name, state="resume")

    def recheck(self, name):
        self._patch(name, state="recheck")

    def move(self, name, directory):
        self._patch(name, state="move_storage", dest_dir=directory)

    def select(self, name, *indexes):
        self._patch(name, **{"selected_files[]": indexes})

    def limit(self, name, rate):
        self._patch(name, download_limit=rate)

    def remove(self, name, *, data):
        self.call("DELETE", f"/download/{name}", {"remove_data": int(data)})

    def ids(self):
        return _distinct(row["infohash"] for row in self.call("GET", "/downloads")["downloads"])

    def knows(self, name):
        return _knows(lambda: self.call("GET", f"/downloads/{name}"))

    def facts(self, name):
        row = self.call("GET", f"/downloads/{name}")["download"]
        files = self.call("GET", f"/downloads/{name}/files")["files"]
        state = DLSTATUS[row["status"]]
        unnamed = row["name"] == "Unknown name"
        return Facts(
            id=row["infohash"],
            states=frozenset({state}),
            complete={"complete": True, **dict.fromkeys(RUNNING, False)}.get(state),
            partial=not all(file["included"] for file in files),
            name=None if unnamed else row["name"],
            size=row["size"],
            progress=row["progress"],
            received=row["all_time_download"],
            sent=row["all_time_upload"],
            directory=row["destination"],
            error=row["error"],
            added=row["time_added"],
            finished=row["time_finished"],
            down=int(row["speed_down"]) if state == "downloading" else None,
            up=int(row["speed_up"]) if state in ("downloading", "complete") else None,
            position=row["queue_position"],
            upload_limit=row["upload_limit"],
            download_limit=row["download_limit"],
            seeds=row["num_connected_seeds"],
            peers=row["num_connected_peers"],
            trackers=tuple(each["url"] for each in row["trackers"] if each["url"][0] != "["),
            files=tuple((file["name"].rpartition("/")[2], file["size"]) for file in files),
        )


class Tasks:
    """The task API; downloads are found in it by infohash as well as by the SHA-1 of a source."""

    adds = frozenset({"magnet", "infohash", "torrent url", "url"})

    def __init__(self, ask):
        self._ask = ask

    def call(self, method, path, document=None):
        body = None if document is None else json.dumps(document).encode()
        answer = self._ask(method, path, body)
        assert answer.status == 200, answer.body
        told = json.loads(answer.body)
        if told["status"] != "success":
            raise RefusedError(told["errmsg"])
        return told

    def add(self, kind, source):
        return self.call("POST", "/task", {"url": source})["tid"]

    def pause(self, name):
        self.call("PUT", f"/task/tid/{name}?act=pause")

    def resume(self, name):
        self.call("PUT", f"/task/tid/{name}?act=resume")

    def remove(self, name, *, data):
        self.call("DELETE", f"/task/tid/{name}?del_file={'true' if data else 'false'}")

    def ids(self):
        tids = [row["tid"] for row in self.call("GET", "/task/list")["detail"]]
        return _distinct(self._info(tid)["infohash"] or tid for tid in tids)

    def _info(self, name):
        return self.call("GET", f"/task/tid/{name}/info")["detail"]

    def knows(self, name):
        return _knows(lambda: self._info(name))

    def facts(self, name):
        row = self.call("GET", f"/task/tid/{name}/status")["detail"]
        state = row["state"]
        fatal = [line["msg"] for line in row["log"] if line["type"] == "fatal"]
        return Facts(
            id=self._info(name)["infohash"] or row["tid"],
            states=frozenset(TASK_STATES[state]),
            complete={"finished": True, "invalid": None}.get(state, False),
            name=row["title"],
            wanted=row["total_bytes"],
            done=row["downloaded_bytes"],
            percent=float(row["percent"].rstrip("%")) / 100,
            directory=str(PurePath(row["filename"]).parent) if row["filename"] else None,
            path=row["filename"] or None,
            error=None if state == "invalid" and fatal else "",
            added=int(row["create_time"]),
            finished=int(row["finish_time"]),
            down=int(row["speed"]) if state == "downloading" else None,
        )


class JsonRpc:
    """The JSON-RPC API."""

    adds = frozenset({"metainfo", "magnet"})

    def __init__(self, ask, directory="/memory"):
        self._ask = ask
        self._directory = directory

    def call(self, method, **params):
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._ask("POST", "/api/v1/jsonrpc", json.dumps(call).encode())
        assert answer.status == 200, answer.body
        told = json.loads(answer.body)
        if "error" in told:
            raise RefusedError(told["error"]["message"])
        return told["result"]

    def add(self, kind, source, **options):
        options = {"save_path": self._directory, **options}
        if kind == "metainfo":
            options["ti"] = base64.b64encode(source).decode()
        else:
            options["magnet_uri"] = source
        return self.call("torrents.add", **options)["info_hash"][0]

    def _of(self, method, name, **params):
        return self.call(f"torrents.{method}", info_hash=[name, None], **params)

    def pause(self, name):
        self._of("pause", name)

    def resume(self, name):
        self._of("resume", name)

    def recheck(self, name):
        self._of("recheck", name)

    def move(self, name, directory):
        self._of("move", name, path=directory)

    def limit(self, name, rate):
        self._of("properties.set", name, download_limit=rate or -1)

    def remove(self, name, *, data):
        self.call("torrents.remove", info_hashes=[[name, None]], remove_data=data)

    def _rows(self):
        return self.call("torrents.list", page_size=1000)["torrents"]

    def ids(self):
        return _distinct(row["info_hash"][0] for row in self._rows())

    def knows(self, name):
        return _knows(lambda: self._of("files.list", name))

    def facts(self, name):
        row = next(row for row in self._rows() if row["info_hash"][0] == name)
        limits = self._of("properties.get", name)
        halted = "paused" in row["flags"]
        failed = row["error"] is not None
        assert halted or not failed
        states = (
            {"failed"} if failed else {"paused"} if halted else LIBTORRENT_STATES[row["state"]]
        )
        return Facts(
            id=row["info_hash"][0],
            states=frozenset(states),
            complete=None if failed else row["state"] in (4, 5),
            partial={4: True, 5: False}.get(row["state"]),
            name=row["name"],
            size=row["size"],
            done=row["total_done"],
            progress=row["progress"],
            received=row["all_time_download"],
            sent=row["all_time_upload"],
            directory=row["save_path"],
            error=row["error"]["message"] if failed else "",
            down=row["download_rate"] if "downloading" in states else None,
            up=row["upload_rate"] if states & {"downloading", "complete"} else None,
            position=None if row["state"] in (4, 5) else row["queue_position"],
            upload_limit=_limit(limits["upload_limit"]),
            download_limit=_limit(limits["download_limit"]),
            seeds=row["num_seeds"],
            peers=row["num_peers"],
            trackers=tuple(each["url"] for each in self._of("trackers.list", name)["trackers"]),
            files=tuple(
                (file["name"], file["size"]) for file in self._of("files.list", name)["files"]
            ),
        )


class Transfers:
    """The fleet API, which shows downloads whose metainfo is known."""

    def __init__(self, ask):
        self._ask = ask

    def _get(self, path):
        answer = self._ask("GET", f"/api/v1/{path}")
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def ids(self):
        return _distinct(row["infohash"] for row in self._get("transfers")["transfers"])

    def facts(self, name):
        row = self._get(f"transfers/{name}")["transfer"]
        moving = row["state"] in ("downloading", "complete")
        return Facts(
            id=row["infohash"],
            states=frozenset({row["state"]}),
            size=row["size"],
            received=row["downloaded"],
            sent=row["uploaded"],
            directory=str(PurePath(row["path"]).parent),
            path=row["path"],
            error=row["error"],
            added=int(row["added"]),
            finished=int(row["finished"] or 0),
            down=int(row["speed_down"]) if row["state"] == "downloading" else None,
            up=int(row["speed_up"]) if moving else None,
            upload_limit=row["upload_limit"],
            download_limit=row["download_limit"],
        )


def magnet(infohash, name=""):
    """A magnet link."""
    return f"magnet:?xt=urn:btih:{infohash}" + (f"&dn={quote(name)}" if name else "")


def agreed(told):
    """What all dialects tell of one download, each fact once; they must not contradict."""
    merged = {}
    for field in fields(Facts):
        if field.name in ("states", "percent"):
            continue
        said = {one: getattr(each, field.name) for one, each in told.items()}
        values = {value for value in said.values() if value is not None}
        assert len(values) < 2, f"they disagree about {field.name}: {said}"
        merged[field.name] = next(iter(values), None)
    states = frozenset.intersection(*(each.states for each in told.values()))
    assert len(states) == 1, {one: set(each.states) for one, each in told.items()}
    (state,) = states
    percent = next((each.percent for each in told.values() if each.percent is not None), None)
    if percent is not None and state != "checking":
        assert 0 <= merged["progress"] - percent < 0.0011, (percent, merged["progress"])
    assert (state == "failed") == bool(merged["error"])
    return Facts(states=states, percent=percent, **merged)


def _distinct(names):
    listed = list(names)
    assert len(set(listed)) == len(listed), f"listed twice: {listed}"
    return frozenset(listed)


def _knows(look):
    try:
        look()
    except RefusedError as refused:
        if not any(word in str(refused) for word in _UNKNOWN):
            raise
        return False
    return True


def _limit(rate):
    return 0 if rate in NO_LIMIT else rate
