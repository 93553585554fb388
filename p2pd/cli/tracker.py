"""The commands that talk to a running tracker: export and import what operators keep there."""

import json
import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from p2pd import values
from p2pd.cli.calls import Server
from p2pd.cli.outcome import CommandFailed, Exit
from p2pd.cli.output import Output
from p2pd.errors import Invalid
from p2pd.frontends.token_files import read_token

DEFAULT_TRACKER = "http://127.0.0.1:38080"

_PATIENCE = 60.0
_ALMOST_ALL = 10_000  # entries of a request, which are within what the tracker takes
_STANDARD = "-"
# What each section of the file is, and where entries of it are deleted.
_SECTIONS: Mapping[str, tuple[type, str]] = {
    "torrents": (dict, "/api/torrents"),
    "whitelist": (list, "/api/whitelists"),
    "blacklist": (list, "/api/blacklists"),
    "keys": (dict, "/api/keys"),
    "users": (dict, "/api/users"),
}
EPILOG = """\
The file is one JSON object: {"torrents": {hash: completed}, "whitelist": [hash],
"blacklist": [hash], "keys": {hash: {"timeout", "expires"}}, "users": {hash: {"name", "key", ...}}}
"""


def add_arguments(one: ArgumentParser, add_common: Callable[[ArgumentParser], None]) -> None:
    """Add the two commands, each with the common options too."""
    subparsers = one.add_subparsers(required=True, metavar="export|import")
    out = subparsers.add_parser("export", help="write all that the tracker keeps to a file")
    out.add_argument("file", metavar="FILE", nargs="?", default=_STANDARD, help=_default("output"))
    out.set_defaults(command=export)
    into = subparsers.add_parser("import", help="add what a file holds to what the tracker keeps")
    into.add_argument("file", metavar="FILE", nargs="?", default=_STANDARD, help=_default("input"))
    into.add_argument(
        "--replace",
        action="store_true",
        help="first delete what the file does not hold, in those sections that it has",
    )
    into.set_defaults(command=import_)
    for each in (out, into):
        add_common(each)
        each.add_argument(
            "--tracker",
            metavar="URL",
            default=os.environ.get("P2PD_TRACKER", DEFAULT_TRACKER),
            help=f"the tracker to talk to (default: {DEFAULT_TRACKER})",
        )
        each.add_argument(
            "--admin-token-file",
            metavar="FILE",
            default=os.environ.get("P2PD_ADMIN_TOKEN_FILE", SUPPRESS),
            required="P2PD_ADMIN_TOKEN_FILE" not in os.environ,
            help="file with the token of the tracker's admin API",
        )


def _default(stream: str) -> str:
    return f"default: standard {stream}"


async def export(reactor: Any, arguments: Namespace, out: Output) -> None:
    """Write all that a tracker keeps to a file."""
    async with _Tracker(reactor, arguments) as tracker:
        kept = await tracker.export()
    if arguments.file == _STANDARD:
        out.document(kept)
    else:
        _write(Path(arguments.file), json.dumps(kept))
        _summarise(out, {section: len(kept[section]) for section in _SECTIONS})


async def import_(reactor: Any, arguments: Namespace, out: Output) -> None:
    """Add what a file holds to what a tracker keeps, or let it keep nothing else."""
    given = _read(arguments.file)
    async with _Tracker(reactor, arguments) as tracker:
        if arguments.replace:
            await tracker.remove_others(given)
        await tracker.import_(given)
    _summarise(out, {section: len(given.get(section, ())) for section in _SECTIONS})


class _Tracker:
    """One tracker's admin API; use it in `async with`, which closes its connections."""

    def __init__(self, reactor: Any, arguments: Namespace) -> None:
        try:
            url = values.url(arguments.tracker)
            token = read_token(Path(arguments.admin_token_file))
        except Invalid as refusal:
            raise CommandFailed(Exit.USAGE, refusal.reason) from refusal
        self._server = Server(
            reactor,
            url,
            token,
            kind="tracker",
            start="twistd -n p2p-tracker",
            choose="--tracker",
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    async def export(self) -> dict[str, Any]:
        """Return all that the tracker keeps."""
        kept: dict[str, Any] = {section: kind() for section, (kind, _) in _SECTIONS.items()}
        query: dict[str, str] | None = None
        while True:
            portion = await self._ask("GET", "/api/export", query=query)
            try:
                for section, whole in kept.items():
                    add = whole.extend if isinstance(whole, list) else whole.update
                    add(portion[section])
                mark = portion["next"]
            except (KeyError, TypeError, ValueError) as error:
                raise self._server.mistaken("it exports in an unknown way") from error
            if mark is None:
                return kept
            query = {"after": str(mark)}

    async def import_(self, given: Mapping[str, Any]) -> None:
        """Add what is given to what the tracker keeps."""
        for section, whole in given.items():
            for some in _portions(whole):
                await self._ask("POST", "/api/import", {section: some})

    async def remove_others(self, given: Mapping[str, Any]) -> None:
        """Delete what is not given, of the sections that are."""
        kept = await self.export()
        for section, whole in given.items():
            named = {name.lower() for name in whole if isinstance(name, str)}
            others = [name for name in kept[section] if name not in named]
            for some in _portions(others):
                await self._ask("DELETE", _SECTIONS[section][1], some)

    async def _ask(
        self, method: str, path: str, document: Any = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return a good answer's JSON object; raises CommandFailed for any other."""
        body = None if document is None else json.dumps(document).encode()
        status, text = await self._server.request(method, path, body, query, within=_PATIENCE)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or "status" not in answer:
            raise self._server.mistaken(f"it answered {status}, and not as an admin API does")
        if status == 200:
            return answer
        reason = str(answer["status"])
        if reason.endswith(" token"):
            reason = f"{self._server.url} has another token: give its own with --admin-token-file"
        raise self._server.refused(status, reason)


def _portions(whole: Any) -> Iterator[Any]:
    """Cut an object or an array into some that are not too large for a request."""
    listed = list(whole.items() if isinstance(whole, dict) else whole)
    for at in range(0, len(listed), _ALMOST_ALL):
        yield type(whole)(listed[at : at + _ALMOST_ALL])


def _read(name: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if name == _STANDARD else Path(name).read_text(encoding="utf-8")
        given = json.loads(text)
    except OSError as error:
        raise CommandFailed(Exit.FAILED, f"cannot read {name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CommandFailed(Exit.REFUSED, f"{name} is not JSON: {error}") from error
    if not isinstance(given, dict) or not given.keys() <= _SECTIONS.keys():
        known = ", ".join(_SECTIONS)
        raise CommandFailed(Exit.REFUSED, f"{name} must be a JSON object with any of {known}")
    for section, whole in given.items():
        kind, _ = _SECTIONS[section]
        if not isinstance(whole, kind):
            what = "an array" if kind is list else "an object"
            raise CommandFailed(Exit.REFUSED, f"{section} in {name} must be {what}")
    return given


def _write(file: Path, text: str) -> None:
    """Replace a file by a whole one, which only its owner can read: there are keys in it."""
    made = file.with_name(f"{file.name}.new")
    try:
        with open(made, "w", encoding="utf-8", opener=_for_owner) as opened:
            opened.write(f"{text}\n")
        made.replace(file)
    except OSError as error:
        with suppress(OSError):
            made.unlink()
        raise CommandFailed(Exit.FAILED, f"cannot write {file}: {error.strerror}") from error


def _for_owner(path: str, flags: int) -> int:
    opened = os.open(path, flags, 0o600)
    os.fchmod(opened, 0o600)  # an export that was cut off may have left it, or somebody else
    return opened


def _summarise(out: Output, counts: Mapping[str, int]) -> None:
    if out.as_json:
        out.document(counts)
    for section, count in counts.items():
        out.say(f"{section:<9}  {count}")
