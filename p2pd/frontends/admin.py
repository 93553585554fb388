"""The tracker's admin API: all its families of operations, and the document on them."""

from collections.abc import Sequence
from importlib import resources

from twisted.web.server import Request

from p2pd.frontends import (
    admin_keys,
    admin_lists,
    admin_tables,
    admin_torrents,
    admin_users,
    metrics,
)
from p2pd.frontends.admin_dialect import Admin, make_api
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import Api
from p2pd.tracker.persistence import Persistence

_DOCUMENT = resources.files("p2pd.frontends").joinpath("openapi/admin.json").read_bytes()

document_api = make_api()


@document_api.route("/openapi.json", policy=Policy.PUBLIC)
async def document(_admin: Admin, _request: Request) -> bytes:
    """Describe the API, as OpenAPI 3.1 does."""
    return _DOCUMENT


def admin_apis(
    admin: Admin, persistence: Persistence, figures: metrics.Figures
) -> Sequence[tuple[Api, object]]:
    """Return everything that the admin API consists of, for `kit.application`."""
    measured = metrics.Metrics(figures)
    return [
        (admin_torrents.api, admin),
        (admin_lists.api, admin),
        (admin_keys.api, admin),
        (admin_users.api, admin),
        (admin_tables.api, admin_tables.Tables(admin.administration, persistence)),
        (document_api, admin),
        (metrics.metrics_api, measured),
        (metrics.stats_api, measured),
    ]
