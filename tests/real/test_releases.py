"""What two releases have in common travels once."""

import pytest

from tests.real.fleet import MIB, digests, make_file

pytestmark = pytest.mark.real


def test_a_node_with_the_first_release_fetches_only_what_differs(fleet, tmp_path):
    fleet.start_tracker()
    seed, old, new = fleet.start_nodes(3)
    first = make_file(tmp_path / "shared" / "app-1.img", 32 * MIB)
    content = bytearray(first.read_bytes())
    changed = make_file(tmp_path / "changed", MIB, seed=1).read_bytes()
    content[20 * MIB : 21 * MIB] = changed
    second = tmp_path / "shared" / "app-2.img"
    second.write_bytes(content)

    fleet.share(seed, first)
    old.fetch("app-1.img")
    assert sum(seed.transfer("app-1.img")["sent_to"].values()) == 32 * MIB

    fleet.share(seed, second)
    before = seed.sent()
    old.fetch("app-2.img")
    new.fetch("app-2.img")

    assert digests(old.downloads / "app-2.img") == digests(second)
    assert digests(old.downloads / "app-1.img") == digests(first)
    assert digests(new.downloads / "app-2.img") == digests(second)
    to_old = seed.sent()[old.id] - before[old.id] + new.sent().get(old.id, 0)
    assert to_old == MIB
    transfer = old.transfer("app-2.img")
    assert transfer["downloaded"] == MIB
    assert transfer["reused"] == 31 * MIB
    to_new = seed.sent()[new.id] + old.sent().get(new.id, 0)
    assert to_new == 32 * MIB
