"""Pages in a real browser, on a real node: those it invites drive it, all others get nothing."""

import pytest

from tests.real.browser import Browser, Site
from tests.real.fleet import MIB, make_file, until

pytestmark = pytest.mark.real

SIZE = 2 * MIB + 17
SUCCESS = {"status": "success"}


@pytest.fixture
def browser(tmp_path, require_program):
    return Browser(require_program("chromium"), tmp_path)


@pytest.fixture
def site():
    """`site(host)` is a new origin."""
    sites = []

    def start(host):
        sites.append(Site(host))
        return sites[-1]

    yield start
    for one in sites:
        one.close()


@pytest.fixture
def film(fleet, tmp_path):
    """A file that a node shares with a tracker."""
    fleet.start_tracker()
    file = make_file(tmp_path / "made" / "film.mp4", SIZE)
    fleet.share(fleet.start_node(), file)
    return file


@pytest.fixture
def infohash(fleet, film):
    return fleet.tracker.file("film.mp4")["infohash"]


@pytest.fixture
def standing(infohash):
    """`standing(node)` tells all that a page could have changed of a node with the film."""

    def look(node):
        answers = [
            node.call("GET", path).json
            for path in ("/config", "/settings", "/api/v1/system", "/task/state_counter")
        ]
        shown = node.call("GET", f"/downloads/{infohash}").json["download"]
        kept = {
            name: shown[name] for name in ("status", "time_added", "total_down", "destination")
        }
        return answers, kept, (node.downloads / "film.mp4").exists()

    return look


def with_film(node, infohash):
    node.fetch("film.mp4")
    path = f"/downloads/{infohash}"
    seeding = "DLSTATUS_SEEDING"
    until(lambda: node.call("GET", path).json["download"]["status"] == seeding)
    return node


def test_an_invited_page_drives_a_node(browser, site, fleet, film, infohash):
    ui = site("ui.example")
    node = fleet.start_node("--cors-origin", ui.origin)
    found = browser.open(ui, "drive", node=node.url, infohash=infohash)
    assert "wrong" not in found, found["wrong"]
    content = film.read_bytes()
    statuses = found["downloads"].pop("statuses")
    assert {"DLSTATUS_DOWNLOADING", "DLSTATUS_SEEDING"} <= {*statuses}
    assert found["downloads"] == {
        "added": {"started": True, "infohash": infohash},
        "finished": {"infohash": infohash, "name": "film.mp4", "hidden": False},
        "stopped": "DLSTATUS_STOPPED",
        "listed": [[infohash, ["film.mp4"]]],
        "part": [206, [*content[1000:2000]]],
        "removed": {"removed": True, "infohash": infohash},
        "left": [],
    }
    assert found["tasks"] == {
        "paused": SUCCESS,
        "listed": [[True, "paused"]],
        "resumed": SUCCESS,
        "finished": ["film.mp4", "100.0%", True],
        "removed": SUCCESS,
        "left": {"downloading": 0, "paused": 0, "finished": 0, "invalid": 0},
    }
    assert found["jsonRpc"] == {
        "added": {"info_hash": [infohash, None]},
        "listed": [["film.mp4", 1, SIZE]],
        "heard": ["torrent_added", "torrent_paused", "torrent_resumed", "torrent_removed"],
        "left": 0,
    }
    assert not (node.downloads / "film.mp4").exists()


def test_a_page_that_is_not_invited_gets_nothing(browser, site, fleet, infohash, standing):
    ui, foreign = site("ui.example"), site("foreign.example")
    node = with_film(fleet.start_node("--cors-origin", ui.origin), infohash)
    before = standing(node)
    found = browser.open(foreign, "forge", node=node.url, infohash=infohash)
    assert {what for _, what in found} == {"refused"}, found
    assert standing(node) == before


def test_a_name_that_is_made_to_lead_here_opens_nothing(browser, site, fleet, infohash, standing):
    foreign = site("foreign.example")
    node = with_film(fleet.start_node(), infohash)
    before = standing(node)
    foreign.behind = node.address
    found = browser.open(foreign, "forge", infohash=infohash)
    assert {what for _, what in found} == {403, "refused"}, found
    assert standing(node) == before


def test_what_others_try_in_vain_an_invited_page_can(browser, site, fleet, infohash):
    ui = site("ui.example")
    node = with_film(fleet.start_node("--cors-origin", ui.origin), infohash)
    found = browser.open(ui, "forge", node=node.url, infohash=infohash)
    assert "refused" not in {what for _, what in found}, found
    assert node.daemon.wait() == 0
    assert not (node.downloads / "film.mp4").exists()


@pytest.mark.parametrize("host", ["foreign.example", "ui.example"])
def test_a_cookie_is_of_no_use_to_pages_of_others(
    browser, site, fleet, infohash, standing, tmp_path, host
):
    """Not even to those at another port, to which browsers do send it."""
    tokens = tmp_path / "tokens"
    tokens.write_text("0123456789abcdef\n")
    tokens.chmod(0o600)
    node = fleet.start_node("--control-token-file", tokens)
    node.headers = {"Authorization": "Bearer 0123456789abcdef"}
    with_film(node, infohash)
    account = {"username": "ann", "password": "correct horse"}
    assert node.call("POST", "/api/v1/auth/init", account).status == 200
    before = standing(node)
    ui, foreign = site("ui.example"), site(host)
    ui.behind = node.address
    forging = foreign.page("forge", node=ui.origin, infohash=infohash)
    found = browser.open(ui, "login", heard_by=foreign, next=forging, **account)
    assert {what for _, what in found} == {"refused"}, found
    assert standing(node) == before
