"""How the values of settings are written: each function reads one kind, or raises Invalid."""

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from p2pd.errors import Invalid

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_BITS = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)bit(?:/s)?", re.IGNORECASE)
_LONGEST_TIME = 1e6
_LARGEST_NUMBER = 1e9
_YES = frozenset({"yes", "true", "on", "1"})
_NO = frozenset({"no", "false", "off", "0"})


def size(text: str) -> int:
    """Read bytes: `1500`, `10M` (millions), `64KiB` (powers of 1024)."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Invalid(f"{text!r} is not a size in bytes: write 1500, 10M or 64KiB")
    number, prefix, binary = found.groups()
    exponent = " kmgt".index(prefix.lower() or " ")
    return int(float(number) * (1024 if binary else 1000) ** exponent)


def link_rate(text: str) -> int:
    """Read the rate of a link as bytes/s: `100Mbit` (bits), or a size such as `300MB`."""
    found = _BITS.fullmatch(text)
    try:
        if found is None:
            return size(text.removesuffix("/s"))
    except Invalid:
        raise Invalid(f"{text!r} is not the rate of a link: write 100Mbit or 300MB") from None
    number, prefix = found.groups()
    return int(float(number) * 1000 ** " kmgt".index(prefix.lower() or " ") / 8)


def seconds(text: str) -> float:
    """Read a time in seconds, more than 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= _LONGEST_TIME:
        raise Invalid(f"{text!r} is not a time in seconds: write a number above 0, like 2.5")
    return number


def count(text: str) -> int:
    """Read a whole number from 1 to 1000."""
    if not re.fullmatch(r"\d{1,4}", text) or not 1 <= int(text) <= 1000:
        raise Invalid(f"{text!r} is not a whole number from 1 to 1000")
    return int(text)


def whole(text: str) -> int:
    """Read a whole number from 0 to 999999."""
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise Invalid(f"{text!r} is not a whole number from 0 to 999999")
    return int(text)


def number(text: str) -> float:
    """Read a number from 0 to a thousand millions."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _LARGEST_NUMBER:
        raise Invalid(f"{text!r} is not a number of at least 0, like 1.5")
    return value


def flag(text: str) -> bool:
    """Read yes or no, true or false, on or off, 1 or 0."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise Invalid(f"{text!r} is neither yes nor no")


def choice(*words: str) -> Callable[[str], str]:
    """Return a function that reads one of these words."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise Invalid(f"{text!r} is none of {', '.join(words)}")
        return text.lower()

    return read


def network(text: str) -> Network:
    """Read an IP network like 10.0.0.0/8 or fd00::/8; an address alone is a network of one."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is not a network like 10.0.0.0/8: {error}") from None


def url(text: str) -> str:
    """Read the URL of an HTTP server, without the slash at its end."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", text):
        raise Invalid(f"{text!r} is not a URL like http://tracker.example:38080")
    if parts.username is not None:
        raise Invalid("a URL here may not hold a user name or password: it would end up in logs")
    if parts.query or parts.fragment:
        raise Invalid(f"{text!r} may not have a query or a fragment")
    return text.rstrip("/")


def origin(text: str) -> str:
    """Read the origin of web pages, which is the beginning of their URLs up to the port."""
    read = url(text).lower()
    parts = urlsplit(read)
    if parts.path or "*" in read or read.endswith({"http": ":80", "https": ":443"}[parts.scheme]):
        raise Invalid(f"{text!r} is not an origin as browsers send it: write https://ui.example")
    return read


def path(text: str) -> Path:
    """Read a path; `~` is the home directory, and what is relative starts where we are."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise Invalid(f"{text!r}: {error}") from error


def existing_directory(text: str) -> Path:
    """Read the path of a directory that is there."""
    directory = path(text)
    if not directory.is_dir():
        raise Invalid(f"{directory} is not a directory")
    return directory
