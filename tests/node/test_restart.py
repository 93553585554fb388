"""What a node knows again after a restart, clean or not."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from p2pd.errors import Invalid, Unavailable
from p2pd.links.memory import MemoryTracker
from p2pd.swarm.lifecycle import State

PIECE = 256 * 1024


def interrupted(fleet):
    fleet.share(fleet.node("seed"), "image", fleet.data(100 * PIECE))
    leech = fleet.node("leech")
    entry = fleet.get(leech, "image")
    fleet.until(lambda: entry.held.count > 30)
    return leech, entry


def again(fleet, entry):
    leech = fleet.node("leech")
    return leech.library.get(entry.torrent.infohash)


def test_a_clean_stop_loses_nothing(fleet):
    leech, entry = interrupted(fleet)
    fleet.done(_stop(leech))
    record = fleet.tables["leech"].records[entry.torrent.infohash]
    assert record.clean
    held = entry.held.count
    resumed = again(fleet, entry)
    assert resumed.held.count >= held
    fleet.settle(resumed)
    assert resumed.downloaded == entry.torrent.length, "over both runs, each byte once"


async def _stop(node):
    await node.stopService()


def test_partial_files_that_were_deleted_meanwhile_are_fetched_again(fleet):
    leech, entry = interrupted(fleet)
    fleet.done(_stop(leech))
    assert fleet.tables["leech"].records[entry.torrent.infohash].held.strip(b"\0")
    fleet.disks["leech"].partial.clear()
    resumed = again(fleet, entry)
    fleet.settle(resumed)
    assert resumed.state is State.COMPLETE
    seed = fleet.disks["seed"].published
    assert list(fleet.disks["leech"].published.values()) == list(seed.values())


def test_a_killed_node_fetches_no_verified_piece_again(fleet):
    leech, entry = interrupted(fleet)
    held = entry.held.count
    fleet.kill(leech)
    record = fleet.tables["leech"].records[entry.torrent.infohash]
    assert not record.clean
    resumed = again(fleet, entry)
    fleet.settle(resumed)
    assert resumed.state is State.COMPLETE
    fetched = resumed.downloaded - record.downloaded
    assert fetched <= entry.torrent.length - held * PIECE


def test_a_killed_node_goes_on_without_the_tracker(fleet):
    fleet.network.latency = 0.1
    fleet.share(fleet.node("seed"), "image", fleet.data(100 * PIECE))
    leech = fleet.node("leech", parallel=1)
    entry = fleet.get(leech, "image")
    fleet.advance(6, step=0.05)
    assert entry.state is State.DOWNLOADING
    fleet.stop_tracker()
    fleet.kill(leech)
    link = MemoryTracker(None)
    leech = fleet.node("leech", tracker=link)
    resumed = leech.library.get(entry.torrent.infohash)
    fleet.settle(resumed)
    assert resumed.state is State.COMPLETE


def test_limits_are_remembered(fleet):
    leech, entry = interrupted(fleet)
    leech.limit(entry, upload=1000)
    leech.limit(entry, download=64 * PIECE)
    fleet.kill(leech)
    resumed = again(fleet, entry)
    assert (resumed.upload_limit.rate, resumed.download_limit.rate) == (1000, 64 * PIECE)


def test_after_a_power_loss_nothing_unverified_is_trusted(fleet):
    leech, entry = interrupted(fleet)
    fleet.kill(leech)
    partial = fleet.disks["leech"].partial.get(entry.torrent.infohash)
    assert partial is not None
    partial[:] = bytes(len(partial))
    fleet.boot = "boot-2"
    resumed = again(fleet, entry)
    assert resumed.held.count == 0
    fleet.settle(resumed)
    assert resumed.state is State.COMPLETE


def test_a_complete_share_comes_back_without_being_digested(fleet):
    seed = fleet.node("seed")
    entry = fleet.share(seed, "image", fleet.data(5 * PIECE))
    fleet.advance(1)
    fleet.kill(seed)
    seed = fleet.node("seed")
    back = seed.library.get(entry.torrent.infohash)
    assert back.state is State.COMPLETE
    assert back.held.complete
    leech = fleet.node("leech")
    got = fleet.get(leech, "image")
    fleet.settle(got)
    assert got.state is State.COMPLETE


def test_a_share_that_changed_meanwhile_comes_back_damaged(fleet):
    seed = fleet.node("seed")
    data = fleet.data(5 * PIECE)
    entry = fleet.share(seed, "image", data)
    fleet.advance(1)
    fleet.kill(seed)
    fleet.disks["seed"].published[entry.content.path] = b"x" + data[1:]
    back = fleet.node("seed").library.get(entry.torrent.infohash)
    assert back.state is State.FAILED
    assert "changed on disk" in back.error


def test_a_failed_download_stays_failed_and_can_be_started_again(fleet):
    fleet.share(fleet.node("seed"), "image", fleet.data(5 * PIECE))
    leech = fleet.node("leech")
    fleet.disks["leech"].capacity = 0
    entry = fleet.get(leech, "image")
    fleet.settle(entry)
    fleet.advance(1)
    fleet.kill(leech)
    leech = fleet.node("leech")
    back = leech.library.get(entry.torrent.infohash)
    assert back.state is State.FAILED
    assert "bytes free" in back.error
    fleet.disks["leech"].capacity = 1 << 40
    entry = fleet.get(leech, "image")
    fleet.settle(entry)
    assert entry.state is State.COMPLETE


def test_a_stop_before_all_was_looked_through_is_not_clean(fleet):
    leech, entry = interrupted(fleet)
    fleet.kill(leech)
    fleet.tables["leech"].records.clear()
    leech = fleet.node("leech")
    gate = Deferred()
    begin = leech._with.store.begin

    def slowly(torrent, destination):
        content = begin(torrent, destination)
        content.check = lambda indexes, found: gate
        return content

    leech._with.store.begin = slowly
    resumed = fleet.get(leech, "image")
    assert resumed.state is State.CHECKING
    fleet.done(_stop(leech))
    assert not fleet.tables["leech"].records[entry.torrent.infohash].clean
    resumed = again(fleet, entry)
    fleet.settle(resumed)
    assert resumed.downloaded <= entry.torrent.length - 30 * PIECE


def test_a_stop_while_a_changed_share_is_verified_again_does_not_make_it_trusted(fleet):
    seed = fleet.node("seed")
    data = fleet.data(5 * PIECE)
    entry = fleet.share(seed, "image", data)
    fleet.advance(1)
    fleet.kill(seed)
    table, infohash = fleet.tables["seed"], entry.torrent.infohash
    stopped = table.records[infohash]
    table.records[infohash] = replace(stopped, state=State.CHECKING, held=b"\0")
    fleet.disks["seed"].published[entry.content.path] = changed = b"x" + data[1:]
    back = fleet.node("seed").library.get(infohash)
    fleet.advance(1)
    assert back.state is State.FAILED
    assert back.error.startswith("damaged: ")
    assert fleet.disks["seed"].published[entry.content.path] == changed


def test_a_record_that_cannot_be_read_costs_its_own_entry_only(fleet, logged_errors):
    seed = fleet.node("seed")
    entry = fleet.share(seed, "image", fleet.data(PIECE))
    fleet.share(seed, "other", fleet.data(PIECE))
    fleet.advance(1)
    fleet.kill(seed)
    table, infohash = fleet.tables["seed"], entry.torrent.infohash
    table.records[infohash] = replace(table.records[infohash], metainfo=b"garbage")
    seed = fleet.node("seed")
    assert logged_errors.flush(Invalid)
    assert seed.loaded.called
    assert [entry.filename for entry in seed.library] == ["other"]


def test_a_checkpoint_that_failed_is_written_again(fleet, logged_errors):
    _, entry = interrupted(fleet)
    table = fleet.tables["leech"]
    save = table.save
    table.save = refuse
    fleet.settle(entry)
    table.save = save
    assert logged_errors.flush(Unavailable)
    fleet.advance(10, step=0.5)
    assert table.records[entry.torrent.infohash].state == State.COMPLETE


def test_what_cannot_be_written_down_is_not_begun(fleet):
    fleet.share(fleet.node("seed"), "image", fleet.data(PIECE))
    leech = fleet.node("leech")
    fleet.tables["leech"].save = refuse
    with pytest.raises(Unavailable):
        fleet.get(leech, "image")
    assert not len(leech.library)


async def refuse(record, settles=None):
    raise Unavailable("the database is locked")
