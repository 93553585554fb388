"""How daemons are configured: tables of settings, for the command line and the INI file alike.

The fields of a subclass of `Settings` are a table. From it come the options of a twistd
sub-command (`DaemonOptions`) and the keys that a configuration file may hold. The command line
wins over the file, the file over the default; an empty value means the default.
"""

import configparser
import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from twisted.python import usage

from p2pd import __version__, values
from p2pd.errors import Invalid

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


def setting(
    explanation: str,
    read: Callable[[str], Any] = str,
    default: str = "",
    *,
    repeatable: bool = False,
    otherwise: Callable[[Mapping[str, Any]], Any] = _nothing,
) -> Any:
    """Return the dataclass field that stands for one row of a table; see `Setting`."""
    row = {
        "help": explanation,
        "read": read,
        "default": default,
        "repeatable": repeatable,
        "otherwise": (lambda _: ()) if repeatable else otherwise,
    }
    return dataclasses.field(metadata=row)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """A daemon's table of settings, and its configuration once they are read."""

    daemon: ClassVar[str]
    """What the daemon is called in files: the section of the INI file, its state directory."""


C = TypeVar("C", bound=Settings)


def table(kind: type[Settings]) -> list[Setting]:
    """Return the rows of a daemon's table."""
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
    for row in table(kind):
        if row.name in given:
            place, texts = f"--{row.name}", given[row.name][:]
        else:
            place, texts = f"{file}: {row.name}", written.get(row.name, [])
        try:
            read[row.field] = _value(row, texts, read)
        except Invalid as wrong:
            raise Invalid(f"{place}: {wrong.reason}") from wrong
    return kind(**read)


def _value(row: Setting, written: Iterable[str], before: Mapping[str, Any]) -> Any:
    texts = [text for text in map(str.strip, written) if text] or [row.default]
    if texts == [""]:
        return row.otherwise(before)
    if row.repeatable:
        return tuple(map(row.read, texts))
    if len(texts) > 1:
        raise Invalid("only one value is allowed here")
    return row.read(texts[0])


def read_ini(kind: type[Settings], file: Path) -> Texts:
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
    names = [row.name for row in table(kind)]
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

    kind: ClassVar[type[Settings]]
    config: Settings

    def __init_subclass__(cls) -> None:
        """Give the class an `opt_` method for each setting, as `usage.Options` wants them."""
        super().__init_subclass__()
        for row in table(cls.kind):
            setattr(cls, f"opt_{row.field}", _option(row))

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


def _option(row: Setting) -> Callable[..., None]:
    def take(options: DaemonOptions, text: str) -> None:
        if not row.repeatable:
            options.given.pop(row.name, None)
        options.given.setdefault(row.name, []).append(text)

    def switch_on(options: DaemonOptions) -> None:
        options.given[row.name] = ["yes"]

    is_switch = row.read is values.flag and row.default == "no"
    option: Callable[..., None] = switch_on if is_switch else take
    shown = f" [default: {row.default}]" if option is take and row.default else ""
    option.__doc__ = f"{row.help}{shown}"
    return option
