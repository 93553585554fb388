"""The downloads API, Tribler's of version 7: all its families of operations."""

from collections.abc import Sequence

from p2pd.frontends import (
    downloads_adding,
    downloads_changes,
    downloads_events,
    downloads_node,
    downloads_queries,
    downloads_settings,
    downloads_stream,
    downloads_torrents,
)
from p2pd.frontends.content import ContentSender
from p2pd.frontends.control import Control
from p2pd.frontends.kit import Api
from p2pd.frontends.sending import Uplink

# What the API's document writes, and what its examples and its clients do.
_PREFIXES = ("/downloads", "/download")


def downloads_apis(control: Control, uplink: Uplink) -> Sequence[tuple[Api, object]]:
    """Return everything that the downloads API consists of, for `kit.application`."""
    player = downloads_stream.Player(control, ContentSender(control.downloads.node, uplink))
    families: list[tuple[Api, object]] = [
        (downloads_queries.api, control),
        (downloads_adding.api, control),
        (downloads_changes.api, control),
        (downloads_stream.api, player),
    ]
    return [
        *((api.under(prefix), context) for api, context in families for prefix in _PREFIXES),
        (downloads_torrents.info_api, control),
        (downloads_torrents.create_api, control),
        (downloads_settings.api, control),
        (downloads_node.state_api, control),
        (downloads_node.statistics_api, control),
        (downloads_node.shutdown_api, control),
        (downloads_events.api, control),
    ]
