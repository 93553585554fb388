"""Where downloads may go, and where none may."""

from pathlib import Path

import pytest

from p2pd.errors import Invalid
from p2pd.store.roots import Roots
from tests.samples import torrent

ROOTS = Roots(Path("/data/downloads"), Path("/data/downloads/films"), Path("/data"), resolve=Path)


@pytest.mark.parametrize(
    ("name", "destination"),
    [("films", ""), ("downloads", "/data/"), ("x", "films/../.."), ("films", "/data/downloads/")],
)
def test_a_download_never_takes_the_place_of_where_others_go(name, destination):
    with pytest.raises(Invalid):
        ROOTS.place(torrent(name, 1), destination, lambda _: False)


def test_a_root_in_a_root_takes_downloads():
    assert ROOTS.place(torrent("x", 1), "films/", lambda _: False) == ROOTS.first / "films/x"
