from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.metainfo.paths import check_tree, parse_relative, safe_name, safe_path

risky = st.text("./\\ab\0\n~: ", max_size=8) | st.text(max_size=8)


@settings(deadline=None)
@given(st.lists(risky, max_size=5))
def test_an_accepted_path_stays_below_its_root(parts):
    try:
        names = safe_path(parts)
    except Invalid:
        return
    path = Path("/srv/top", *names)
    assert Path("/srv/top") in path.parents
    assert len(path.relative_to("/srv/top").parts) == len(parts)
    assert parse_relative("/".join(parts)) == names


@settings(deadline=None)
@given(st.text("./\\ab\0", max_size=20))
def test_an_accepted_text_stays_below_its_root(text):
    try:
        names = parse_relative(text)
    except Invalid:
        return
    assert str(Path("/srv/top", *names)) == f"/srv/top/{text}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\0",
        "a\nb",
        "\x1b[0m",
        "\x7f",
        "\x85",
        ".p2pd-x",
        "\udcff",
        "é" * 128,
    ],
)
def test_a_harmful_name_is_refused(name):
    with pytest.raises(Invalid) as refused:
        safe_name(name)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["a", "...", " a ", ".hidden", "-rf", "é" * 127, "C:", "日本"])
def test_a_strange_but_harmless_name_is_kept(name):
    assert safe_name(name) == name


@pytest.mark.parametrize("text", ["", "/", "/etc/passwd", "a/", "a//b", "a/../b", "./a", "~/\0"])
def test_a_harmful_path_is_refused(text):
    with pytest.raises(Invalid):
        parse_relative(text)


def test_paths_are_bounded_in_depth_and_length():
    assert len(safe_path(["a"] * 64)) == 64
    with pytest.raises(Invalid, match="deep"):
        safe_path(["a"] * 65)
    with pytest.raises(Invalid, match="longer"):
        safe_path(["a" * 255] * 17)
    with pytest.raises(Invalid, match="longer"):
        parse_relative("a/" * 10_000_000)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple), max_size=6))
def test_a_tree_is_refused_just_if_two_paths_collide(paths):
    collide = any(
        path == other[: len(path)]
        for at, path in enumerate(paths)
        for other in paths[:at] + paths[at + 1 :]
    )
    if collide:
        with pytest.raises(Invalid):
            check_tree(paths)
    else:
        check_tree(paths)


def test_names_that_differ_only_in_normalisation_collide():
    with pytest.raises(Invalid, match="twice"):
        check_tree([("\u00e9",), ("e\u0301",)])
    check_tree([("a",), ("A",)])
