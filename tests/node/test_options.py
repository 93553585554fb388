"""What is kept of a download as JSON comes back as it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.metainfo.torrent import Torrent
from p2pd.node.job import Job, Level, Removal
from p2pd.node.options import (
    DownloadOptions,
    SeedingRule,
    TrackerChoice,
    TrackerSource,
    trackers_of,
)
from p2pd.node.settings import NodeSettings
from tests.samples import torrent

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
COUNTS = st.integers(0, 2**40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
LIMITS = st.none() | st.floats(0, 1e9)
TRACKERS = st.builds(
    TrackerChoice,
    url=st.sampled_from(["udp://a:1", "http://b/announce", "https://c/x?y=%20"]),
    tier=st.integers(0, 9),
    source=st.sampled_from(list(TrackerSource)),
)
OPTIONS = st.builds(
    DownloadOptions,
    source=TEXTS,
    name=TEXTS,
    destination=TEXTS,
    replace=st.booleans(),
    paused=st.booleans(),
    priorities=st.lists(st.integers(0, 7), max_size=5).map(tuple),
    selected=st.lists(st.integers(0, 9) | TEXTS, max_size=5).map(tuple),
    sequential=st.booleans(),
    upload_limit=COUNTS,
    download_limit=COUNTS,
    max_connections=COUNTS,
    max_uploads=COUNTS,
    seeding=st.none() | st.builds(SeedingRule, ratio=LIMITS, seconds=LIMITS),
    category=TEXTS,
    tags=st.lists(TEXTS, max_size=3).map(tuple),
    metadata=st.dictionaries(TEXTS, JSON, max_size=3),
    trackers=st.lists(TRACKERS, max_size=3).map(tuple),
    web_seeds=st.lists(TEXTS, max_size=3).map(tuple),
    safe_seeding=st.booleans(),
)


@given(OPTIONS)
def test_options_come_back_as_they_were(options):
    assert DownloadOptions.from_json(options.to_json()) == options


def test_options_as_by_default_are_nothing():
    assert DownloadOptions().to_json() == "{}"
    assert DownloadOptions.from_json("") == DownloadOptions()


@given(
    OPTIONS,
    st.lists(TEXTS.filter(bool), max_size=4),
    st.lists(st.tuples(st.floats(0, 1e10), st.sampled_from(list(Level)), TEXTS), max_size=4),
    st.sampled_from(list(Removal)),
    st.integers(0, 99),
)
def test_a_job_comes_back_as_it_was(options, sources, lines, removing, position):
    job = Job(options, added=5.0)
    job.position, job.removing, job.shared = position, removing, True
    for source in sources:
        job.also_from(source)
    for line in lines:
        job.note(*line)
    again = Job.from_json(job.to_json(9.0), 7)
    assert again.number == 7
    assert again.options == options
    assert again.marks() == job.marks()
    assert list(again.log) == list(job.log)
    assert list(again.tids) == list(job.tids)
    assert json.loads(again.to_json(9.0)) == json.loads(job.to_json(9.0))


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"options": "{\\"colour\\": 1}"}'])
def test_what_is_no_job_is_refused(text):
    with pytest.raises((ValueError, TypeError, AttributeError)):
        Job.from_json(text)


def test_the_log_of_a_job_is_bounded():
    job = Job(DownloadOptions(), added=0.0)
    for number in range(500):
        job.note(number, Level.DEBUG, "x" * 10_000)
        job.also_from(f"source {number}")
    assert len(job.log) == 100
    assert job.log[-1].time == 499
    assert len(job.log[0].text) == 500
    assert len(job.aliases) == 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"priorities": (8,)},
        {"priorities": (-1,)},
        {"upload_limit": -1},
        {"download_limit": -1},
        {"max_connections": -1},
        {"max_uploads": -1},
        {"tags": ("x",) * 101},
        {"tags": ("x" * 4097,)},
        {"name": "\ud800"},
        {"metadata": {"x": "y" * 70_000}},
        {"trackers": (TrackerChoice("udp://a:1", 0, TrackerSource.CLIENT),) * 1001},
    ],
)
def test_options_out_of_bounds(wrong):
    with pytest.raises(Invalid):
        DownloadOptions(**wrong)


@pytest.mark.parametrize(
    "url", ["", "ftp://a", "udp", "http://a b", "http://ä", "udp://" + "x" * 3000]
)
def test_what_is_no_tracker(url):
    with pytest.raises(Invalid):
        TrackerChoice(url, 0, TrackerSource.CLIENT)


def test_trackers_of_metainfo_that_cannot_be_ones_are_left_out():
    made = Torrent.from_bytes(torrent().to_bytes(trackers=[["udp://a:1", "x"], ["http://b/"]]))
    assert [(one.url, one.tier) for one in trackers_of(made.trackers, TrackerSource.TORRENT)] == [
        ("udp://a:1", 0),
        ("http://b/", 1),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_upload_rate": 1.5},
        {"max_upload_rate": True},
        {"max_active_downloads": None},
        {"seeding_ratio": float("nan")},
        {"seeding_ratio": float("inf")},
        {"seeding_time": -1},
        {"paused": 1},
        {"colour": 1},
    ],
)
def test_settings_that_are_none(wrong):
    with pytest.raises(Invalid, match=next(iter(wrong))):
        NodeSettings().changed(wrong)
    assert NodeSettings().kept(wrong | {"log_lines": 5}) == NodeSettings(log_lines=5)


def test_settings_are_changed_by_name():
    changed = NodeSettings().changed({"seeding_ratio": 2, "seeding_time": None, "paused": True})
    assert changed.seeding == SeedingRule(2, None)
    assert changed.as_dict()["paused"] is True
