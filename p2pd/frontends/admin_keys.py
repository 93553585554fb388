"""The admin API's operations on the keys that clients announce with."""

from twisted.web.server import Request

from p2pd.errors import NotFound
from p2pd.frontends.admin_dialect import (
    Admin,
    asked_hashes,
    make_api,
    path_number,
    put_each,
    read_hash,
    remove_each,
    say,
)
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import Reply

api = make_api()


@api.route("/key/<keyhash>", policy=Policy.ADMIN)
async def key(admin: Admin, _request: Request, keyhash: str) -> Reply:
    """Tell for how many seconds a key was given, 0 for ever, and when it expires."""
    wanted = read_hash("key_hash", keyhash)
    record = admin.administration.key(wanted)
    if record is None:
        raise NotFound(f"unknown key_hash {wanted.hex()}")
    return say(timeout=record.timeout, expires=record.expires)


@api.route("/key/<keyhash>/<seconds>", methods=("POST",), policy=Policy.ADMIN)
async def put_key(admin: Admin, _request: Request, keyhash: str, seconds: str) -> Reply:
    """Let a key be good for so many seconds from now, 0 for ever."""
    wanted = read_hash("key_hash", keyhash)
    if admin.administration.put_key(wanted, path_number("timeout", seconds)):
        return say()
    return admin.not_new(f"key_hash updated {wanted.hex()}")


@api.route("/key/<keyhash>", methods=("DELETE",), policy=Policy.ADMIN)
async def remove_key(admin: Admin, _request: Request, keyhash: str) -> Reply:
    """Take a key back."""
    wanted = read_hash("key_hash", keyhash)
    if admin.administration.remove_key(wanted):
        return say()
    return admin.not_new(f"unknown key_hash {wanted.hex()}")


@api.route("/keys", policy=Policy.ADMIN)
@api.route("/keys/query", methods=("POST",), policy=Policy.ADMIN)
async def keys(admin: Admin, request: Request) -> Reply:
    """Tell for how many seconds keys were given, 0 also for those that are unknown."""
    told: dict[str, int] = {}
    for wanted in asked_hashes("key_hash", request):
        record = admin.administration.key(wanted)
        told[wanted.hex()] = record.timeout if record else 0
    return say(keys=told)


@api.route("/keys", methods=("POST",), policy=Policy.ADMIN)
async def put_keys(admin: Admin, request: Request) -> Reply:
    """Let keys be good for so many seconds from now."""
    done = put_each("key_hash", request, "timeout", admin.administration.put_key)
    return say(keys=done)


@api.route("/keys", methods=("DELETE",), policy=Policy.ADMIN)
async def remove_keys(admin: Admin, request: Request) -> Reply:
    """Take keys back."""
    return say(keys=remove_each("key_hash", request, admin.administration.remove_key))
