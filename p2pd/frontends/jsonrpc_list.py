"""`torrents.list` and `torrents.overview`: all downloads, filtered, in order, page by page."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.jsonrpc_envelope import RpcError
from p2pd.frontends.jsonrpc_methods import SESSION, SESSION_ID, Methods, Params
from p2pd.frontends.jsonrpc_rows import FIELDS, QUERIES, STATE_NAMES, Row, ordered, state_of

BAD_ORDER = -1
BAD_PAGE = -2
_PAGE = 50

methods = Methods()


@methods.method(
    "torrents.list",
    Policy.READ,
    "filters",
    "include_metadata",
    "order_by",
    "order_by_dir",
    "page",
    "page_size",
)
async def list_torrents(control: Control, params: Params) -> dict[str, Any]:
    """Show one page of the downloads that pass the filters."""
    everything = list(_rows(control))
    passes = list(_filters(Params(params.table("filters"))))
    order_by = params.text("order_by", "queue_position")
    direction = params.text("order_by_dir", "asc")
    if order_by not in FIELDS:
        raise RpcError(BAD_ORDER, "Invalid field in 'order_by'")
    rows = [row for row in everything if all(test(row) for test in passes)]
    rows = ordered(rows, order_by, descending=direction != "asc")
    page, size = params.whole("page", 0), params.whole("page_size", _PAGE)
    if page * size > len(rows):
        raise RpcError(BAD_PAGE, "Invalid page - too large.")
    wanted = params.texts("include_metadata")
    return {
        "order_by": order_by,
        "order_by_dir": direction,
        "page": page,
        "page_size": size,
        "torrents": [row_to_wire(row, wanted) for row in rows[page * size : (page + 1) * size]],
        "torrents_total": len(rows),
        "torrents_total_unfiltered": len(everything),
    }


def row_to_wire(row: Row, metadata: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row as JSON, with these keys of the user's own metadata; `*` is all of them."""
    shown = {name: value(row) for name, value in FIELDS.items()}
    if metadata != ("*",):
        shown["metadata"] = {key: v for key, v in shown["metadata"].items() if key in metadata}
    return shown


def _rows(control: Control) -> Iterator[Row]:
    downloads = control.downloads
    now = downloads.node.now()
    for job in downloads.jobs():
        yield Row(downloads.view(job), bool(job.moving_to), now)


def _filters(filters: Params) -> Iterator[Callable[[Row], bool]]:
    """The tests that a row must pass; an empty query is none."""
    category, tag, path = (filters.text(n, "") for n in ("category", "tags", "save_path"))
    session = filters.value("session_id") or filters.value("session") or SESSION
    query = filters.text("query", "")
    if "category" in filters:
        yield lambda row: row.view.category == category
    if "tags" in filters:
        yield lambda row: tag in row.view.tags
    if "save_path" in filters:
        yield lambda row: row.view.directory == path
    if session not in (SESSION, SESSION_ID):
        yield lambda _: False
    if query.strip():
        yield QUERIES.parse(query)


@methods.method("torrents.overview", Policy.READ)
async def overview(control: Control, _params: Params) -> dict[str, Any]:
    """Count the downloads of each category, state, tag and tracker."""
    downloads = control.downloads
    jobs = downloads.jobs()
    views = [downloads.view(job) for job in jobs]
    counted = {
        "torrents_per_category": Counter(view.category for view in views if view.category),
        "torrents_per_state": Counter(STATE_NAMES[state_of(view)] for view in views),
        "torrents_per_tag": Counter(tag for view in views for tag in view.tags),
        "torrents_per_tracker": Counter(
            tracker.url for job in jobs for tracker in downloads.trackers(job)
        ),
        "torrents_total": len(views),
    }
    return {"sessions": {SESSION: counted}}
