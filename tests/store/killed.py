"""Does something with content in processes that are killed at each step of it in turn.

Run as `killed.py DIRECTORY OTHER CASE`: tells how many steps it took, and what it found wrong.
"""

import os
import random
import sys
from pathlib import Path

from p2pd.background import at_once
from p2pd.metainfo import create
from p2pd.store.files import FileStore

TREE = {
    ("a", "large"): random.Random(1).randbytes(300_000),
    ("a", "small"): b"small",
    ("b",): random.Random(2).randbytes(1000),
}
TORRENT = create.describe_bytes("tree", TREE)
STREAM = b"".join(TREE.values())
_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "open"}


def run(work):
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def killed(work, step):
    """Do some work in a process that ends before the given step; whether it came so far."""
    child = os.fork()
    if not child:
        left = [step]

        def count(event, arguments):
            if event in _STEPS:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)

        sys.addaudithook(count)
        run(work)
        os._exit(0)
    work.close()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def tree(root):
    return {
        path.relative_to(root).parts: path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def content_at(store, path, stamps=b""):
    return store.resume(TORRENT, str(path), stamps)


def begun(store, path, published):
    """Make content of which these files are published."""
    content = content_at(store, path)
    run(content.allocate())
    for index in range(TORRENT.piece_count):
        start = index * TORRENT.piece_length
        run(content.write([index], STREAM[start : start + TORRENT.piece_size(index)]))
    run(content.publish(wanted=published))
    return content.stamps()


def is_whole(store, path, stamps):
    content = content_at(store, path, stamps)
    found = []
    run(content.check(range(TORRENT.piece_count), found.append))
    return len(found) == TORRENT.piece_count


def moved(store, top, other, published):
    """Move; whatever happens, one place is whole, and moving again brings all to the new one."""
    old, new = top / "old/tree", other / "new/tree"
    stamps = begun(store, old, published)
    step = 0
    while True:
        more = killed(content_at(store, old, stamps).move(new), step)
        there = tree(new) if new.exists() else {}
        expected = {names: TREE[names] for at, names in enumerate(TREE) if at in published}
        assert there in ({}, expected), f"{sorted(there)} are at the new place after step {step}"
        if published == {0, 1, 2}:
            assert there or is_whole(store, old, stamps), f"nothing is whole after step {step}"
        content = content_at(store, old, stamps)
        run(content.move(new))
        assert content.path == new
        assert is_whole(store, new, content.stamps()), f"the new place lacks after step {step}"
        assert not list(old.parent.iterdir()), f"something is left after step {step}"
        assert len(list(new.parent.iterdir())) <= 3
        if not more:
            return step
        run(content.delete())
        stamps = begun(store, old, published)
        step += 1


def parted(store, top, _other, published):
    """Publish more; whatever happens, doing it again ends as if nothing had."""
    path = top / "old/tree"
    step = 0
    while True:
        stamps = begun(store, path, published)
        more = killed(content_at(store, path, stamps).publish(), step)
        assert tree(path).items() <= TREE.items(), f"something is half done after step {step}"
        content = content_at(store, path, stamps)
        if run(content.occupied()):
            content = run(store.adopt(TORRENT, path))
            run(content_at(store, path, stamps).discard())
        else:
            run(content.allocate())
            run(content.publish())
        assert tree(path.parent) == {("tree", *names): data for names, data in TREE.items()}, step
        if not more:
            return step
        run(content.delete())
        step += 1


def main():
    top, other, case = sys.argv[1:]
    store = FileStore(Path(top), at_once)
    cases = {
        "whole": (moved, {0, 1, 2}),
        "partial": (moved, set()),
        "part": (moved, {1}),
        "more": (parted, {1}),
        "all": (parted, set()),
    }
    check, published = cases[case]
    sys.stdout.write(str(check(store, Path(top), Path(other), published)))


if __name__ == "__main__":
    main()
