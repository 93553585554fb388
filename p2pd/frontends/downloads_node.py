"""The downloads API: the node as a whole: whether it is up, its figures, and its end."""

from dataclasses import asdict

from twisted.web.server import Request

from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.downloads_dialect import make_api, say
from p2pd.frontends.kit import Reply

state_api = make_api("/state")
statistics_api = make_api("/statistics")
shutdown_api = make_api("/shutdown")


@state_api.route("", policy=Policy.READ)
async def state(control: Control, _request: Request) -> Reply:
    """Whether all that an earlier run left is back."""
    started = control.downloads.loaded.called
    return say(
        state="STARTED" if started else "STARTING",
        last_exception=None,
        readable_state="started" if started else "loading downloads",
    )


@statistics_api.route("/tribler", policy=Policy.READ)
async def statistics(control: Control, _request: Request) -> Reply:
    """Figures of the node, some of them by the names that clients of this API know."""
    figures = await control.downloads.statistics()
    return say(
        tribler_statistics={
            **asdict(figures),
            "db_size": figures.database_bytes,
            "database_size": figures.database_bytes,
            "num_torrents": figures.downloads,
            "num_channels": 0,  # there are none in p2pd, and clients ask for them
        }
    )


@shutdown_api.route("", policy=Policy.OWN, methods=("PUT",))
async def shutdown(control: Control, _request: Request) -> Reply:
    """End the daemon."""
    control.shutdown()
    return say(shutdown=True)
