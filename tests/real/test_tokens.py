"""A fleet that shares a token: it works, nobody else gets in, and the token stays secret."""

import re

import pytest

from p2pd.frontends import fleet_node, fleet_tracker
from p2pd.frontends.authorisation import Policy
from tests.real.fleet import MIB, Fleet, ask, digests, make_file, until

pytestmark = pytest.mark.real

TOKEN = "correct-horse-battery-staple-42"
HEX = "0123456789abcdef0123456789abcdef01234567"
RAW = [
    f"/pieces/{HEX}",
    f"/files/{HEX}/a.img",
    f"/swarms/{HEX}/have",
    f"/metainfo/{HEX}",
]


@pytest.fixture
def fleet(twistd, tmp_path):
    return Fleet(twistd, tmp_path, TOKEN)


def guarded(*apis):
    """The method and path of every route that is not for everyone."""
    routes = [route for api in apis for route in api.routes if route.policy is not Policy.PUBLIC]
    assert len(routes) > 5
    return [
        (method, re.sub("<[^>]*>", HEX, route.path))
        for route in routes
        for method in route.methods
    ]


def test_the_fleet_works_and_keeps_others_out(fleet, tmp_path):
    (tmp_path / "origin").mkdir()
    tracker = fleet.start_tracker("--origin-dir", tmp_path / "origin")
    seed, node = fleet.start_nodes(2)
    file = make_file(tmp_path / "shared" / "a.img", 8 * MIB)
    fleet.share(seed, file)
    assert node.fetch("a.img")["state"] == "complete"
    assert digests(node.downloads / "a.img") == digests(file)

    asked = [
        (node, [*guarded(fleet_node.api, fleet_node.top), *[("GET", path) for path in RAW]]),
        (tracker, [*guarded(fleet_tracker.api, fleet_tracker.top), ("GET", "/origin/a.img")]),
    ]
    wrong = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}]
    for daemon, routes in asked:
        for method, path in routes:
            for headers in wrong:
                answer = ask(method, daemon.url + path, headers=headers)
                assert answer.status == 401, (method, path)
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
                assert answer.json["code"] == "401 Unauthorized"
        for path in ("/", "/api/v1/health"):
            assert ask("GET", daemon.url + path).status == 200

    for daemon in (tracker, seed, node):
        # A credential in the wrong place is not one either, and is not written down.
        assert ask("GET", f"{daemon.url}/api/v1/info?token={TOKEN}").status == 401
        daemon.call("GET", "/api/v1/info")
        assert daemon.terminate() == 0
        assert TOKEN not in daemon.log


def test_a_node_with_a_wrong_token_is_told_so(fleet, tmp_path):
    tracker = fleet.start_tracker()
    other = tmp_path / "other"
    other.mkdir()
    stranger = Fleet(fleet._twistd, other, "another-token-altogether")
    node = stranger.start_node("--heartbeat-interval", "0.3", tracker=tracker.url)

    about = until(lambda: _message(node))

    assert not about["reachable"]
    assert "401" in about["message"]
    assert "token" in about["message"]
    assert len(re.findall(rf"tracker {tracker.url} refuses this node.* token", node.log)) == 1
    assert "another-token-altogether" not in node.log
    assert tracker.nodes() == {}


def _message(node):
    (about,) = node.get("info")["trackers"]
    return about if "answered" in about["message"] else None


def test_users_of_a_node_have_tokens_of_their_own(twistd, tmp_path):
    tokens = {"a-reader-of-this": 1, "an-operator-of-it": 2, "its-administrator": 3}
    file = tmp_path / "control-tokens"
    file.touch(0o600)
    words = ["reader", "operator", ""]
    file.write_text(
        "".join(f"{token} {word}\n" for token, word in zip(tokens, words, strict=True))
    )
    node = twistd(
        "p2p-node",
        *("--listen", "tcp:0:interface=127.0.0.1", "--control-token-file", file),
        *("--cors-origin", "https://ui.example"),
    )
    asked = [
        ("GET", "/api/v1/info", None),
        ("POST", f"/api/v1/transfers/{HEX}/limits", {"max_upload_rate": 1}),
        ("POST", "/api/v1/limits", {"max_upload_rate": 0}),
    ]
    for least, (method, path, document) in enumerate(asked, 1):
        nobody = ask(method, node.url + path, document)
        assert (nobody.status, nobody.json["code"]) == (401, "401 Unauthorized")
        for token, role in tokens.items():
            answer = ask(method, node.url + path, document, headers={"X-Api-Key": token})
            assert (answer.status == 403) == (role < least)
            assert answer.status != 401
    preflight = {"Origin": "https://ui.example", "Access-Control-Request-Method": "POST"}
    assert ask("OPTIONS", f"{node.url}/api/v1/limits", headers=preflight).status == 204
    assert node.stop() == 0
    assert not any(token in node.text for token in tokens)


def test_they_do_not_guard_what_nodes_ask_of_each_other(twistd, tmp_path):
    file = tmp_path / "control-tokens"
    file.touch(0o600)
    file.write_text(TOKEN)
    options = ["--listen", "tcp:0", "--control-token-file", file]
    node = twistd("p2p-node", *options, ready=False)
    assert node.wait() == 1
    assert "refusing to listen on http://0.0.0.0:" in node.errors
    assert "a control token does not guard what nodes ask of each other" in node.errors
