"""What strangers say of a download in magnet links and metainfo, and how far it is believed."""

from dataclasses import replace

import pytest

from p2pd.errors import Busy, Denied, Invalid
from p2pd.metainfo.torrent import Torrent
from p2pd.node import intake
from tests.node.user import User, metainfo, seed

PRIVATE = "http://10.0.0.1/"


@pytest.fixture
def user(fleet):
    return User(fleet)


@pytest.fixture
def seeds(fleet):
    """The web seeds that were called, and whether strictly."""
    called = {}

    def web_seed(url, *, strict):
        called[url] = strict
        raise Denied(f"{url} is not called here")

    fleet.network.web_seed = web_seed
    return called


def test_web_seeds_of_a_magnet_link_do_not_pass_for_those_of_the_fleet(fleet, user, seeds):
    fleet.network.latency = 0.05
    _, torrent = seed(fleet, pieces=50)
    job = user.add(f"magnet:?xt=urn:btih:{torrent.infohash.hex()}&ws={PRIVATE}")
    fleet.until(lambda: job.entry is not None)
    fleet.advance(2, step=0.01)
    assert seeds.get(PRIVATE, True)
    assert PRIVATE not in job.entry.published.web_seeds


def test_web_seeds_of_metainfo_are_called_strictly(fleet, user, seeds):
    torrent = replace(metainfo(), web_seeds=(PRIVATE,))
    job = user.add(torrent.to_bytes())
    fleet.advance(2, step=0.01)
    assert seeds == {PRIVATE: True}
    assert not Torrent.from_bytes(user.downloads.metainfo(job)).web_seeds


def test_peers_that_a_magnet_link_names_are_not_told_the_token(fleet, user):
    met = []
    fleet.network.peer = lambda address, _own: met.append(address)
    torrent = metainfo()
    fleet.done(fleet.tracker.publish(torrent.to_bytes(), "alone"))
    job = user.add(f"magnet:?xt=urn:btih:{torrent.infohash.hex()}&x.pe=10.0.0.1:80")
    fleet.until(lambda: job.entry is not None)
    fleet.advance(2, step=0.01)
    assert not met


def test_a_further_source_is_bounded_as_the_first_is(user):
    torrent = metainfo()
    link = f"magnet:?xt=urn:btih:{torrent.infohash.hex()}"
    job = user.add(torrent.to_bytes())
    with pytest.raises(Invalid, match="4096"):
        user.add(f"{link}&dn={'x' * 5000}")
    assert not job.aliases


def test_no_more_than_so_many_downloads_wait_for_metainfo(user, monkeypatch):
    monkeypatch.setattr(intake, "_MOST_PENDING", 2)
    for number in range(2):
        user.add(f"{number:040x}")
    with pytest.raises(Busy, match="remove some"):
        user.add(f"{2:040x}")
    assert len(user.downloads.jobs()) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"selected": ("x" * 5000,)},
        {"selected": ("\ud800",)},
        {"selected": tuple(f"{number:04000}" for number in range(300))},
        {"web_seeds": ("http://x/" + "y" * 5000,)},
    ],
)
def test_what_is_kept_of_a_request_is_bounded(user, options):
    with pytest.raises(Invalid):
        user.add("1" * 40, **options)
    assert not user.downloads.jobs()
