"""The directories that a node may use, and where in them a download goes."""

from collections.abc import Callable
from pathlib import Path

from p2pd.errors import Denied, Invalid
from p2pd.metainfo.paths import MAX_PATH, parse_relative
from p2pd.metainfo.torrent import Torrent


class Roots:
    """The download directory, and others; one may lie in another.

    `resolve` follows the links of a path.
    """

    def __init__(self, *roots: Path, resolve: Callable[[Path], Path]) -> None:
        self._roots = roots
        self._resolve = resolve

    @property
    def first(self) -> Path:
        """The download directory."""
        return self._roots[0]

    def place(
        self, torrent: Torrent, destination: str, is_directory: Callable[[Path], bool]
    ) -> Path:
        """Where content goes; see `Store.place`."""
        path = self._placed(torrent, destination, is_directory)
        if any(root.is_relative_to(path) for root in self._roots):
            raise Invalid(f"{path} is a directory that downloads go into: give it another name")
        return path

    def _placed(
        self, torrent: Torrent, destination: str, is_directory: Callable[[Path], bool]
    ) -> Path:
        if not destination:
            return self.first / torrent.name
        root, text = self._relative(destination.rstrip("/") or "/")
        path = root if text in (".", "") else root.joinpath(*parse_relative(text))
        into = destination.endswith("/") or path == root
        if into or (torrent.single_file and is_directory(path)):
            path /= torrent.name
        if not self._holds(self._resolve(path.parent)):
            raise Invalid(f"destination {destination} leaves {root} by a link")
        return path

    def allowed(self, path: str) -> Path:
        """Where an absolute path leads; `Invalid` or `Denied` as in `Store.allowed`."""
        if not path.startswith("/") or len(path) > MAX_PATH:
            raise Invalid(f"{path[:100]!r} is not an absolute path")
        try:
            real = self._resolve(Path(path))
        except ValueError:
            raise Invalid(f"{path[:100]!r} is nothing that a file system can name") from None
        if not self._holds(real):
            raise Denied(f"{path} is outside of what may be used here: {self._listed()}")
        return real

    def _relative(self, destination: str) -> tuple[Path, str]:
        """The root that a destination is in, and its place there."""
        if not destination.startswith("/"):
            return self.first, destination
        for root in self._roots:
            if Path(destination).is_relative_to(root):
                return root, str(Path(destination).relative_to(root))
        raise Invalid(
            f"destination {destination} is outside the download directory {self.first}: "
            f"choose a path inside {self._listed()}, or start the node with other directories"
        )

    def _holds(self, real: Path) -> bool:
        return any(real.is_relative_to(self._resolve(root)) for root in self._roots)

    def _listed(self) -> str:
        return " or ".join(map(str, self._roots))
