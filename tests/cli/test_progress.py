import dataclasses
import io
import json

import pytest
from twisted.internet.task import Clock

from p2pd.cli.client import Transfer
from p2pd.cli.output import Output
from p2pd.cli.progress import display_on, facts
from p2pd.swarm.lifecycle import State

DOWNLOADING = Transfer(
    infohash="ab" * 20,
    name="a.bin",
    path="/downloads/a.bin",
    state=State.DOWNLOADING,
    error="",
    size=1_000_000,
    progress=0.25,
    downloaded=250_000,
    uploaded=0,
    speed_down=100_000.0,
    upload_limit=0,
    download_limit=0,
    speed_up=0.0,
    eta=7.5,
    peers=2,
    added=1.0,
    finished=None,
    document={"progress": 0.25},
)
COMPLETE = dataclasses.replace(DOWNLOADING, state=State.COMPLETE, document={"progress": 1})


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stdout():
    return io.StringIO()


def show_for_five_seconds(display, clock):
    for _ in range(25):
        display.show("a.bin", DOWNLOADING)
        clock.advance(0.2)
    display.show("a.bin", COMPLETE)


def test_facts():
    assert facts(DOWNLOADING) == "100.0 kB/s, 0:00:08 left, 2 peers"
    assert facts(dataclasses.replace(DOWNLOADING, eta=None, peers=1)) == "100.0 kB/s, 1 peer"
    assert facts(dataclasses.replace(DOWNLOADING, state=State.CHECKING)) == "checking"


def test_lines_come_every_few_seconds(clock, stdout):
    with display_on(Output(stdout, io.StringIO()), clock) as display:
        show_for_five_seconds(display, clock)
    line = "a.bin: 25.0 % of 1.0 MB, 100.0 kB/s, 0:00:08 left, 2 peers\n"
    assert stdout.getvalue() == line * 3


def test_each_transfer_has_its_own_lines(clock, stdout):
    with display_on(Output(stdout, io.StringIO()), clock) as display:
        for label in ("one", "two", "one"):
            display.show(label, DOWNLOADING)
    assert [line[:4] for line in stdout.getvalue().splitlines()] == ["one:", "two:"]


def test_documents_end_with_the_last_look(clock, stdout):
    with display_on(Output(stdout, io.StringIO(), as_json=True), clock) as display:
        show_for_five_seconds(display, clock)
    shown = [json.loads(line)["progress"] for line in stdout.getvalue().splitlines()]
    assert shown == [0.25, 0.25, 0.25, 1]


def test_nothing_where_one_document_follows(clock, stdout):
    out = Output(stdout, io.StringIO(), as_json=True)
    with display_on(out, clock, documents=False) as display:
        show_for_five_seconds(display, clock)
    assert stdout.getvalue() == ""
