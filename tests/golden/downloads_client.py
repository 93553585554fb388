"""A client of the downloads API as the original ones are: what they send, and what they read.

`Gui` sends what the program's own window of version 7.2 does: forms, with a Content-Type for PUT
and POST and none for PATCH and DELETE.  `Script` sends what scripts with `requests` and the later
dialect do: JSON, or text without any type, as the program's own tests did.
"""

import json
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

FORM = "application/x-www-form-urlencoded"
STATUSES = [
    "DLSTATUS_ALLOCATING_DISKSPACE",
    "DLSTATUS_WAITING4HASHCHECK",
    "DLSTATUS_HASHCHECKING",
    "DLSTATUS_DOWNLOADING",
    "DLSTATUS_SEEDING",
    "DLSTATUS_STOPPED",
    "DLSTATUS_STOPPED_ON_ERROR",
    "DLSTATUS_METADATA",
    "DLSTATUS_CIRCUITS",
]


class ShownError(Exception):
    """What the window shows in a dialog."""


@dataclass(frozen=True)
class Call:
    """A request, and how its reply is read."""

    method: str
    path: str
    body: str = ""
    headers: dict = field(default_factory=dict)

    @property
    def request(self):
        """As the golden pairs write it."""
        written = {"method": self.method, "path": self.path}
        if self.headers:
            written["headers"] = self.headers
        return written | ({"body": self.body} if self.body else {})


def read(body):
    """What a client makes of a reply: anything with an `error` is a failure."""
    told = json.loads(body)
    if "error" in told:
        error = told["error"]
        raise ShownError(error["message"] if isinstance(error, dict) else error)
    return told


class Gui:
    """The window of version 7.2."""

    def downloads(self, *, pieces=0, peers=0, files=0):
        path = f"/downloads?get_pieces={pieces}&get_peers={peers}&get_files={files}"
        return Call("GET", path), self.read_downloads

    def start(self, uri, *, hops=0, safe_seeding=0, destination="", files=()):
        body = f"uri={quote(uri, safe='')}&anon_hops={hops}&safe_seeding={safe_seeding}"
        if destination:
            body += f"&destination={quote(destination, safe='')}"
        body += "".join(f"&selected_files[]={quote(name, safe='')}" for name in files)
        return self._sent("PUT", "/downloads", body), lambda body: read(body)["infohash"]

    def set_state(self, infohash, state):
        call = Call("PATCH", f"/downloads/{infohash}", f"state={state}")
        return call, lambda body: read(body)["modified"]

    def select(self, infohash, indexes):
        body = "&".join(f"selected_files[]={index}" for index in indexes)
        call = Call("PATCH", f"/downloads/{infohash}", body)
        return call, lambda body: read(body)["modified"]

    def set_hops(self, infohash, hops):
        call = Call("PATCH", f"/downloads/{infohash}", f"anon_hops={hops}")
        return call, lambda body: read(body)["modified"]

    def remove(self, infohash, *, data):
        call = Call("DELETE", f"/downloads/{infohash}", f"remove_data={data:d}")
        return call, lambda body: read(body)["removed"]

    def files(self, infohash):
        return Call("GET", f"/downloads/{infohash}/files"), self.read_files

    def torrent_info(self, uri):
        call = Call("GET", f"/torrentinfo?uri={quote(uri, safe='')}")
        return call, lambda body: read(body)["metainfo"]["info"]["name"]

    def create(self, files, *, name="", description="", trackers=()):
        body = f"name={quote(name)}&description={quote(description)}"
        body += "".join(f"&files[]={quote(file, safe='')}" for file in files)
        body += "".join(f"&trackers[]={quote(url, safe='')}" for url in trackers)
        return self._sent("POST", "/createtorrent", body), lambda body: read(body)["torrent"]

    def settings(self):
        return Call("GET", "/settings"), lambda body: read(body)["settings"]["libtorrent"]

    def set_settings(self, settings):
        call = self._sent("POST", "/settings", json.dumps(settings))
        return call, lambda body: read(body)["modified"]

    def state(self):
        return Call("GET", "/state"), lambda body: read(body)["state"]

    def statistics(self):
        call = Call("GET", "/statistics/tribler")
        return call, lambda body: read(body)["tribler_statistics"]["num_torrents"]

    def shutdown(self):
        return self._sent("PUT", "/shutdown", ""), lambda body: read(body)["shutdown"]

    def _sent(self, method, path, body):
        return Call(method, path, body, {"Content-Type": FORM})

    @staticmethod
    def read_downloads(body):
        """What the list shows of each download; all of it must be there."""
        shown = []
        for download in read(body)["downloads"]:
            status = STATUSES.index(download["status"])
            down, up = (int(download[f"speed_{way}"]) // 1024 for way in ("down", "up"))
            facts = [
                download["name"],
                status,
                f"{download['progress']:.0%}",
                download["size"],
                down,
                up,
                download["num_seeds"],
                download["num_peers"],
                int(download["eta"]),
                f"{download['availability']:.1f}",
                f"{download['ratio']:.2f}",
                download["anon_download"],
                download["hops"],
                download["vod_mode"],
                download["credit_mining"],
                download["safe_seeding"],
                [tracker["status"] for tracker in download["trackers"]],
                [peer["extended_version"] for peer in download.get("peers", ())],
            ]
            shown.append(facts)
        return shown

    @staticmethod
    def read_files(body):
        return [
            [file["index"], file["name"], file["size"], file["included"], file["progress"]]
            for file in read(body)["files"]
        ]


class Script:
    """Scripts: the program's own tests, and the dialect from version 7.5 on."""

    TEXT = "text/plain; charset=utf-8"
    JSON = "application/json"

    def start(self, uri, **more):
        return self._json("PUT", "/downloads", {"uri": uri, **more}), self._field("infohash")

    def start_as_text(self, **fields):
        call = Call("PUT", "/downloads", urlencode(fields), {"Content-Type": self.TEXT})
        return call, self._field("infohash")

    def update(self, infohash, **changes):
        return self._json("PATCH", f"/downloads/{infohash}", changes), self._field("modified")

    def remove(self, infohash, **fields):
        return self._json("DELETE", f"/downloads/{infohash}", fields), self._field("removed")

    def remove_as_text(self, infohash, **fields):
        path = f"/download/{infohash}"
        call = Call("DELETE", path, urlencode(fields), {"Content-Type": self.TEXT})
        return call, self._field("removed")

    def tracker(self, infohash, method, url):
        field = {"PUT": "added", "DELETE": "removed"}[method]
        call = self._json(method, f"/downloads/{infohash}/trackers", {"url": url})
        return call, self._field(field)

    def announce(self, infohash, url):
        path = f"/downloads/{infohash}/tracker_force_announce"
        return self._json("PUT", path, {"url": url}), self._field("forced")

    def _json(self, method, path, fields):
        return Call(method, path, json.dumps(fields), {"Content-Type": self.JSON})

    @staticmethod
    def _field(name):
        return lambda body: read(body)[name]
