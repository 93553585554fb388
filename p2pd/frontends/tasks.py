"""The task API (youtube-dl-webui): downloads as tasks that are named by the SHA-1 of their URL.

Every download of the node is a task, whichever API added it.  Of a task's `ydl_opts` only
`format` is kept, and shown again: what is downloaded has no formats to choose from.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

from twisted.web.server import Request

from p2pd.errors import Conflict, Invalid, NotFound, Refusal
from p2pd.frontends import forms, kit
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.forms import Form
from p2pd.frontends.kit import Reply
from p2pd.frontends.tasks_dialect import failure, make_api, section, success, told
from p2pd.frontends.tasks_wire import (
    FORMAT,
    OPTIONS,
    TaskState,
    counter_to_wire,
    excerpt_to_wire,
    info_to_wire,
    state_of,
    status_to_wire,
    task_to_wire,
)
from p2pd.node.downloads import Downloads
from p2pd.node.job import tid_of
from p2pd.node.options import DownloadOptions

_ALL = "all"
_TIDS = "tids"
_DATA = "del_file"
_YES = frozenset({"true", "1", "yes"})
_BAD_REQUEST = "invalid request"

_Verb = Callable[[Downloads, str], Coroutine[Any, Any, None]]

api = make_api("/task")


@api.route("", methods=("POST",), policy=Policy.CONTROL)
async def create(control: Control, request: Request) -> Reply:
    """Begin a download; that its URL leads nowhere is found later, and makes the task invalid."""
    form = forms.read(request)
    try:
        return success(tid=await _add(control.downloads, form))
    except Invalid:
        return failure("URL is invalid")
    except Refusal as refusal:
        return failure(refusal.reason)


async def _add(downloads: Downloads, form: Form) -> str:
    url = form.text("url")
    tid = tid_of(url)
    if downloads.by_tid(tid):
        raise Conflict("URL is already added")
    wanted = section(form, OPTIONS).get(FORMAT)
    metadata = {OPTIONS: {FORMAT: wanted}} if wanted and isinstance(wanted, str) else {}
    await downloads.add(url, DownloadOptions(source=url, metadata=metadata), wait=False)
    return tid


# -- verbs


async def _pause(downloads: Downloads, tid: str) -> None:
    stopped = "Task is finished or invalid or inexistent"
    try:
        job = downloads.find(tid)
    except NotFound:
        raise Conflict(stopped) from None
    if state_of(job) is TaskState.PAUSED:
        raise Conflict("Task already paused")
    if state_of(job) is not TaskState.DOWNLOADING:
        raise Conflict(stopped)
    await downloads.pause(job)


async def _resume(downloads: Downloads, tid: str) -> None:
    job = downloads.find(tid)
    if state_of(job) is TaskState.DOWNLOADING:
        raise Conflict("Task is downloading")
    if state_of(job) is TaskState.FINISHED:
        raise Conflict("Task is finished")
    await downloads.resume(job)


async def _delete(downloads: Downloads, tid: str, *, data: bool) -> None:
    await downloads.remove(downloads.find(tid), data=data)


_ACTS: Mapping[str, _Verb] = {"pause": _pause, "resume": _resume}


@api.route("/tid/<tid>", methods=("PUT",), policy=Policy.CONTROL)
async def act(control: Control, request: Request, tid: str) -> Reply:
    """Pause or resume a task, as `?act=` says."""
    verb = _ACTS.get(kit.query(request, "act") or "")
    return await told(verb(control.downloads, tid)) if verb else failure(_BAD_REQUEST)


@api.route("/tid/<tid>", methods=("DELETE",), policy=Policy.CONTROL)
async def delete(control: Control, request: Request, tid: str) -> Reply:
    """Forget a task, and delete its files if `?del_file=` says so beyond doubt."""
    data = _says_yes((request.args or {}).get(_DATA.encode(), ()))
    return await told(_delete(control.downloads, tid, data=data))


@api.route("/batch/<action>", methods=("POST",), policy=Policy.CONTROL)
async def batch(control: Control, request: Request, action: str) -> Reply:
    """Do the same to many tasks; `detail` has those that it failed for, and why."""
    form = forms.read(request, array=_TIDS)
    data = _says_yes([*(request.args or {}).get(_DATA.encode(), ()), *form.all(_DATA)])
    verbs: Mapping[str, _Verb] = {**_ACTS, "delete": partial(_delete, data=data)}
    verb = verbs.get(action)
    if verb is None:
        return failure(_BAD_REQUEST)
    tids = form.all(_TIDS)
    if _TIDS not in form or not all(isinstance(tid, str) for tid in tids):
        return failure("Request error")
    failed = []
    for tid in dict.fromkeys(tids):
        try:
            await verb(control.downloads, tid)
        except NotFound:
            failed.append([tid, "Inexistence error"])
        except Refusal as refusal:
            failed.append([tid, refusal.reason])
    return success(detail=failed) if failed else success()


def _says_yes(values: Iterable[object]) -> bool:
    """Whether all that was said says yes, and something was said."""
    said = [value.decode("latin-1") if isinstance(value, bytes) else value for value in values]
    return bool(said) and all(str(value).lower() in _YES for value in said)


# -- looking


@api.route("/tid/<tid>/status", policy=Policy.READ)
async def status(control: Control, request: Request, tid: str) -> Reply:
    """Everything about a task, or the excerpt with `?exerpt=true`."""
    view = control.downloads.view(control.downloads.find(tid))
    if _wants_excerpt(request, default=False):
        return success(detail=excerpt_to_wire(view))
    return success(detail=status_to_wire(view, control.downloads.settings.log_lines))


@api.route("/tid/<tid>/info", policy=Policy.READ)
async def info(control: Control, _request: Request, tid: str) -> Reply:
    """What is known of the content of a task."""
    return success(detail=info_to_wire(control.downloads.view(control.downloads.find(tid))))


@api.route("/list", policy=Policy.READ)
async def tasks(control: Control, request: Request) -> Reply:
    """All tasks, or those of one `?state=`, as excerpts unless `?exerpt=false`."""
    downloads = control.downloads
    wanted = kit.query(request, "state")
    if wanted is None:
        wanted = _ALL
    if wanted not in {_ALL, *TaskState}:
        return failure("Invalid query state")
    jobs = downloads.jobs()
    views = [downloads.view(job) for job in jobs if wanted in {_ALL, state_of(job)}]
    if _wants_excerpt(request, default=True):
        detail = [excerpt_to_wire(view) for view in views]
    else:
        detail = [task_to_wire(view, downloads.settings.log_lines) for view in views]
    return success(detail=detail, state_counter=counter_to_wire(jobs))


@api.route("/state_counter", policy=Policy.READ)
@api.route("/state_coutner", policy=Policy.READ)
async def state_counter(control: Control, _request: Request) -> Reply:
    """How many tasks there are in each state."""
    return success(detail=counter_to_wire(control.downloads.jobs()))


def _wants_excerpt(request: Request, *, default: bool) -> bool:
    """What `exerpt`, as the API's document spells it, or `excerpt` says."""
    for name in ("exerpt", "excerpt"):
        if kit.query(request, name) is not None:
            return kit.query_flag(request, name)
    return default
