"""The settings of both daemons: one table each, for the command line and the INI file alike.

The fields of `TrackerConfig` and `NodeConfig` are the tables. From them come the options of
twistd's sub-commands (`DaemonOptions`) and the keys that a configuration file may hold. The
command line wins over the file, the file over the default; an empty value means the default.
"""

# ruff: noqa: RUF009 - `_setting` and its like return dataclass fields

import configparser
import dataclasses
import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from twisted.python import usage

from p2pd import __version__, values
from p2pd.errors import Invalid
from p2pd.metainfo.ids import (
    NO_ZONE,
    Address,
    NodeId,
    Zone,
    parse_address,
    parse_node_id,
    parse_zone,
)

Texts = Mapping[str, Sequence[str]]
"""Settings as written, by name: one text each, or several where a setting is repeatable."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of a table: how a setting is called, read and explained.

    `default` is written as a user would write it; where that is empty, `otherwise` makes the
    value from those of the settings before it.
    """

    name: str
    help: str
    read: Callable[[str], Any]
    default: str
    repeatable: bool
    otherwise: Callable[[Mapping[str, Any]], Any]

    @property
    def field(self) -> str:
        """The setting's name in the configuration's class."""
        return self.name.replace("-", "_")


def _nothing(_: Mapping[str, Any]) -> None:
    return None


def _setting(
    explanation: str,
    read: Callable[[str], Any] = str,
    default: str = "",
    *,
    repeatable: bool = False,
    otherwise: Callable[[Mapping[str, Any]], Any] = _nothing,
) -> Any:
    row = {
        "help": explanation,
        "read": read,
        "default": default,
        "repeatable": repeatable,
        "otherwise": (lambda _: ()) if repeatable else otherwise,
    }
    return dataclasses.field(metadata=row)


def _listen(default: str) -> Any:
    return _setting(
        "Twisted endpoint to listen on, or auto: a free port of 48000-48999 on loopback"
        " (repeatable)",
        default=default,
        repeatable=True,
    )


def _state_dir(daemon: str) -> Any:
    return _setting(
        "directory for what must survive a restart (default: $STATE_DIRECTORY,"
        f" or ~/.local/state/p2pd/{daemon})",
        values.path,
        otherwise=lambda _: default_state_dir(daemon, os.environ),
    )


def default_state_dir(daemon: str, environ: Mapping[str, str]) -> Path:
    """Return where a daemon keeps its state: as systemd says, else as the XDG directories do."""
    if systemd := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(systemd)
    home = environ.get("XDG_STATE_HOME", "")
    base = Path(home) if Path(home).is_absolute() else values.path("~/.local/state")
    return base / "p2pd" / daemon


@dataclasses.dataclass(frozen=True, kw_only=True)
class DaemonConfig:
    """The settings that both daemons have; each gives its own default to the first two."""

    daemon: ClassVar[str]
    """What the daemon is called in files: the section of the INI file, its state directory."""

    listen: tuple[str, ...]
    state_dir: Path
    origin_dir: Path | None = _setting(
        "directory of files to fetch when no node has them", values.existing_directory
    )
    origin_url: str | None = _setting(
        "HTTP server of files to fetch when no node has them", values.url
    )
    token_file: Path | None = _setting(
        "file with the token that all daemons of a fleet share", values.path
    )
    insecure: bool = _setting("listen off loopback even without a token file", values.flag, "no")

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.origin_dir and self.origin_url:
            raise Invalid("give origin-dir or origin-url, not both")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackerConfig(DaemonConfig):
    """The tracker's settings; times in seconds."""

    daemon: ClassVar[str] = "tracker"

    listen: tuple[str, ...] = _listen("tcp:38080:interface=127.0.0.1")
    state_dir: Path = _state_dir("tracker")
    heartbeat_timeout: float = _setting(
        "seconds of silence after which a node counts as gone", values.seconds, "10"
    )
    sweep_interval: float = _setting(
        "seconds between two looks for silent nodes", values.seconds, "3"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeConfig(DaemonConfig):
    """The node's settings; times in seconds, rates in bytes a second (0: no limit)."""

    daemon: ClassVar[str] = "node"

    listen: tuple[str, ...] = _listen("auto")
    state_dir: Path = _state_dir("node")
    tracker: tuple[str, ...] = _setting(
        "URL of a tracker, like http://tracker.example:38080 (repeatable)",
        values.url,
        repeatable=True,
    )
    peer_ca: Path | None = _setting(
        "PEM file of the CA that signed the certificates of all nodes and https trackers: nodes"
        " then talk TLS to each other",
        values.path,
    )
    advertise: Address | None = _setting(
        "HOST:PORT at which other nodes reach this one (default: the first listening address)",
        parse_address,
    )
    node_id: NodeId | None = _setting(
        "name of this node (default: made once, kept in the state directory)", parse_node_id
    )
    zone: Zone = _setting(
        "name of where this node is, such as a rack: nodes of one zone serve each other first",
        parse_zone,
        otherwise=lambda _: NO_ZONE,
    )
    download_dir: Path = _setting(
        "directory for finished files (default: downloads in the state directory)",
        values.path,
        otherwise=lambda read: read["state_dir"] / "downloads",
    )
    parallel: int = _setting("requests for pieces at the same time, in all", values.count, "8")
    max_upload_rate: int = _setting(
        "bytes to send in a second, like 10M or 64KiB; 0: no limit", values.size, "0"
    )
    max_download_rate: int = _setting(
        "bytes to receive in a second, like 10M or 64KiB; 0: no limit", values.size, "0"
    )
    heartbeat_interval: float = _setting(
        "seconds between two heart beats to the tracker", values.seconds, "3"
    )


C = TypeVar("C", bound=DaemonConfig)


def settings(kind: type[DaemonConfig]) -> list[Setting]:
    """Return the table of a daemon's settings."""
    return [
        Setting(name=field.name.replace("_", "-"), **field.metadata)
        for field in dataclasses.fields(kind)
    ]


def load(kind: type[C], given: Texts, file: Path | None = None) -> C:
    """Make a daemon's configuration from what the command line and a file say.

    Raises Invalid, naming the option or the file and key that is wrong.
    """
    written = read_ini(kind, file) if file else {}
    read: dict[str, Any] = {}
    for setting in settings(kind):
        if setting.name in given:
            place, texts = f"--{setting.name}", given[setting.name][:]
        else:
            place, texts = f"{file}: {setting.name}", written.get(setting.name, [])
        try:
            read[setting.field] = _value(setting, texts, read)
        except Invalid as wrong:
            raise Invalid(f"{place}: {wrong.reason}") from wrong
    return kind(**read)


def _value(setting: Setting, written: Iterable[str], before: Mapping[str, Any]) -> Any:
    texts = [text for text in map(str.strip, written) if text] or [setting.default]
    if texts == [""]:
        return setting.otherwise(before)
    if setting.repeatable:
        return tuple(map(setting.read, texts))
    if len(texts) > 1:
        raise Invalid("only one value is allowed here")
    return setting.read(texts[0])


def read_ini(kind: type[DaemonConfig], file: Path) -> Texts:
    """Read a file with one section, [tracker] or [node]; repeatable values stand one a line.

    Raises Invalid for what cannot be read, and for unknown sections and keys.
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="", delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys are as written
    try:
        parser.read_string(file.read_text(encoding="utf-8"), source=str(file))
    except OSError as error:
        raise Invalid(f"cannot read {file}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise Invalid(f"{file}: {' '.join(str(error).split())}") from error
    for section in parser.sections():
        _require_known(section, [kind.daemon], f"{file}: unknown section [{section}]")
    if kind.daemon not in parser:
        return {}
    texts = {name: text.splitlines() for name, text in parser[kind.daemon].items()}
    names = [setting.name for setting in settings(kind)]
    for name in texts:
        _require_known(name, names, f"{file}: unknown key {name!r} in [{kind.daemon}]")
    return texts


def _require_known(word: str, known: Sequence[str], complaint: str) -> None:
    if word not in known:
        nearest = difflib.get_close_matches(word, known, n=1, cutoff=0)[0]
        raise Invalid(f"{complaint}; did you mean {nearest!r}?")


class DaemonOptions(usage.Options):
    """A daemon's command line, made from its table; `config` is what came of it.

    Whatever is wrong ends the program with one line on standard error and status 1.
    """

    kind: ClassVar[type[DaemonConfig]]
    config: DaemonConfig

    def __init_subclass__(cls) -> None:
        """Give the class an `opt_` method for each setting, as `usage.Options` wants them."""
        super().__init_subclass__()
        for setting in settings(cls.kind):
            setattr(cls, f"opt_{setting.field}", _option(setting))

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.given: dict[str, list[str]] = {}
        self._file: Path | None = None

    def opt_config(self, text: str) -> None:
        """INI file with any of these settings; see etc/ in the source."""
        self._file = values.path(text)

    def opt_version(self) -> None:
        """Print p2pd's version and exit."""
        print(f"p2pd {__version__}")  # noqa: T201 - as asked
        raise SystemExit(0)

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Parse, and make the configuration."""
        name = f"p2p-{self.kind.daemon}"
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
            self.config = load(self.kind, self.given, self._file)
        except usage.UsageError as error:
            raise SystemExit(f"{name}: {error} (twistd {name} --help lists all)") from error
        except Invalid as error:
            raise SystemExit(f"{name}: {error.reason}") from error


def _option(setting: Setting) -> Callable[..., None]:
    def take(options: DaemonOptions, text: str) -> None:
        if not setting.repeatable:
            options.given.pop(setting.name, None)
        options.given.setdefault(setting.name, []).append(text)

    def switch_on(options: DaemonOptions) -> None:
        options.given[setting.name] = ["yes"]

    option: Callable[..., None] = switch_on if setting.read is values.flag else take
    shown = f" [default: {setting.default}]" if option is take and setting.default else ""
    option.__doc__ = f"{setting.help}{shown}"
    return option
