"""The choice between compiled code and pure Python, and what the log says of it."""

import importlib
import os
import sys

import pytest

from p2pd.daemon import twins
from p2pd.frontends.announce_http import HttpDoor
from p2pd.frontends.announce_udp import UdpDoor
from p2pd.tracker.peer_table import CompactTable

PURE = (CompactTable, HttpDoor, UdpDoor)


def classes(twin):
    return twin.table, twin.http_door, twin.udp_door


def test_compiled_code_answers_if_it_was_built():
    if not os.environ.get("CI"):  # where a compiler is, and all the other tests would be skipped
        pytest.importorskip("p2pd.frontends._compiled")
    compiled = importlib.import_module("p2pd.frontends._compiled")
    twin = twins.choose(compiled=True)
    assert classes(twin) == (
        compiled.CompiledTable,
        compiled.CompiledHttpDoor,
        compiled.CompiledUdpDoor,
    )
    assert twin.words == "announces are answered by compiled code"


def test_python_answers_if_that_is_wanted():
    twin = twins.choose(compiled=False)
    assert classes(twin) == PURE
    assert twin.words == "announces are answered by pure Python: as configured"


def test_python_answers_if_nothing_was_built(monkeypatch):
    monkeypatch.setitem(sys.modules, "p2pd.frontends._compiled", None)
    monkeypatch.delattr("p2pd.frontends._compiled", raising=False)
    twin = twins.choose(compiled=True)
    assert classes(twin) == PURE
    assert "install a C compiler and reinstall p2pd" in twin.words
