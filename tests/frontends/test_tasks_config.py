"""The task API's view of the node's settings."""

import json
from urllib.parse import urlencode

import pytest

from tests.fleet import Door

SUCCESS = {"status": "success"}


class Config:
    def __init__(self, fleet, node):
        self._door = Door(fleet, node)

    def ask(self, method, body=None):
        response = self._door.ask(method, "/config", body)
        return response.code, json.loads(response.whole)

    def get(self):
        code, told = self.ask("GET")
        assert (code, told["status"]) == (200, "success")
        return told["config"]

    def post(self, body):
        code, told = self.ask("POST", body)
        assert code == 200
        return told


@pytest.fixture
def node(fleet):
    return fleet.node("node")


@pytest.fixture
def config(fleet, node):
    return Config(fleet, node)


def test_what_is_shown(config):
    shown = config.get()
    assert shown == {
        "general": {"download_dir": "/memory", "db_path": "", "log_size": 10},
        "server": shown["server"],
        "youtube_dl": {"ratelimit": 0},
    }
    assert {key: type(value) for key, value in shown["server"].items()} == {
        "host": str,
        "port": int,
    }


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"general": {"log_size": 3}, "youtube_dl": {"ratelimit": 5000}}),
        json.dumps({"general": {"log_size": "3"}, "youtube_dl": {"ratelimit": "5000"}}),
        urlencode({"general[log_size]": 3, "youtube_dl[ratelimit]": 5000}),
    ],
    ids=["numbers", "texts", "form"],
)
def test_what_can_be_changed(fleet, node, config, body):
    assert config.post(body.encode()) == SUCCESS
    shown = config.get()
    assert (shown["general"]["log_size"], shown["youtube_dl"]["ratelimit"]) == (3, 5000)
    settings = fleet.control(node).downloads.settings
    assert (settings.log_lines, settings.max_download_rate) == (3, 5000)


def test_what_is_left_out_stays(config):
    config.post({"general": {"log_size": 3}})
    assert config.post({"youtube_dl": {"ratelimit": 5000}}) == SUCCESS
    shown = config.get()
    assert (shown["general"]["log_size"], shown["youtube_dl"]["ratelimit"]) == (3, 5000)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"act": "update"},
        {"nonsense": {"a": 1}, "general": {"nonsense": 1}},
        {"general": {"download_dir": "/etc", "db_path": "/etc/passwd"}},
        {"server": {"host": "0.0.0.0", "port": 1}},
        {"youtube_dl": {"format": "best", "outtmpl": "%(title)s", "fomart": "", "proxy": ""}},
        {"general": {"log_size": "", "download_dir": ""}},
        {"general": 5, "youtube_dl": [1], "server": None},
    ],
)
def test_what_changes_nothing(config, body):
    before = config.get()
    assert config.post(body) == SUCCESS
    assert config.get() == before


def test_the_page_sends_back_what_it_was_shown(config):
    before = config.get()
    assert config.post(before) == SUCCESS
    assert config.get() == before


@pytest.mark.parametrize("value", [-1, "-1", 2**63])
def test_numbers_that_are_out_of_bounds(config, value):
    before = config.get()
    code, told = config.ask(
        "POST", {"general": {"log_size": 3}, "youtube_dl": {"ratelimit": value}}
    )
    assert told["status"] == "error"
    assert code in {200, 400}
    assert config.get() == before


@pytest.mark.parametrize("value", ["many", 1.5, True, {"a": 1}])
def test_what_is_no_number(config, value):
    before = config.get()
    told = config.post({"general": {"log_size": value}})
    assert (told["status"], told["errmsg"].partition(" must be ")[0]) == ("error", "log_size")
    assert config.get() == before


def test_a_proxy_is_refused_rather_than_ignored(config):
    before = config.get()
    told = config.post(
        {"general": {"log_size": 3}, "youtube_dl": {"proxy": "socks5://[::1]:1080"}}
    )
    assert (told["status"], "proxy" in told["errmsg"]) == ("error", True)
    assert config.get() == before
