"""The JSON-RPC methods on the node as a whole, and on what it has none of: presets, plugins."""

import sqlite3
import ssl
from importlib.metadata import version
from typing import Any

import p2pd
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.jsonrpc_envelope import RpcError
from p2pd.frontends.jsonrpc_methods import SESSION, SESSION_ID, Methods, Params

NOT_SUPPORTED = -32000

_UNLIMITED = -1

methods = Methods()


@methods.method("fs.space", Policy.READ, "path")
async def space(control: Control, params: Params) -> dict[str, Any]:
    """Tell how much room there is at a path below the allowed roots, in bytes."""
    room = await control.downloads.space(params.text("path", ""))
    return {
        "available": room.available,
        "capacity": room.capacity,
        "free": room.free,
        "quota": None,
    }


@methods.method("sys.versions", Policy.READ)
async def versions(_control: Control, _params: Params) -> dict[str, Any]:
    """Tell which software this is; clients look for it where they expect Porla."""
    return {
        "porla": {"branch": "p2pd", "commitish": "", "version": p2pd.__version__},
        "openssl": {
            "version": ssl.OPENSSL_VERSION.split()[1],
            "version_text": ssl.OPENSSL_VERSION,
        },
        "sqlite": {"version": sqlite3.sqlite_version},
        "twisted": {"version": version("Twisted")},
    }


# -- sessions, of which there is one


@methods.method("sessions.list", Policy.READ)
async def list_sessions(control: Control, _params: Params) -> dict[str, Any]:
    """Show the one session that a node is."""
    facts = {
        "is_dht_running": False,
        "is_listening": control.downloads.node.address is not None,
        "is_paused": control.downloads.settings.paused,
        "torrents_total": len(control.downloads.jobs()),
    }
    return {"sessions": [{"id": SESSION_ID, "name": SESSION, "is_default": True, **facts}]}


@methods.method("sessions.pause", Policy.CONTROL, "id", "name")
async def pause(control: Control, params: Params) -> None:
    """Stop all downloads until the session is resumed."""
    params.check_session("id", "name")
    await control.downloads.change_settings({"paused": True})


@methods.method("sessions.resume", Policy.CONTROL, "id", "name")
async def resume(control: Control, params: Params) -> bool:
    """Go on with all downloads that are not paused themselves."""
    params.check_session("id", "name")
    await control.downloads.change_settings({"paused": False})
    return True


@methods.method("sessions.settings.list", Policy.READ, "id", "keys", "name")
async def list_settings(control: Control, params: Params) -> dict[str, Any]:
    """Show the node's settings, those of `keys` only if there are any, in libtorrent's words."""
    params.check_session("id", "name")
    now = control.downloads.settings
    settings = {
        "active_downloads": now.max_active_downloads or _UNLIMITED,
        "active_seeds": now.max_active_seeds or _UNLIMITED,
        "download_rate_limit": now.max_download_rate,
        "enable_dht": False,
        "enable_lsd": False,
        "seed_time_limit": _UNLIMITED if now.seeding_time is None else int(now.seeding_time),
        # libtorrent has it in percent.
        "share_ratio_limit": (
            _UNLIMITED if now.seeding_ratio is None else round(now.seeding_ratio * 100)
        ),
        "upload_rate_limit": now.max_upload_rate,
        "user_agent": f"p2pd/{p2pd.__version__}",
    }
    keys = params.texts("keys") or tuple(settings)
    return {"settings": {key: settings[key] for key in keys if key in settings}}


# -- what there is none of


@methods.method("presets.list", Policy.READ)
async def list_presets(_control: Control, _params: Params) -> dict[str, Any]:
    """Tell that there are no presets."""
    return {"presets": {}}


@methods.method("plugins.list", Policy.READ)
async def list_plugins(_control: Control, _params: Params) -> dict[str, Any]:
    """Tell that there are no plugins."""
    return {"plugins": []}


async def _refuse_plugin(_control: Control, _params: Params) -> None:
    raise RpcError(NOT_SUPPORTED, "p2pd takes no plugins")


for _verb in ("configure", "get", "install", "reload", "uninstall", "update"):
    methods.method(f"plugins.{_verb}", Policy.OWN)(_refuse_plugin)


@methods.method("webui.install", Policy.OWN)
async def install_web_ui(_control: Control, _params: Params) -> None:
    """Tell that no other web page can be installed."""
    raise RpcError(NOT_SUPPORTED, "p2pd serves a web page of its own and installs no other")
