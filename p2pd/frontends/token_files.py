"""Tokens kept in files: the fleet's, the admin API's, and those of a node's users."""

import contextlib
import os
import secrets
import stat
import tempfile
from itertools import takewhile
from pathlib import Path

from twisted.logger import Logger

from p2pd.errors import Invalid
from p2pd.roles import Role

SHORTEST_TOKEN = 16
LONGEST_TOKEN = 1024
LARGEST_FILE = 65536

_log = Logger()


def read_token(path: Path) -> bytes:
    """Return the shared token kept in the file `path`, without surrounding white space.

    Raises Invalid if it cannot be read, is shorter than 16 characters, or could not travel in
    a header. Warns if others on the machine can read it.
    """
    return _checked(_read(path, LONGEST_TOKEN + 2).strip(), path)


def read_tokens(path: Path) -> dict[bytes, Role]:
    """Return the tokens kept in the file `path`, and what each of them allows.

    Each stands on a line, alone (an admin's) or with its role after it. `#` begins a comment.
    Raises Invalid as `read_token` does, and if there is no token, or one stands there twice.
    """
    text = _read(path, LARGEST_FILE + 1)
    if len(text) > LARGEST_FILE:
        raise Invalid(f"the token file {path} is larger than {LARGEST_FILE} bytes")
    tokens: dict[bytes, Role] = {}
    for line in text.splitlines():
        words = list(takewhile(lambda word: not word.startswith(b"#"), line.split()))
        if not words:
            continue
        token = _checked(words[0], path)
        if token in tokens:
            raise Invalid(f"one token stands in {path} twice: give everyone their own")
        tokens[token] = _role(words[1:], path)
    if not tokens:
        raise Invalid(f"there is no token in {path}: write one a line")
    return tokens


def _role(words: list[bytes], path: Path) -> Role:
    if not words:
        return Role.ADMIN
    try:
        return Role.read(b" ".join(words).decode("ascii", "replace"))
    except Invalid as wrong:
        raise Invalid(f"{path}: {wrong.reason}") from None


def admin_token(path: Path) -> bytes:
    """Return the token kept in the file `path`; if there is no file, make one with a new token.

    Only its owner can read a file so made. Raises Invalid as `read_token` does, or if the file
    cannot be made.
    """
    try:
        if not path.exists():
            _make_token(path)
    except OSError as error:
        raise Invalid(f"cannot make the token file {path}: {error.strerror}") from error
    return read_token(path)


def _make_token(path: Path) -> None:
    descriptor, made = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # its owner's only
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(32).encode() + b"\n")
        # A link appears whole, and never in the place of a file that another made meanwhile.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(made)
    finally:
        Path(made).unlink()


def _read(path: Path, most: int) -> bytes:
    """Return at most so many bytes of a file; warn if others on the machine can read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(most)
    except OSError as error:
        raise Invalid(f"cannot read the token file {path}: {error.strerror}") from error
    if stat.S_IMODE(mode) & stat.S_IROTH:
        _log.warn("every user of this machine can read the token file {path}", path=path)
    return text


def _checked(token: bytes, path: Path) -> bytes:
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
        raise Invalid(
            f"the token in {path} must have {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters"
        )
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise Invalid(f"the token in {path} may hold only printable ASCII, and no spaces")
    return token
