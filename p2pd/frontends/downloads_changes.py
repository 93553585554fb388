"""The downloads API: changing a download, and its trackers."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from twisted.web.server import Request

from p2pd.errors import Conflict, Invalid
from p2pd.frontends import forms
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.downloads_dialect import find, make_api, say
from p2pd.frontends.downloads_fields import NOT_ANONYMOUS, asks_for_hops, chosen_files, priorities
from p2pd.frontends.forms import Form
from p2pd.frontends.kit import Reply
from p2pd.node.downloads import Downloads
from p2pd.node.job import Job
from p2pd.node.options import FOREVER, SeedingRule

api = make_api("/downloads")

Change = Callable[[], Awaitable[None]]


@api.route("/<infohash>", policy=Policy.CONTROL, methods=("PATCH",))
async def change(control: Control, request: Request, infohash: str) -> Reply:
    """Change a download: nothing at all if one of the fields is wrong."""
    job = find(control, infohash)
    form = forms.read(request)
    if "anon_hops" in form:
        if len(form) > 1:
            raise Invalid("anon_hops must be the only parameter in this request")
        if asks_for_hops(form, "anon_hops"):
            raise Invalid(NOT_ANONYMOUS)
    downloads = control.downloads
    planned = [
        *_move(downloads, job, form),  # first, for only this may turn out to be impossible
        *_selection(downloads, job, form),
        *_options(downloads, job, form),
        *_place(downloads, job, form),
        *_state(downloads, job, form),
    ]
    for each in planned:
        await each()
    return say(modified=True, infohash=job.id)


def _selection(downloads: Downloads, job: Job, form: Form) -> list[Change]:
    if "selected_files" not in form:
        return []
    given = form.all("selected_files")
    if job.entry is None:
        selected = replace(job.options, selected=chosen_files(given)).selected
        return [lambda: downloads.change(job, selected=selected)]
    files = downloads.files(job)
    names = ["/".join(file.path) for file in files]
    present = [file.priority for file in files]
    chosen = priorities(given, names, present)
    return [lambda: downloads.select(job, chosen)]


def _options(downloads: Downloads, job: Job, form: Form) -> list[Change]:
    changes: dict[str, Any] = {}
    for name in ("upload_limit", "download_limit"):
        limit = form.whole(name)
        if limit is not None:
            changes[name] = max(limit, 0)  # later versions write -1 for no limit
    rule = _rule(job, form)
    if rule is not None:
        changes["seeding"] = rule
    return [lambda: downloads.change(job, **changes)] if changes else []


def _rule(job: Job, form: Form) -> SeedingRule | None:
    ratio, seconds = form.number("seeding_ratio"), form.number("seeding_time")
    if ratio is None and seconds is None:
        return None
    own = job.options.seeding or FOREVER
    return SeedingRule(
        own.ratio if ratio is None else _bound(ratio),
        own.seconds if seconds is None else _bound(seconds),
    )


def _bound(number: float) -> float | None:
    return number if number >= 0 else None


def _place(downloads: Downloads, job: Job, form: Form) -> list[Change]:
    if "auto_managed" in form and not form.says_yes("auto_managed"):
        raise Invalid("the queue decides on all that is not stopped: use state=stop")
    asked = form.text("queue_position")
    if not asked:
        return []
    jobs = downloads.jobs()
    here, last = jobs.index(job), len(jobs) - 1
    named = {
        "queue_top": 0,
        "queue_up": max(here - 1, 0),
        "queue_down": min(here + 1, last),
        "queue_bottom": last,
    }
    if asked not in named:
        raise Invalid("invalid value for queue_position")
    return [lambda: downloads.place(job, named[asked])]


def _move(downloads: Downloads, job: Job, form: Form) -> list[Change]:
    if form.text("state") != "move_storage":
        return []
    directory = form.text("dest_dir")
    if not directory:
        raise Invalid("dest_dir parameter missing")
    return [lambda: downloads.move(job, directory)]


def _state(downloads: Downloads, job: Job, form: Form) -> list[Change]:
    match form.text("state"):
        case "":
            return []
        case "resume":
            return [lambda: _unless_so(downloads.resume(job))]
        case "stop":
            return [lambda: _unless_so(downloads.pause(job))]
        case "recheck":
            return [lambda: downloads.recheck(job)]
        case "move_storage":
            return []
    raise Invalid("unknown state parameter")


async def _unless_so(verb: Awaitable[None]) -> None:
    """Do what may be so already: in this API that is no error."""
    with suppress(Conflict):
        await verb


@api.route("/<infohash>/trackers", policy=Policy.CONTROL, methods=("PUT",))
async def add_tracker(control: Control, request: Request, infohash: str) -> Reply:
    """Announce a download to one more tracker."""
    job, url = _tracker(control, request, infohash)
    await control.downloads.add_trackers(job, [url])
    return say(added=True)


@api.route("/<infohash>/trackers", policy=Policy.CONTROL, methods=("DELETE",))
async def remove_tracker(control: Control, request: Request, infohash: str) -> Reply:
    """Announce a download to one tracker less."""
    job, url = _tracker(control, request, infohash)
    await control.downloads.remove_tracker(job, url)
    return say(removed=True)


@api.route("/<infohash>/tracker_force_announce", policy=Policy.CONTROL, methods=("PUT",))
async def force_announce(control: Control, request: Request, infohash: str) -> Reply:
    """Announce a download to a tracker as soon as that allows."""
    job, url = _tracker(control, request, infohash)
    await control.downloads.force_announce(job, url)
    return say(forced=True)


def _tracker(control: Control, request: Request, infohash: str) -> tuple[Job, str]:
    job = find(control, infohash)
    url = forms.read(request).text("url")
    if not url:
        raise Invalid("url parameter missing")
    return job, url
