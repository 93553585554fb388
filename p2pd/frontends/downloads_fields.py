"""What fields of requests mean in the downloads API, where several operations share them."""

from collections.abc import Iterable, Sequence
from typing import Any

from p2pd.errors import Invalid
from p2pd.frontends.forms import Form
from p2pd.node.options import NORMAL, UNWANTED

INVALID_URI = "invalid uri"
NOT_ANONYMOUS = (
    "anonymous downloads need an anonymising transport, and this node has none configured:"
    " ask for anon_hops 0"
)
_SCHEMES = ("http:", "https:", "magnet:", "file:")


def names_a_source(uri: str) -> bool:
    """Return whether a URI is of a kind that this API takes."""
    return uri.lower().startswith(_SCHEMES)


def asks_for_hops(form: Form, name: str) -> bool:
    """Return whether a field asks for anonymity; what is no number of hops does not."""
    digits = str(form.get(name))
    return digits.isascii() and digits.isdigit() and bool(digits.strip("0"))


def chosen_files(given: Iterable[Any]) -> tuple[int | str, ...]:
    """Return the indexes and names of files, before anybody knows what files there are.

    A form cannot tell a number from a name of digits: what may be either is taken for a number.
    """
    return tuple(_number(one) for one in given if one != "")


def priorities(
    given: Iterable[Any], names: Sequence[str], present: Sequence[int]
) -> tuple[int, ...]:
    """Return the priorities of files of which some are chosen, by index or by name.

    Choosing none is choosing all.  Those wanted already stay as they are at `present`.
    """
    indexes = {name: index for index, name in reversed([*enumerate(names)])}
    chosen = {_index(one, indexes) for one in given if one != ""}
    return tuple(
        (priority or NORMAL) if index in chosen or not chosen else UNWANTED
        for index, priority in enumerate(present)
    )


def _index(one: Any, indexes: dict[str, int]) -> int:
    if isinstance(one, str) and one in indexes:
        return indexes[one]
    index = _number(one)
    if not isinstance(index, int) or not 0 <= index < len(indexes):
        raise Invalid(f"index {str(index)[:80]} out of range")
    return index


def _number(one: Any) -> int | str:
    if isinstance(one, bool) or not isinstance(one, int | str):
        raise Invalid("selected_files must be indexes or names of files")
    if isinstance(one, str) and one.isascii() and one.isdigit() and len(one) < 10:
        return int(one)
    return one
