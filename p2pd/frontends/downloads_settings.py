"""The downloads API: the node's settings, by the names that the API has for them.

What it has no name for is in the section `p2pd`.
"""

from collections.abc import Mapping
from typing import Any

from twisted.web.server import Request

from p2pd.errors import Invalid
from p2pd.frontends import forms
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.downloads_dialect import failed, make_api, say
from p2pd.frontends.kit import Reply
from p2pd.node.settings import NodeSettings

_SEEDING = ("seeding_mode", "seeding_ratio", "seeding_time")
_RATES = ("max_upload_rate", "max_download_rate")

api = make_api("/settings")


@api.route("", policy=Policy.READ)
async def settings(control: Control, _request: Request) -> Reply:
    """All settings, and the port that was chosen for the node."""
    address = control.downloads.node.address
    ports = {"p2pd~port": int(address.rpartition(":")[2])} if address else {}
    return say(settings=to_wire(control.downloads.settings), ports=ports)


@api.route("", policy=Policy.OWN, methods=("POST",))
async def change(control: Control, request: Request) -> Reply:
    """Change settings: none at all if one of them is wrong, or is not known."""
    form = forms.read(request)
    try:
        changes = read({section: form.get(section) for section in form})
        await control.downloads.change_settings(changes)
    except Invalid as invalid:
        return failed(invalid)
    return say(modified=True)


def to_wire(settings: NodeSettings) -> dict[str, dict[str, Any]]:
    """Settings by section and name."""
    return {
        "libtorrent": {name: getattr(settings, name) for name in _RATES},
        "download_defaults": {
            "seeding_mode": _mode(settings),
            "seeding_ratio": settings.seeding_ratio,
            "seeding_time": settings.seeding_time,
        },
        "p2pd": settings.as_dict(),
    }


def _mode(settings: NodeSettings) -> str:
    if settings.seeding_ratio is not None:
        return "ratio" if settings.seeding_ratio else "never"
    return "forever" if settings.seeding_time is None else "time"


def read(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes that sections of options ask for; raise `Invalid` for unknown ones."""
    changes: dict[str, Any] = {}
    for section, options in sections.items():
        known = _KNOWN.get(section)
        if known is None or not isinstance(options, dict):
            raise Invalid(
                f"there is no section {section} of options: there are {', '.join(_KNOWN)}"
            )
        unknown = [name for name in options if known and name not in known]
        if unknown:
            raise Invalid(
                f"there is no option {unknown[0]} in {section}: there are {', '.join(known)}"
            )
        changes |= _seeding(options) if known is _SEEDING else options
    return changes


_KNOWN: Mapping[str, tuple[str, ...]] = {
    "libtorrent": _RATES,
    "download_defaults": _SEEDING,
    "p2pd": (),  # the node knows them
}


def _seeding(options: Mapping[str, Any]) -> dict[str, Any]:
    """The rule that a mode stands for; without one, what is given is the rule."""
    given = {name: options[name] for name in _SEEDING[1:] if name in options}
    match options.get("seeding_mode"):
        case None:
            return given
        case "forever":
            return {"seeding_ratio": None, "seeding_time": None}
        case "never":
            return {"seeding_ratio": 0, "seeding_time": None}
        case "ratio" if "seeding_ratio" in given:
            return {"seeding_ratio": given["seeding_ratio"], "seeding_time": None}
        case "time" if "seeding_time" in given:
            return {"seeding_ratio": None, "seeding_time": given["seeding_time"]}
    raise Invalid(
        "seeding_mode must be forever, never, ratio with a seeding_ratio, or time with a"
        " seeding_time in seconds"
    )
