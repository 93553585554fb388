"""The oldest client of the task API: a page with Vue and vue-resource, in jsdom, on a real node.

What `npm/tasks.mjs` asks for, how, and how it reads the replies, is as in youtube-dl-webui's page.
"""

import json
import subprocess

import pytest

from tests.real.clients import NPM, install_npm_packages, json_lines
from tests.real.fleet import MIB, make_file, until

pytestmark = pytest.mark.real

ROW = ("state", "title", "size", "percent", "speed", "eta")


class Page:
    """The page, opened; what it shows is read from its last line."""

    def __init__(self, url, output):
        self._output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                ["node", NPM / "tasks.mjs", url], stdin=subprocess.PIPE, stdout=file
            )

    def do(self, *command):
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    @property
    def shown(self):
        """What it shows, once it shows anything."""
        said = json_lines(self._output)
        assert not [value for what, value in said if what == "wrong"], said
        return next((value for what, value in reversed(said) if what == "page"), None)

    def shows(self, **facts):
        """Wait until it shows this; return all that it shows then."""

        def so():
            shown = self.shown
            return shown and all(shown[name] == value for name, value in facts.items()) and shown

        return until(so, what=f"{facts} not in {self.shown}")

    def rows(self):
        return [dict(zip(ROW, row, strict=True)) for row in (self.shown or {"list": ()})["list"]]

    def close(self):
        self._process.stdin.close()
        self._process.wait(20)


@pytest.fixture
def open_page(tmp_path, require_program):
    """`open_page(url)` opens the page on a node."""
    for program in ("node", "npm"):
        require_program(program)
    install_npm_packages()
    pages = []

    def start(url):
        pages.append(Page(url, tmp_path / f"page-{len(pages)}"))
        return pages[-1]

    yield start
    for page in pages:
        page.close()


def test_the_page_adds_watches_and_removes(open_page, fleet, tmp_path):
    fleet.start_tracker()
    seed, node = fleet.start_nodes(2)
    file = make_file(tmp_path / "made" / "film.bin", 3 * MIB)
    fleet.share(seed, file)
    page = open_page(node.url)
    page.shows(counters=["0"] * 5)

    page.do("add", "film.bin", {"format": "best"})
    page.shows(message="success")
    shown = page.shows(counters=["1", "0", "1", "0", "0"])
    assert page.rows() == [
        {
            "state": "finished",
            "title": "film.bin",
            "size": f"{file.stat().st_size}.00 B",
            "percent": "100.0%",
            "speed": "0.00 B",
            "eta": "0s",
        }
    ]
    assert shown["bars"] == ["100%"]

    page.do("select", 0)
    details = {"title": "film.bin", "url": "film.bin", "ext": "bin", "format": "best"}
    shown = until(lambda: page.shown["details"]["format"] and page.shown)
    assert shown["details"].items() >= details.items()
    assert shown["details"]["filename"] == str(node.downloads / "film.bin")
    assert all(shown["dates"])
    assert shown["log"]

    page.do("add", "film.bin", {})
    page.shows(message="URL is already added")
    page.do("act", 0, "pause")
    page.shows(message="Task is finished or invalid or inexistent")

    page.do("remove", 0, True)
    page.shows(message="success", counters=["0"] * 5)
    assert not (node.downloads / "film.bin").exists()
    assert file.exists()


def test_the_page_pauses_resumes_and_filters(open_page, fleet):
    fleet.start_tracker()
    page = open_page(fleet.start_node().url)
    page.do("add", "ab" * 20, {})
    page.shows(counters=["1", "1", "0", "0", "0"])
    page.do("act", 0, "resume")
    page.shows(message="Task is downloading")
    page.do("act", 0, "pause")
    page.shows(counters=["1", "0", "0", "1", "0"])
    page.do("look", "downloading")
    page.shows(list=[], counters=["1", "0", "0", "1", "0"])
    page.do("look", "paused")
    until(lambda: [row["state"] for row in page.rows()] == ["paused"])
    page.do("act", 0, "resume")
    page.do("look", "all")
    page.shows(counters=["1", "1", "0", "0", "0"])


def test_the_page_shows_why_a_url_is_invalid(open_page, fleet):
    fleet.start_tracker()
    node = fleet.start_node()
    page = open_page(node.url)
    source = f"{node.url}/there-is-no-such-file"
    page.shows(counters=["0"] * 5)
    page.do("add", source, {})
    page.shows(counters=["1", "0", "0", "0", "1"])
    page.do("select", 0)
    until(lambda: ["fatal", f"invalid url: {source}"] in [line[1:] for line in page.shown["log"]])


def test_the_page_shows_and_changes_preferences(open_page, fleet):
    fleet.start_tracker()
    node = fleet.start_node()
    page = open_page(node.url)
    page.shows(counters=["0"] * 5)
    page.do("ask")
    directory, database, lines, *_ = until(
        lambda: any(page.shown["preferences"]) and page.shown["preferences"]
    )
    assert directory == str(node.downloads)
    assert database.startswith(str(node.directory))
    assert lines == "10"
    page.do("prefer", "log_size", "3")
    page.shows(message="success")
    assert node.call("GET", "/config").json["config"]["general"]["log_size"] == 3
