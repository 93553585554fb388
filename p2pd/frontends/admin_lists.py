"""The admin API's operations on the whitelist and the blacklist; which one is in the path."""

from functools import partial

from twisted.web.server import Request

from p2pd.errors import NotFound
from p2pd.frontends.admin_dialect import (
    Admin,
    asked_hashes,
    make_api,
    read_hash,
    read_hashes,
    remove_each,
    say,
)
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import Reply
from p2pd.tracker.access import Which

_ONE = "/<any(whitelist,blacklist):which>/<infohash>"
_MANY = "/<any(whitelist,blacklist):which>s"

api = make_api()


@api.route(_ONE, policy=Policy.ADMIN)
async def listed(admin: Admin, _request: Request, which: Which, infohash: str) -> Reply:
    """Tell whether a torrent is listed."""
    wanted = read_hash("info_hash", infohash)
    if admin.administration.is_listed(which, wanted):
        return say()
    raise NotFound(f"unknown {which} {wanted.hex()}")


@api.route(_ONE, methods=("POST",), policy=Policy.ADMIN)
async def put_listed(admin: Admin, _request: Request, which: Which, infohash: str) -> Reply:
    """List a torrent."""
    wanted = read_hash("info_hash", infohash)
    new = admin.administration.put_listed(which, wanted)
    return say("ok" if new else f"info_hash updated {wanted.hex()}")


@api.route(_ONE, methods=("DELETE",), policy=Policy.ADMIN)
async def remove_listed(admin: Admin, _request: Request, which: Which, infohash: str) -> Reply:
    """Take a torrent off the list."""
    wanted = read_hash("info_hash", infohash)
    if admin.administration.remove_listed(which, wanted):
        return say()
    raise NotFound(f"unknown {which} {wanted.hex()}")


@api.route(_MANY, policy=Policy.ADMIN)
@api.route(f"{_MANY}/query", methods=("POST",), policy=Policy.ADMIN)
async def all_listed(admin: Admin, request: Request, which: Which) -> Reply:
    """Tell of torrents whether they are listed."""
    told = {
        wanted.hex(): admin.administration.is_listed(which, wanted)
        for wanted in asked_hashes("info_hash", request)
    }
    return say(**{f"{which}s": told})


@api.route(_MANY, methods=("POST",), policy=Policy.ADMIN)
async def put_all_listed(admin: Admin, request: Request, which: Which) -> Reply:
    """List torrents."""
    done: dict[str, str] = {}
    for wanted in read_hashes("info_hash", request):
        new = admin.administration.put_listed(which, wanted)
        done[wanted.hex()] = "ok" if new else "info_hash updated"
    return say(**{f"{which}s": done})


@api.route(_MANY, methods=("DELETE",), policy=Policy.ADMIN)
async def remove_all_listed(admin: Admin, request: Request, which: Which) -> Reply:
    """Take torrents off the list.

    The document calls the answer `torrents` for the whitelist only; its clients look for either.
    """
    remove = partial(admin.administration.remove_listed, which)
    done = remove_each("info_hash", request, remove, missing=which)
    further = {"torrents": done} if which == "whitelist" else {}
    return say(**{f"{which}s": done}, **further)
