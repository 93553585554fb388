"""Whom a list of trackers says to announce to, as libtorrent would."""

from dataclasses import dataclass

import pytest

from p2pd.swarm.tracker_list import TrackerEndpoint, TrackerList

NOW = 1_000_000.0
A, B, C = "http://a.test/announce", "http://b.test/announce", "udp://c.test:1/announce"


@dataclass
class Told:
    interval: int = 1800
    min_interval: int = 60
    complete: int | None = None
    incomplete: int | None = None
    downloaded: int | None = None
    tracker_id: str = ""
    warning: str = ""


class World:
    """A list, and a clock for it."""

    def __init__(self, *tiers, **options):
        self.now = NOW
        self.complete = False
        self.local = "127.0.0.1", 6881
        self.list = TrackerList(lambda: self.local, **options)
        for tier, urls in enumerate(tiers):
            for url in urls:
                self.list.add(url, tier, 1)
        self.list.started(complete=False)

    def round(self):
        """Begin all announces that are due."""
        due = self.list.due(self.now, complete=self.complete)
        for tracker, _ in due:
            self.list.begun(tracker.url, self.now)
        return [(tracker.url, event) for tracker, event in due]

    def succeed(self, url, event="started", **told):
        self.list.succeeded(url, self.now, event, Told(**told))

    def fail(self, url, error="Connection refused", *about, **options):
        self.list.failed(url, self.now, error, *about, **options)

    def announce(self, url, **told):
        [(begun, event)] = self.round()
        assert begun == url
        self.succeed(url, event, **told)
        return event

    def wait(self):
        """Let time pass until somebody is due, and give how much it was."""
        until = self.list.next_deadline()
        passed, self.now = until - self.now, until
        return passed

    def order(self):
        return [tracker.url for tracker in self.list]

    def state(self, url):
        return self.list.find(url).endpoints[0].v1


def test_a_tracker_that_was_not_contacted_has_no_endpoint():
    world = World([A], [B])
    assert [tracker.endpoints for tracker in world.list] == [[], []]
    assert world.round() == [(A, "started")]
    assert world.list.find(A).endpoints[0].host == "127.0.0.1"
    assert world.list.find(B).endpoints == []


def test_the_endpoint_is_the_one_that_the_latest_announce_was_sent_from():
    world = World([A])
    world.announce(A)
    world.local = "192.0.2.1", 6882
    world.wait()
    world.announce(A)
    [endpoint] = world.list.find(A).endpoints
    assert (endpoint.host, endpoint.port) == world.local


def test_while_it_is_asked_it_is_updating_and_nobody_else_is_asked():
    world = World([A, B], [C])
    world.round()
    state = world.state(A)
    assert state.updating
    assert (state.next_announce, state.min_announce) == (NOW, NOW)
    assert world.round() == []
    assert world.list.next_deadline() is None


def test_success():
    world = World([A])
    event = world.announce(
        A, interval=900, min_interval=60, complete=3, incomplete=2, downloaded=7, tracker_id="x"
    )
    assert event == "started"
    tracker, state = world.list.find(A), world.state(A)
    assert (tracker.verified, tracker.tracker_id) == (True, "x")
    assert state.start_sent
    assert not state.complete_sent
    assert not state.updating
    assert (state.next_announce, state.min_announce) == (NOW + 900, NOW + 60)
    assert (state.complete, state.incomplete, state.downloaded) == (3, 2, 7)
    assert world.wait() == 900
    assert world.round() == [(A, "")]


def test_what_a_tracker_does_not_tell_stays_as_it_told_before():
    world = World([A])
    world.announce(A, complete=3, tracker_id="x", warning="old")
    world.wait()
    world.announce(A, incomplete=1)
    state = world.state(A)
    assert (state.complete, state.incomplete) == (3, 1)
    assert world.list.find(A).tracker_id == "x"
    assert state.message == ""


def test_a_warning_is_no_failure():
    world = World([A])
    world.announce(A, warning="soon to move")
    state = world.state(A)
    assert (state.message, state.fails, state.last_error) == ("soon to move", 0, None)
    assert world.list.find(A).verified


def test_failures_are_retried_ever_less_often():
    world = World([A])
    waits = []
    for _ in range(20):
        assert world.round() == [(A, "started")]
        world.fail(A)
        waits.append(world.wait())
    assert waits[:4] == [17.5, 55.0, 117.5, 205.0]
    assert waits[-1] == 3600
    state = world.state(A)
    assert (state.fails, state.last_error, state.message) == (20, "Connection refused", "")
    assert not state.start_sent


def test_fails_are_counted_up_to_where_libtorrent_counts():
    world = World([A])
    for _ in range(200):
        world.fail(A)
    assert world.state(A).fails == 127


def test_a_failure_may_ask_for_more_patience():
    world = World([A])
    world.round()
    world.fail(A, "tracker sent a failure message", "no such torrent", retry=1800)
    assert world.state(A).message == "no such torrent"
    assert world.wait() == 1800


def test_a_failure_for_good_is_not_retried():
    world = World([A], [B])
    world.round()
    world.fail(A, "410 Gone", "Gone", for_good=True)
    assert world.list.find(A).fail_limit == 1
    assert world.round() == [(B, "started")]
    world.succeed(B)
    assert world.wait() == 1800
    world.now += 1e6
    assert world.round() == [(B, "")]


def test_success_forgets_failures():
    world = World([A])
    world.round()
    world.fail(A, "timed out", "x")
    world.wait()
    world.announce(A)
    state = world.state(A)
    assert (state.fails, state.last_error, state.message) == (0, None, "")


def test_the_next_of_a_tier_is_tried_and_who_failed_goes_to_its_end():
    world = World([A, B], [C])
    world.round()
    world.fail(A)
    assert world.order() == [B, A, C]
    world.announce(B)
    assert world.list.next_deadline() == NOW + 1800
    assert world.list.find(C).endpoints == []


def test_the_next_tier_is_tried_when_all_of_one_failed():
    world = World([A, B], [C])
    for url in (A, B):
        assert world.round() == [(url, "started")]
        world.fail(url)
    assert world.round() == [(C, "started")]
    world.succeed(C)
    assert world.order() == [A, B, C]


def test_a_tier_that_failed_is_tried_again_beside_the_one_that_works():
    world = World([A], [B])
    world.round()
    world.fail(A)
    world.announce(B)
    assert world.wait() == 17.5
    assert world.announce(A) == "started"
    # Only the first that works is announced to.
    assert world.list.next_deadline() == world.now + 1800
    world.now += 1800
    assert world.round() == [(A, "")]


def test_completion_is_told_at_once_and_once():
    world = World([A], [B])
    world.announce(A)
    world.now += 10
    world.complete = True
    world.list.completed(world.now)
    assert world.announce(A) == "completed"
    assert world.state(A).complete_sent
    world.wait()
    [(_, event)] = world.round()
    assert event == ""
    world.fail(A)
    assert world.announce(B) == "started"
    world.wait()
    assert world.round() == [(A, "")]


def test_completion_is_told_only_when_heard():
    world = World([A])
    world.announce(A)
    world.complete = True
    world.list.completed(world.now)
    assert world.round() == [(A, "completed")]
    world.fail(A)
    world.wait()
    assert world.announce(A) == "completed"


def test_what_was_complete_from_the_start_is_not_told_as_completed():
    world = World([A])
    world.list.started(complete=True)
    world.complete = True
    assert world.announce(A) == "started"
    world.wait()
    assert world.announce(A) == ""
    assert not world.state(A).complete_sent


def test_a_stop_is_told_to_those_who_know_of_a_start():
    world = World([A], [B], [C])
    world.round()
    world.fail(A)
    world.announce(B)
    world.now += 5
    assert [(due.tracker.url, due.event) for due in world.list.stopped(world.now)] == [
        (B, "stopped")
    ]


def test_after_a_stop_all_begins_anew_but_for_the_failures():
    world = World([A, B])
    world.round()
    world.fail(A)
    world.announce(B)
    world.list.stopped(world.now)
    world.list.started(complete=False)
    assert world.state(A).fails == 1
    for url in (A, B):
        state = world.state(url)
        assert (state.next_announce, state.min_announce, state.start_sent) == (None, None, False)
    assert world.round() == [(B, "started")]


def test_forced_before_the_tracker_allows_it_waits_for_that():
    world = World([A])
    world.announce(A, interval=900, min_interval=60)
    world.list.force(world.now)
    state = world.state(A)
    assert (state.next_announce, state.min_announce) == (NOW + 60, NOW + 60)
    assert world.round() == []
    assert world.wait() == 60
    assert world.round() == [(A, "")]


def test_forced_after_a_failure_it_waits_no_longer():
    world = World([A])
    world.round()
    world.fail(A)
    world.now += 2
    world.list.force(world.now)
    assert world.round() == [(A, "started")]
    world.fail(A)
    assert world.wait() == 55


def test_one_that_is_forced_is_asked_whatever_its_tier():
    world = World([A], [B])
    world.announce(A)
    world.list.force(world.now, B)
    assert world.round() == [(B, "started")]
    world.succeed(B)
    assert world.wait() == 1800
    assert world.round() == [(A, "")]


def test_a_known_tracker_is_not_added_again_but_its_sources_are_noted():
    world = World([A], [B])
    world.list.add(A, 5, 2)
    assert world.order() == [A, B]
    assert (world.list.find(A).source, world.list.find(A).tier) == (3, 0)


def test_a_tracker_is_added_at_the_end_of_its_tier():
    world = World([A], [B])
    world.list.add(C, 0, 2)
    assert world.order() == [A, C, B]


def test_a_removed_tracker_is_gone_and_its_late_answer_is_nothing():
    world = World([A], [B])
    world.round()
    assert world.list.remove(A).url == A
    assert world.list.remove(A) is None
    world.succeed(A)
    world.fail(A)
    world.list.abandoned(A)
    assert world.order() == [B]
    assert world.round() == [(B, "started")]


def test_an_answer_that_nobody_waits_for_can_be_asked_for_again():
    world = World([A])
    world.round()
    world.list.abandoned(A)
    assert world.round() == [(A, "started")]


@pytest.mark.parametrize("v2", [False, True])
def test_the_slot_of_the_announced_infohash_is_used_and_the_other_untouched(v2):
    world = World([A], v2=v2)
    world.announce(A, complete=1)
    v1_state, v2_state = world.list.find(A).endpoints[0].states
    used, unused = (v2_state, v1_state) if v2 else (v1_state, v2_state)
    assert used.start_sent
    assert unused == TrackerEndpoint("", 0).v1


def test_without_trackers_there_is_nothing_to_do():
    world = World()
    assert world.round() == []
    assert world.list.next_deadline() is None
