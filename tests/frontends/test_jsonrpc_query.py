"""The query language of `torrents.list`."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.frontends.jsonrpc_envelope import RpcError
from p2pd.frontends.jsonrpc_query import Vocabulary

WORDS = Vocabulary(
    numbers={"ratio": lambda one: one.ratio, "size": lambda one: one.size},
    texts={"name": lambda one: one.name},
    lists={"tags": lambda one: one.tags},
    flags={"paused": lambda one: one.paused, "seeding": lambda one: not one.paused},
)
ONE = SimpleNamespace(ratio=1.5, size=3 * 1024**3, name="Debian 13", tags=("a", "b"), paused=True)


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("ratio > 1", True),
        ("ratio >= 1.5", True),
        ("ratio < 1.5", False),
        ("ratio <= 1.5", True),
        ("ratio = 1.5", True),
        ("ratio > -1", True),
        ("size = 3gb", True),
        ("size > 3000 mb", True),
        ("size > 1tb", False),
        ("size > 1w", True),
        ('name contains "ian"', True),
        ('name = "Debian 13"', True),
        ('name > "Z"', False),
        ('name contains ""', True),
        ('tags contains "b"', True),
        ('tags contains "ab"', False),
        ("is:paused", True),
        ("is:seeding", False),
        ("not is:seeding", True),
        ("is:paused and ratio > 2", False),
        ("is:paused or ratio > 2", True),
        ("is:paused or is:paused and ratio > 2", True),
        ("(is:paused or is:paused) and ratio > 2", False),
        ("not (is:seeding or ratio > 2)", True),
        ("ratio>1 and not size<1kb", True),
        ("RATIO > 1", None),
        ("ratio > 1 AND is:paused", True),
    ],
)
def test_a_query_passes_what_it_describes(query, passes):
    if passes is None:
        with pytest.raises(RpcError):
            WORDS.parse(query)
    else:
        assert WORDS.parse(query)(ONE) is passes


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("", 0),
        ("ratio", 5),
        ("ratio >", 7),
        ("ratio > 1 and", 13),
        ("ratio > 1 ratio", 10),
        ("ratio ? 1", 6),
        ('ratio > "1"', 8),
        ("ratio contains 1", 6),
        ('tags = "a"', 5),
        ("name = 1", 7),
        ("   speed > 1", 3),
        ("is:happy", 0),
        ("is:", 0),
        ("(is:paused", 10),
        ("is:paused)", 9),
        ('name = "open', 7),
        ("ratio > 1x", 8),
        ("and", 0),
        ("(" * 100, 50),
        ("not " * 100 + "is:paused", 200),
        ("is:paused" + " " * 5000, 4096),
    ],
)
def test_what_is_wrong_is_told_with_its_place(query, position):
    with pytest.raises(RpcError) as raised:
        WORDS.parse(query)
    assert raised.value.code == -1000
    assert raised.value.data == {"pos": position}


PARTS = ["ratio", "name", "tags", "is:paused", "is:", "and", "or", "not", "(", ")", ">", "="]


@given(st.lists(st.sampled_from([*PARTS, "contains", '"x"', "1", "2gb", "$"]), max_size=20))
def test_any_query_is_a_test_or_is_refused(parts):
    query = " ".join(parts)
    place = None
    try:
        passes = WORDS.parse(query)(ONE)
    except RpcError as error:
        place = error.data["pos"]
    assert passes in {True, False} if place is None else 0 <= place <= len(query)
