import pytest

from p2pd.cli.commands import DEFAULT_NODE
from p2pd.cli.main import parser
from p2pd.cli.outcome import Exit


def test_common_options_stand_before_or_after_the_command(monkeypatch):
    monkeypatch.delenv("P2PD_NODE", raising=False)
    before = parser().parse_args(["--node", "http://n:1", "--json", "ls"])
    after = parser().parse_args(["ls", "--json", "--node", "http://n:1"])
    assert before == after
    neither = parser().parse_args(["ls"])
    assert (neither.node, neither.json, neither.token_file) == (DEFAULT_NODE, False, None)


def test_environment_gives_defaults(monkeypatch):
    monkeypatch.setenv("P2PD_NODE", "http://elsewhere:1")
    monkeypatch.setenv("P2PD_TOKEN_FILE", "/etc/token")
    arguments = parser().parse_args(["ls"])
    assert (arguments.node, arguments.token_file) == ("http://elsewhere:1", "/etc/token")
    assert parser().parse_args(["ls", "--node", "http://n:1"]).node == "http://n:1"


@pytest.mark.parametrize(
    ("text", "count"), [("1500", 1500), ("8M", 8_000_000), ("128MiB", 128 << 20), ("2k", 2000)]
)
def test_sizes(text, count):
    assert parser().parse_args(["demo", "--size", text]).size == count


def test_rates():
    arguments = parser().parse_args(["limit", "--up", "10M", "--max-download-rate", "64KiB"])
    assert (arguments.max_upload_rate, arguments.max_download_rate) == (10_000_000, 65536)
    assert arguments.transfer is None
    arguments = parser().parse_args(["get", "a", "--max-download-rate", "0"])
    assert (arguments.max_upload_rate, arguments.max_download_rate) == (None, 0)


def test_paths_of_this_machine_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parser().parse_args(["share", "a"]).path == tmp_path / "a"
    assert parser().parse_args(["demo", "b"]).file == tmp_path / "b"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["fetch"],
        ["get"],
        ["share"],
        ["ls", "more"],
        ["demo", "--nodes", "1"],
        ["demo", "--nodes", "1000"],
        ["demo", "--nodes", "x"],
        ["demo", "--size", "0"],
        ["demo", "--size", "-1"],
        ["demo", "--size", "many"],
        ["ls", "--unknown"],
        ["limit", "--up", "fast"],
        ["get", "a", "--max-download-rate", "-1"],
    ],
)
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(argv)
    assert ended.value.code == Exit.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: p2pd")


def test_help_lists_the_exit_codes(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    shown = capsys.readouterr().out
    assert all(f"{code:d} " in shown for code in Exit)
