"""The admin API's operations on users, who announce with a passkey and are accounted.

A user's name is a UUID or a number, its hash the SHA-1 of that; paths take any of the three.
"""

import re
from typing import Any

from twisted.web.server import Request

from p2pd.errors import Invalid, NotFound
from p2pd.frontends.admin_dialect import (
    MOST,
    Admin,
    asked_hashes,
    json_number,
    make_api,
    path_number,
    read_array,
    read_hash,
    remove_each,
    say,
    shown,
)
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import Reply
from p2pd.tracker.records import UserRecord
from p2pd.tracker.users import hash_of

_HASH = re.compile(r"[0-9A-Fa-f]{40}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER = re.compile(r"[0-9]{1,255}")
_NUMERIC = re.compile(r"[-+0-9.]*")

api = make_api()


@api.route("/user/<userhash>", policy=Policy.ADMIN)
async def user(admin: Admin, _request: Request, userhash: str) -> Reply:
    """Tell what a user moved, and which torrents it is active in."""
    wanted = _user_hash(userhash)
    record = admin.administration.user(wanted)
    if record is None:
        raise NotFound(f"unknown user_hash {wanted.hex()}")
    return say(**_told(record))


@api.route("/user/<userhash>", methods=("DELETE",), policy=Policy.ADMIN)
async def remove_user(admin: Admin, _request: Request, userhash: str) -> Reply:
    """Forget a user."""
    wanted = _user_hash(userhash)
    if admin.administration.remove_user(wanted):
        return say()
    read_hash("user_hash", userhash)  # what names nobody, and is no hash, is malformed
    return admin.not_new(f"unknown user_hash {wanted.hex()}")


@api.route(
    "/user/<id_>/<key>/<uploaded>/<downloaded>/<completed>/<updated>/<active>",
    methods=("POST",),
    policy=Policy.ADMIN,
)
async def put_user(
    admin: Admin,
    _request: Request,
    *,
    id_: str,
    key: str,
    uploaded: str,
    downloaded: str,
    completed: str,
    updated: str,
    active: str,
) -> Reply:
    """Create a user, or overwrite what is known of it."""
    user_hash, name = _identity(admin, id_)
    record = UserRecord(
        user_hash=user_hash,
        name=name,
        passkey=read_hash("key_hash", key),
        uploaded=path_number("uploaded", uploaded),
        downloaded=path_number("downloaded", downloaded),
        completed=path_number("completed", completed),
        updated=path_number("updated", updated),
        active=bool(path_number("active", active, most=1)),
    )
    if admin.administration.put_user(record):
        return say(f"user_hash added {user_hash.hex()}")
    return admin.not_new(f"user_hash updated {user_hash.hex()}")


@api.route("/users", policy=Policy.ADMIN)
@api.route("/users/query", methods=("POST",), policy=Policy.ADMIN)
async def users(admin: Admin, request: Request) -> Reply:
    """Tell what users moved."""
    told: dict[str, dict[str, Any]] = {}
    for wanted in asked_hashes("user_hash", request):
        record = admin.administration.user(wanted)
        told[wanted.hex()] = (
            {"status": "ok", **_told(record)} if record else {"status": "unknown user_hash"}
        )
    return say(users=told)


@api.route("/users", methods=("POST",), policy=Policy.ADMIN)
async def put_users(admin: Admin, request: Request) -> Reply:
    """Create users, or overwrite what is known of them; none, if one of them is malformed."""
    done: dict[str, str] = {}
    for record in [_row(admin, row) for row in read_array(request)]:
        new = admin.administration.put_user(record)
        done[record.user_hash.hex()] = "user_hash added" if new else "user_hash updated"
    return say(users=done)


@api.route("/users", methods=("DELETE",), policy=Policy.ADMIN)
async def remove_users(admin: Admin, request: Request) -> Reply:
    """Forget users."""
    return say(users=remove_each("user_hash", request, admin.administration.remove_user))


def _user_hash(text: str) -> bytes:
    name = _name(text)
    if name is None or _HASH.fullmatch(text):
        return read_hash("user_hash", text)
    return hash_of(name)


def _identity(admin: Admin, id_: str) -> tuple[bytes, str]:
    """Return the hash and the name of a user to write, given by a name or a known hash."""
    if _HASH.fullmatch(id_):
        known = admin.administration.user(bytes.fromhex(id_))
        if known:
            return known.user_hash, known.name
    name = _name(id_)
    if name is None:
        raise Invalid(f"invalid {'id' if _NUMERIC.fullmatch(id_) else 'uuid'} {shown(id_)}")
    return hash_of(name), name


def _name(text: str) -> str | None:
    """Return the one spelling of a user's name, None if `text` is none."""
    if _NUMBER.fullmatch(text):
        return str(int(text))
    lower = text.lower()
    return lower if _UUID.fullmatch(lower) else None


def _row(admin: Admin, row: object) -> UserRecord:
    if not isinstance(row, list) or len(row) != 7:
        raise Invalid("bad json body")
    id_, key, uploaded, downloaded, completed, updated, active = row
    user_hash, name = _identity(admin, id_ if isinstance(id_, str) else str(_natural("id", id_)))
    return UserRecord(
        user_hash=user_hash,
        name=name,
        passkey=read_hash("key_hash", key),
        uploaded=json_number("uploaded", uploaded),
        downloaded=json_number("downloaded", downloaded),
        completed=json_number("completed", completed),
        updated=json_number("updated", updated),
        active=bool(_natural("active", active, most=1)),
    )


def _natural(name: str, value: object, most: int = MOST) -> int:
    """Return a number in a body that must not be negative."""
    number = json_number(name, value)
    if number != value or number > most:
        raise Invalid(f"invalid {name} {shown(value)}")
    return number


def _told(record: UserRecord) -> dict[str, Any]:
    name: dict[str, Any] = (
        {"id": int(record.name)} if _NUMBER.fullmatch(record.name) else {"uuid": record.name}
    )
    return {
        **name,
        "key": record.passkey.hex(),
        "uploaded": record.uploaded,
        "downloaded": record.downloaded,
        "completed": record.completed,
        "updated": record.updated,
        "active": int(record.active),
        "torrents_active": [{hash_.hex(): at} for hash_, at in record.torrents.items()],
    }
