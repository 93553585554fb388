"""The task API's view of the node's settings.

`general.log_size` and `youtube_dl.ratelimit` (bytes/s, 0 is no limit) are settings of the node,
and POST changes them; what it leaves out, or leaves empty, stays as it is.  Where downloads, the
database and the API itself are is told, and cannot be changed here.  `format` and `outtmpl` say
nothing about what a node downloads: they are neither kept nor shown.  A `proxy` is refused, for
nothing would go through it.
"""

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.server import Request

from p2pd.errors import Invalid
from p2pd.frontends import forms
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.forms import Form
from p2pd.frontends.kit import Reply
from p2pd.frontends.tasks_dialect import make_api, section, success, told
from p2pd.node.downloads import Downloads

_SETTINGS = {
    ("general", "log_size"): "log_lines",
    ("youtube_dl", "ratelimit"): "max_download_rate",
}

api = make_api("/config")


@api.route("", policy=Policy.READ)
async def shown(control: Control, request: Request) -> Reply:
    """The configuration, by sections."""
    settings = control.downloads.settings
    space = await control.downloads.space()
    config = {
        "general": {
            "download_dir": space.path,
            "db_path": control.database,
            "log_size": settings.log_lines,
        },
        "server": _server_to_wire(request),
        "youtube_dl": {"ratelimit": settings.max_download_rate},
    }
    return success(config=config)


def _server_to_wire(request: Request) -> dict[str, Any]:
    """The address that this request came to."""
    here = request.getHost()
    if isinstance(here, IPv4Address | IPv6Address):
        return {"host": here.host, "port": here.port}
    return {"host": "", "port": 0}


@api.route("", methods=("POST",), policy=Policy.OWN)
async def change(control: Control, request: Request) -> Reply:
    """Change what is given and can be changed."""
    return await told(_change(control.downloads, forms.read(request)))


async def _change(downloads: Downloads, form: Form) -> None:
    if section(form, "youtube_dl").get("proxy"):
        raise Invalid("a proxy cannot be used: leave proxy empty")
    await downloads.change_settings(changes_of(form))


def changes_of(form: Form) -> dict[str, int]:
    """Return the node's settings that a body changes; raises `Invalid` for what is no number."""
    changes = {}
    for (name, key), setting in _SETTINGS.items():
        given = section(form, name)
        if given.get(key) == "":
            continue
        value = given.whole(key)
        if value is not None:
            changes[setting] = value
    return changes
