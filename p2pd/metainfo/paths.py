"""Names that others chose, turned into safe relative paths or refused.

Everything that becomes part of a path on disk passes here first, whichever door it came by.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from p2pd.errors import Invalid

MAX_NAME = 255
"""Bytes of UTF-8 in one name: what Linux file systems take."""
MAX_PATH = 4096
"""Bytes of UTF-8 in a path, slashes included."""
MAX_DEPTH = 64
"""Names in a path."""
PARTIAL_PREFIX = ".p2pd-"
"""How the names of unfinished files begin; nobody else may use it."""

_URL = re.compile(r"https?://[!-~]+")
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")


@lru_cache(maxsize=4096)
def safe_name(text: str) -> str:
    """Give back one safe component of a path; raise Invalid for a name that could do harm."""
    if text in {"", ".", ".."}:
        raise Invalid(f"{text!r} is not a file name")
    if _FORBIDDEN.search(text):
        raise Invalid(f"the name {_shown(text)} has a slash, backslash or control character")
    if text.startswith(PARTIAL_PREFIX):
        raise Invalid(f"the name {_shown(text)} is reserved for unfinished files")
    if _size(text) > MAX_NAME:
        raise Invalid(f"the name {_shown(text)} is longer than {MAX_NAME} bytes")
    return text


def safe_path(parts: Sequence[str]) -> tuple[str, ...]:
    """Give back a relative path whose every part is a safe name; raise Invalid otherwise."""
    if not parts:
        raise Invalid("a path is empty")
    if len(parts) > MAX_DEPTH:
        raise Invalid(f"a path is more than {MAX_DEPTH} names deep")
    names = tuple(map(safe_name, parts))
    if sum(map(len, names)) > MAX_PATH // 8 and _size("/".join(names)) > MAX_PATH:
        raise Invalid(f"the path {_shown('/'.join(names))} is longer than {MAX_PATH} bytes")
    return names


def parse_relative(text: str) -> tuple[str, ...]:
    """Read a path such as `a/b/c`; raise Invalid if it is absolute, empty or unsafe."""
    if len(text) > MAX_PATH:
        raise Invalid(f"the path {_shown(text)} is longer than {MAX_PATH} bytes")
    return safe_path(text.split("/"))


def is_url(text: str) -> bool:
    """Tell whether a filename of the fleet is the URL that the file was read from."""
    return _URL.fullmatch(text) is not None


def parse_filename(text: str) -> str:
    """Give back what a file of the fleet can be called: a relative path, or an http(s) URL.

    Raises Invalid for anything else.
    """
    if len(text) > MAX_PATH or not is_url(text):
        parse_relative(text)
    return text


def check_tree(paths: Iterable[tuple[str, ...]]) -> None:
    """Refuse paths that cannot all be files of one tree, by raising Invalid.

    Two paths that differ only in Unicode normalisation count as one: some file systems would
    make them the same file.
    """
    # Joined by NUL, which no name has, a path sorts right before all that lie below it, so a
    # look at neighbours is enough.
    ordered = sorted(unicodedata.normalize("NFC", "\0".join(path)) for path in paths)
    for path, following in pairwise(ordered):
        if path == following:
            raise Invalid(f"the path {_shown(path.replace(chr(0), '/'))} occurs twice")
        if following.startswith(path + "\0"):
            shown = _shown(path.replace("\0", "/"))
            raise Invalid(f"the path {shown} is both a file and a directory")


def _size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f"the name {_shown(text)} is not valid Unicode") from None


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")
