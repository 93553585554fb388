"""The admin API's operations on all that a tracker keeps: `p2pd tracker export` and `import`.

{"torrents": {hash: completed}, "whitelist": [hash], "blacklist": [hash],
"keys": {hash: {"timeout", "expires"}}, "users": {hash: {"name", "key", "uploaded", ...}}}
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.web.server import Request

from p2pd.errors import Invalid
from p2pd.frontends import kit
from p2pd.frontends.admin_dialect import (
    Kind,
    json_number,
    make_api,
    read_hash,
    read_object,
    say,
    shown,
)
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import Reply
from p2pd.tracker.administration import Administration
from p2pd.tracker.persistence import Persistence
from p2pd.tracker.ports import Mark
from p2pd.tracker.records import Changes, KeyRecord, UserRecord
from p2pd.tracker.users import hash_of

_BODY = 4 * 1024 * 1024
_LONGEST_NAME = 255
_MARK = re.compile(r"(counts|whitelist|blacklist|keys|users)-((?:[0-9a-f]{40})?)")

_T = TypeVar("_T")

api = make_api()


@dataclass(frozen=True, slots=True)
class Tables:
    """What the operations speak for."""

    administration: Administration
    persistence: Persistence


@api.route("/export", policy=Policy.ADMIN)
async def export(tables: Tables, request: Request) -> Reply:
    """Give all that is kept, a portion at a time: `next` goes into `?after=` until it is null."""
    kept, mark = await tables.persistence.export(_mark(kit.query(request, "after")))
    return say(
        torrents={infohash.hex(): count for infohash, count in kept.counts.items()},
        whitelist=[infohash.hex() for infohash in kept.whitelist],
        blacklist=[infohash.hex() for infohash in kept.blacklist],
        keys={key.hex(): _key(record) for key, record in kept.keys.items() if record},
        users={user.hex(): _user(record) for user, record in kept.users.items() if record},
        next=f"{mark[0]}-{mark[1].hex()}" if mark else None,
    )


@api.route("/import", methods=("POST",), policy=Policy.ADMIN, max_body=_BODY)
async def import_(tables: Tables, request: Request) -> Reply:
    """Take in what `export` gave, beside what is there; all of it, or nothing."""
    given = _Given(read_object(request))
    changes = Changes(
        counts=given.each("torrents", "info_hash", _count),
        whitelist=given.listed("whitelist"),
        blacklist=given.listed("blacklist"),
        keys=given.each("keys", "key_hash", _read_key),
        users=given.each("users", "user_hash", _read_user),
    )
    tables.administration.merge(changes)
    return say(
        torrents=len(changes.counts),
        whitelist=len(changes.whitelist),
        blacklist=len(changes.blacklist),
        keys=len(changes.keys),
        users=len(changes.users),
    )


class _Given:
    """What somebody wants to be imported, read section by section; a section may be missing."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def each(
        self, section: str, kind: Kind, read: Callable[[bytes, Any], _T]
    ) -> dict[bytes, _T | None]:
        values = self._document.get(section, {})
        if not isinstance(values, dict):
            raise Invalid(f"{section} must be an object")
        hashes = ((read_hash(kind, text), value) for text, value in values.items())
        return {found: read(found, value) for found, value in hashes}

    def listed(self, section: str) -> dict[bytes, bool]:
        values = self._document.get(section, [])
        if not isinstance(values, list):
            raise Invalid(f"{section} must be an array")
        return dict.fromkeys((read_hash("info_hash", value) for value in values), True)


def _mark(text: str | None) -> Mark | None:
    if text is None:
        return None
    found = _MARK.fullmatch(text)
    if not found:
        raise Invalid(f"invalid after {shown(text)}")
    return found[1], bytes.fromhex(found[2])


def _key(record: KeyRecord) -> dict[str, Any]:
    return {"timeout": record.timeout, "expires": record.expires}


def _user(record: UserRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "key": record.passkey.hex(),
        "uploaded": record.uploaded,
        "downloaded": record.downloaded,
        "completed": record.completed,
        "updated": record.updated,
        "active": record.active,
    }


def _count(_: bytes, value: object) -> int:
    return json_number("completed", value)


def _read_key(_: bytes, value: object) -> KeyRecord:
    fields = _fields("key_hash", value)
    return KeyRecord(*(json_number(name, fields.get(name)) for name in ("timeout", "expires")))


def _read_user(user_hash: bytes, value: object) -> UserRecord:
    fields = _fields("user_hash", value)
    name, active = fields.get("name"), fields.get("active", True)
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not isinstance(active, bool):
        raise Invalid(
            f"user_hash {user_hash.hex()} needs a name, and active must be true or false"
        )
    if not name.isascii() or hash_of(name) != user_hash:
        raise Invalid(f"user_hash {user_hash.hex()} is not the SHA-1 of the name {shown(name)}")
    return UserRecord(
        user_hash=user_hash,
        name=name,
        passkey=read_hash("key_hash", fields.get("key")),
        uploaded=json_number("uploaded", fields.get("uploaded", 0)),
        downloaded=json_number("downloaded", fields.get("downloaded", 0)),
        completed=json_number("completed", fields.get("completed", 0)),
        updated=json_number("updated", fields.get("updated", 0)),
        active=active,
    )


def _fields(kind: Kind, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"a {kind} must have an object, not {shown(value)}")
    return value
