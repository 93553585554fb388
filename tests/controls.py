"""What the APIs of a node speak for, around a node that a test has made."""

from p2pd.errors import Unavailable
from p2pd.frontends.control import Control
from p2pd.node.accounts import Accounts
from p2pd.node.acquisition import Acquisition
from p2pd.node.downloads import Downloads
from p2pd.node.outfit import Outfit
from p2pd.node.settings import NodeSettings
from p2pd.node.tracking import Tracking, new_peer_id
from p2pd.protocol.announce_client import AnnounceFailed
from p2pd.store.account_table import MemoryAccountTable


class NoTrackers:
    """An `AnnounceLink` to a world without BitTorrent trackers."""

    async def announce(self, url, asked, *, strict):
        raise AnnounceFailed("Connection refused")

    def close(self):
        pass


class NoWeb:
    """A `Web` without servers."""

    async def open(self, url, **asked):
        raise Unavailable(f"{url} does not answer")


def acquisition_of(node, surroundings, web) -> Acquisition:
    return Acquisition(
        node,
        web,
        surroundings.store,
        clock=surroundings.clock,
        rng=surroundings.rng,
        threads=surroundings.threads,
        trackers=[announcer.link for announcer in node._announcers],
    )


def tracking_of(surroundings, link, control) -> Tracking:
    return Tracking(
        link,
        clock=surroundings.clock,
        rng=surroundings.rng,
        peer_id=new_peer_id(surroundings.rng),
        port=lambda: 6881,
        local=lambda: ("127.0.0.1", 6881),
        tell=lambda *told: control().downloads.told(*told),  # noqa: PLW0108 - made later
    )


def control_of(node, surroundings, *, web=None, announces=None, **outfit) -> Control:
    accounts = Accounts(
        MemoryAccountTable(), b"secret" * 6, clock=surroundings.clock, threads=surroundings.threads
    )
    outfit = Outfit(
        surroundings,
        acquisition_of(node, surroundings, web or NoWeb()),
        tracking_of(surroundings, announces or NoTrackers(), lambda: control),
        **{"settings": NodeSettings(least_free=0)} | outfit,
    )
    control = Control(Downloads(node, outfit), accounts, lambda: control.ended.append(True))
    object.__setattr__(control, "ended", [])
    return control
