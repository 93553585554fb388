"""The rooms keep their floors: what may import what, checked on the source text of p2pd."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "metainfo": 0,
    "protocol": 1,
    "swarm": 1,
    "tracker": 2,
    "node": 2,
    "store": 3,
    "links": 3,
    "frontends": 3,
    "daemon": 4,
    "sim": 4,
    "cli": 4,
}
# The command that runs the simulator, in its own process.
BESIDE = {("cli", "sim")}
WITHOUT_TWISTED = {"metainfo", "protocol", "swarm"}
WITH_REACTOR = {"daemon", "cli"}
WITH_KLEIN_OR_TREQ = {"frontends", "links", "cli"}
# What frontends are made of; and those that list them.
SHARED_FRONTENDS = {
    "kit",
    "authorisation",
    "credentials",
    "cors",
    "token_files",
    "datagrams",
    "datagram_batches",
    "json_text",
    "admin_dialect",
    "fleet",
    "ranges",
    "have_stream",
    "paced",
    "reader",
    "sending",
    "sources",
    "announces",
    "jsonrpc_rows",
    "jsonrpc_query",
    "jsonrpc_hashes",
    "jsonrpc_methods",
    "jsonrpc_envelope",
    "forms",
    "raw",
    "content",
    "event_stream",
    "open_reply",
    "control",
    "downloads_dialect",
    "downloads_fields",
    "downloads_wire",
    "tasks_dialect",
    "tasks_wire",
}
LISTS_FRONTENDS = {"mount", "admin", "jsonrpc", "downloads"}
LONGEST = 400

MODULES = sorted((ROOT / "p2pd").rglob("*.py")) + sorted((ROOT / "twisted").rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    return any(
        (ROOT / f"{name.replace('.', '/')}{end}").exists() for end in (".py", "/__init__.py")
    )


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Every import as a dotted name, and whether it stands at the top of the module."""
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) not in inside


def room(name: str) -> str | None:
    """The room of a dotted name; None for modules that belong to the whole of p2pd."""
    parts = name.split(".")
    return parts[1] if parts[0] == "p2pd" and len(parts) > 1 and parts[1] in FLOORS else None


def wrongs(name: str, source: str) -> Iterator[str]:
    """What a module's imports do that its room does not allow."""
    here = room(name)
    for imported, at_top in imports(ast.parse(source)):
        there = room(imported)
        top = imported.partition(".")[0]
        if imported.startswith("."):
            yield f"{name} has a relative import"
        if there and there != here and not may_import(here, there):
            yield f"{name} imports {imported}, which is not on a lower floor"
        if here == there == "frontends" and not frontend_may(name, imported):
            yield f"{name} imports another frontend, {imported}"
        if imported.startswith("twisted.internet.reactor") and (
            here not in WITH_REACTOR or at_top
        ):
            yield f"{name} imports the reactor"
        if top in {"klein", "treq"} and here not in WITH_KLEIN_OR_TREQ:
            yield f"{name} imports {top}"
        if here in WITHOUT_TWISTED and uses_twisted(imported):
            yield f"{name} imports Twisted by {imported}"


def may_import(here: str | None, there: str) -> bool:
    if here is None:
        return False
    return FLOORS[there] < FLOORS[here] or (here, there) in BESIDE


def frontend_may(name: str, imported: str) -> bool:
    own, other = name.split(".")[2:3], imported.split(".")[2]
    return own == [other] or other in SHARED_FRONTENDS or own[0] in LISTS_FRONTENDS


def uses_twisted(imported: str) -> bool:
    """Whether a name is Twisted's, or of a module of no room that imports Twisted."""
    if imported.partition(".")[0] in {"twisted", "klein", "treq"}:
        return True
    name = imported if is_module(imported) else imported.rpartition(".")[0]
    if not name.startswith("p2pd.") or room(name):
        return False
    source = (ROOT / f"{name.replace('.', '/')}.py").read_text()
    return any(uses_twisted(each) for each, _ in imports(ast.parse(source)))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_keeps_to_its_floor(path):
    assert list(wrongs(name_of(path), path.read_text())) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for_and_stays_short(path):
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source)), "the docstring is missing"
    assert source.startswith('"""'), "the docstring comes first"
    assert len(source.splitlines()) <= LONGEST


def test_every_directory_is_a_known_room():
    rooms = {path.parent for path in (ROOT / "p2pd").glob("*/*.py")}
    assert {path.name for path in rooms} <= FLOORS.keys()
    assert all((path / "__init__.py").exists() for path in rooms)


def test_the_plugin_directory_is_no_package():
    assert not list((ROOT / "twisted").rglob("__init__.py"))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("p2pd.tracker.x", "from p2pd.node import node"),
        ("p2pd.node.x", "import p2pd.tracker.tracker"),
        ("p2pd.metainfo.x", "from p2pd.swarm.picker import Picker"),
        ("p2pd.links.x", "from p2pd.store import files"),
        ("p2pd.errors", "from p2pd.metainfo import ids"),
        ("p2pd.cli.x", "from p2pd.daemon import config"),
        ("p2pd.sim.x", "from p2pd.cli import output"),
        ("p2pd.sim.x", "from p2pd.daemon import config"),
        ("p2pd.sim.x", "def f():\n    from twisted.internet import reactor"),
        ("p2pd.node.x", "def f():\n    from p2pd.links import http"),
        ("p2pd.node.x", "from . import views"),
        ("p2pd.frontends.a", "from p2pd.frontends import fleet_node"),
        ("p2pd.frontends.a", "from p2pd.frontends.fleet_node import api"),
        ("p2pd.node.x", "def f():\n    from twisted.internet import reactor"),
        ("p2pd.daemon.x", "from twisted.internet import reactor"),
        ("p2pd.daemon.x", "import twisted.internet.reactor"),
        ("p2pd.store.x", "import treq"),
        ("p2pd.daemon.x", "from klein import Klein"),
        ("p2pd.swarm.x", "from twisted.internet import defer"),
        ("p2pd.swarm.x", "from p2pd import background"),
        ("p2pd.swarm.x", "from p2pd.background import start"),
    ],
)
def test_the_rules_catch(name, source):
    assert list(wrongs(name, source))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("p2pd.daemon.x", "def f():\n    from twisted.internet import reactor"),
        ("p2pd.tracker.x", "from p2pd.metainfo.ids import NodeId\nfrom p2pd.tracker import views"),
        ("p2pd.swarm.x", "from p2pd import errors\nfrom p2pd.errors import Invalid"),
        ("p2pd.cli.x", "from p2pd.sim.simulation import Simulation"),
        (
            "p2pd.frontends.a",
            "from p2pd.frontends import kit\nfrom p2pd.frontends.fleet import reply",
        ),
        ("p2pd.frontends.a", "from klein import Klein"),
    ],
)
def test_the_rules_allow(name, source):
    assert list(wrongs(name, source)) == []
