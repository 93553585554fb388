"""The commands by which README.rst shows each API, taken from there and run as they stand."""

import json
import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.real.fleet import MIB, make_file, until

pytestmark = pytest.mark.real

README = Path(__file__).parents[2] / "README.rst"
# As the README has them.
DIRECTORY = "/srv/downloads"
TRACKER = "http://tracker.example:38080"
SIZE = 2 * MIB + 17


def commands(api):
    """The commands in the paragraph of the README that begins with the name of an API."""
    text = README.read_text()
    block = re.search(rf"^\*\*{api}\*\*.+?::\n\n(.+?)^(?=\S)", text, re.MULTILINE | re.DOTALL)
    assert block, f"the README shows no commands of {api}"
    lines = textwrap.dedent(block[1]).strip("\n")
    return re.split(r"\n(?! )", lines)


class Terminal:
    """Where somebody who reads the README types its commands in, one after the other."""

    def __init__(self, api, fleet, node):
        self.directory = fleet.path
        self._commands = commands(api)
        self._variables = {"NODE": node.url}
        self._meant = {DIRECTORY: str(node.downloads), TRACKER: fleet.tracker.url}
        self._watching = []

    def set(self, **variables):
        self._variables |= variables

    def type(self, *words):
        """Run the next command, which has these words in it; what it prints."""
        done = subprocess.run(
            self._next(words), **self._options, check=False, timeout=60, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, *words):
        """As `type`, for a command that prints JSON."""
        return json.loads(self.type(*words))

    def watch(self, *words):
        """As `type`, but for a command that does not end; returns what reads its output."""
        output = self.directory / f"watched-{len(self._watching)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                self._next(words), **self._options, stdout=file, stderr=subprocess.DEVNULL
            )
        self._watching.append(process)
        until(output.read_bytes)
        return output.read_text

    def close(self):
        """Interrupt what does not end by itself; there was no further command."""
        for process in self._watching:
            assert process.poll() is None
            process.terminate()
            process.wait(20)

    def at_end(self):
        assert not self._commands

    def _next(self, words):
        command = self._commands.pop(0)
        assert all(word in command for word in words), command
        for shown, meant in self._meant.items():
            command = command.replace(shown, meant)
        return ["bash", "-c", f"exec {command}"]

    @property
    def _options(self):
        return {"cwd": self.directory, "env": os.environ | {"no_proxy": "*"} | self._variables}


@pytest.fixture
def show(fleet, require_program):
    """`show(api, node)` opens a terminal with the commands of an API."""
    for program in ("bash", "curl"):
        require_program(program)
    terminals = []

    def start(api, node):
        terminals.append(Terminal(api, fleet, node))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


@pytest.fixture
def film(fleet, tmp_path):
    """A file that a node shares with a tracker; what it holds."""
    fleet.start_tracker()
    file = make_file(tmp_path / "made" / "film.mp4", SIZE)
    fleet.share(fleet.start_node(), file)
    return file.read_bytes()


@pytest.fixture
def infohash(fleet, film):
    return fleet.tracker.file("film.mp4")["infohash"]


def test_downloads(show, fleet, film, infohash, tmp_path):
    node = fleet.start_node()
    metainfo = fleet.tracker.call("GET", f"/api/v1/torrent/{infohash}").body
    node.downloads.mkdir(parents=True)
    for directory in (tmp_path, node.downloads):
        (directory / "film.torrent").write_bytes(metainfo)
    terminal = show("The downloads API", node)
    terminal.set(INFOHASH=infohash)
    here = node.downloads / "film.mp4"

    heard = terminal.watch("-N", "/events")
    assert json.loads(heard().splitlines()[0])["type"] == "events_start"
    added = {"started": True, "infohash": infohash}
    assert terminal.ask("-X PUT", "uri=file:") == added
    assert terminal.ask("-X PUT", "--data-binary @film.torrent") == added
    until(lambda: '"torrent_finished"' in heard())
    assert here.read_bytes() == film

    (shown,) = terminal.ask("?get_files=1&get_peers=1&get_pieces=1")["downloads"]
    assert (shown["infohash"], shown["status"]) == (infohash, "DLSTATUS_SEEDING")
    assert [(file["name"], file["size"]) for file in shown["files"]] == [("film.mp4", SIZE)]
    assert shown["pieces"]
    assert shown["peers"] is not None

    def status():
        return node.call("GET", f"/downloads/{infohash}").json["download"]["status"]

    modified = {"modified": True, "infohash": infohash}
    assert terminal.ask("state=stop") == modified
    assert status() == "DLSTATUS_STOPPED"
    assert terminal.ask("state=resume") == modified
    until(lambda: status() == "DLSTATUS_SEEDING")
    terminal.type("-r 0-999999", "/stream/0")
    assert (tmp_path / "head.mp4").read_bytes() == film[:1000000]
    terminal.type("-O -J", "/torrent")
    assert b"film.mp4" in (tmp_path / f"{infohash}.torrent").read_bytes()
    assert terminal.ask("-X DELETE", "remove_data=0") == {"removed": True, "infohash": infohash}
    assert node.call("GET", "/downloads").json["downloads"] == []
    assert here.read_bytes() == film
    assert terminal.ask("createtorrent?download=1")["torrent"]
    until(lambda: node.call("GET", "/downloads").json["downloads"])
    assert status() == "DLSTATUS_SEEDING"
    terminal.at_end()


def test_tasks(show, fleet, film):
    node = fleet.start_node("--max-download-rate", "50K")
    terminal = show("The task API", node)

    made = terminal.ask("-d url=film.mp4")
    assert made["status"] == "success"
    terminal.set(TID=made["tid"])
    until(lambda: node.call("GET", f"/task/tid/{made['tid']}/status").json["detail"]["valid"])
    (task,) = terminal.ask("/task/list?state=downloading")["detail"]
    assert (task["tid"], task["title"]) == (made["tid"], "film.mp4")
    detail = terminal.ask("/status")["detail"]
    assert (detail["state"], detail["total_bytes"]) == ("downloading", SIZE)

    def state():
        return node.call("GET", f"/task/tid/{made['tid']}/status").json["detail"]["state"]

    assert terminal.ask("?act=pause") == {"status": "success"}
    assert state() == "paused"
    assert terminal.ask("?act=resume") == {"status": "success"}
    assert terminal.ask('"ratelimit": 1000000', "/config") == {"status": "success"}
    assert node.call("GET", "/config").json["config"]["youtube_dl"]["ratelimit"] == 1000000
    until(lambda: state() == "finished")
    assert (node.downloads / "film.mp4").read_bytes() == film
    assert terminal.ask('"del_file": true', "/task/batch/delete") == {"status": "success"}
    assert node.call("GET", "/task/list").json["detail"] == []
    assert not (node.downloads / "film.mp4").exists()
    terminal.at_end()


def test_json_rpc(show, fleet, film, infohash):
    node = fleet.start_node("--allow-source-net", "127.0.0.1")
    terminal = show("JSON-RPC", node)
    terminal.set(INFOHASH=infohash)
    hashes = [infohash, None]

    heard = terminal.watch("-N", "/api/v1/events")
    assert heard().startswith("event: hello\n")
    assert terminal.ask('"torrents.add"')["result"] == {"info_hash": hashes}
    until((node.downloads / "film.mp4").exists)
    listed = terminal.ask('"torrents.list"')["result"]
    assert [(row["info_hash"], row["name"]) for row in listed["torrents"]] == [
        (hashes, "film.mp4")
    ]
    trackers = terminal.ask('"torrents.trackers.list"')["result"]["trackers"]
    assert [tracker["url"] for tracker in trackers] == [f"{fleet.tracker.url}/announce"]
    assert terminal.ask("/auth/init") == {"ok": True}
    assert terminal.ask("/auth/login")["token"]
    until(lambda: "event: torrent_added\n" in heard() and infohash in heard())
    assert film == (node.downloads / "film.mp4").read_bytes()
    terminal.at_end()
