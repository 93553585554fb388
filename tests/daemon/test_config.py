"""The settings of both daemons: by command line, by file, by default."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from p2pd import __version__
from p2pd.daemon.config import NodeConfig, TrackerConfig, default_state_dir
from p2pd.daemon.settings import DaemonOptions, load, table
from p2pd.errors import Invalid

ETC = Path(__file__).parents[2] / "etc"
KINDS = [TrackerConfig, NodeConfig]


class TrackerOptions(DaemonOptions):
    kind = TrackerConfig


class NodeOptions(DaemonOptions):
    kind = NodeConfig


OPTIONS = {TrackerConfig: TrackerOptions, NodeConfig: NodeOptions}

# For every setting: texts that are not its default, and what they mean.
EXAMPLES = {
    "listen": (["tcp:1:interface=::1", "auto"], ("tcp:1:interface=::1", "auto")),
    "state-dir": (["/var/lib/x"], Path("/var/lib/x")),
    "origin-dir": (["/"], Path("/")),
    "origin-url": (["https://files.example/"], "https://files.example"),
    "token-file": (["/etc/token"], Path("/etc/token")),
    "insecure": (["yes"], True),
    "heartbeat-timeout": (["2.5"], 2.5),
    "sweep-interval": (["0.5"], 0.5),
    "udp": (["0.0.0.0:6969", "[::]:6969"], ("0.0.0.0:6969", "[::]:6969")),
    "announce-interval": (["60"], 60.0),
    "peer-timeout": (["10000"], 10000.0),
    "access": (["whitelist"], "whitelist"),
    "require-keys": (["yes"], True),
    "users": (["yes"], True),
    "admin-token-file": (["/etc/p2pd/admin"], Path("/etc/p2pd/admin")),
    "strict-auth": (["yes"], True),
    "torrust-304": (["yes"], True),
    "trusted-proxy": (["10.0.0.0/8", "::1"], (ip_network("10.0.0.0/8"), ip_network("::1"))),
    "trusted-ip": (["10.0.0.1"], (ip_network("10.0.0.1"),)),
    "zone-net": (["rack1=10.0.1.0/24"], ((ip_network("10.0.1.0/24"), "rack1"),)),
    "write-behind": (["0.5"], 0.5),
    "snapshot-interval": (["60"], 60.0),
    "compiled": (["no"], False),
    "tracker": (["http://a:1", "https://b"], ("http://a:1", "https://b")),
    "peer-ca": (["/etc/p2pd/ca.pem"], Path("/etc/p2pd/ca.pem")),
    "advertise": (["[::1]:48000"], "[::1]:48000"),
    "node-id": (["rack-4.node-2"], "rack-4.node-2"),
    "zone": (["hall-2/rack-4"], "hall-2/rack-4"),
    "download-dir": (["/srv/files"], Path("/srv/files")),
    "control-token-file": (["/etc/p2pd/control"], Path("/etc/p2pd/control")),
    "cors-origin": (
        ["https://UI.example", "http://[::1]:3000"],
        ("https://ui.example", "http://[::1]:3000"),
    ),
    "allow-root": (["/srv/a", "/srv/b"], (Path("/srv/a"), Path("/srv/b"))),
    "allow-source-net": (["10.0.0.0/8", "::1"], (ip_network("10.0.0.0/8"), ip_network("::1"))),
    "parallel": (["16"], 16),
    "max-active-downloads": (["0"], 0),
    "max-active-seeds": (["5"], 5),
    "seeding-ratio": (["1.5"], 1.5),
    "seeding-time": (["2592000"], 2592000.0),
    "least-free": (["1GiB"], 2**30),
    "log-lines": (["50"], 50),
    "max-upload-rate": (["10M"], 10_000_000),
    "max-download-rate": (["64KiB"], 65536),
    "heartbeat-interval": (["1"], 1.0),
}
EVERY = [(kind, setting) for kind in KINDS for setting in table(kind)]


def names(value):
    return f"{value.daemon}" if isinstance(value, type) else value.name


def parse(kind, *options):
    parsed = OPTIONS[kind]()
    parsed.parseOptions(list(options))
    return parsed.config


def ini(path, kind, text):
    file = path / f"{kind.daemon}.ini"
    file.write_text(f"[{kind.daemon}]\n{text}")
    return file


@pytest.mark.parametrize(("kind", "setting"), EVERY, ids=names)
def test_every_setting_on_the_command_line(kind, setting):
    texts, value = EXAMPLES[setting.name]
    if texts == ["yes"]:
        options = [f"--{setting.name}"]
    else:
        options = [f"--{setting.name}={text}" for text in texts]
    assert getattr(parse(kind, *options), setting.field) == value


@pytest.mark.parametrize(("kind", "setting"), EVERY, ids=names)
def test_every_setting_in_a_file(tmp_path, kind, setting):
    texts, value = EXAMPLES[setting.name]
    file = ini(tmp_path, kind, f"{setting.name} = " + "\n    ".join(texts))
    assert getattr(parse(kind, "--config", str(file)), setting.field) == value


@pytest.mark.parametrize(("kind", "setting"), EVERY, ids=names)
def test_the_command_line_wins(tmp_path, kind, setting):
    texts, value = EXAMPLES[setting.name]
    written = setting.default or {"tracker": "http://c"}.get(setting.name, texts[0])
    file = ini(tmp_path, kind, f"{setting.name} = {written}")
    given = {setting.name: texts}
    assert getattr(load(kind, given, file), setting.field) == value


def test_the_defaults(monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert parse(TrackerConfig) == TrackerConfig(
        listen=("tcp:38080:interface=127.0.0.1",),
        state_dir=Path("/state/p2pd/tracker"),
        heartbeat_timeout=10.0,
        sweep_interval=3.0,
        udp=(),
        announce_interval=1800.0,
        peer_timeout=2700.0,
        access="open",
        require_keys=False,
        users=False,
        admin_token_file=Path("/state/p2pd/tracker/admin-token"),
        strict_auth=False,
        torrust_304=False,
        trusted_proxy=(),
        trusted_ip=(),
        zone_net=(),
        write_behind=1.0,
        snapshot_interval=300.0,
        compiled=True,
        origin_dir=None,
        origin_url=None,
        token_file=None,
        insecure=False,
    )
    assert parse(NodeConfig) == NodeConfig(
        listen=("auto",),
        state_dir=Path("/state/p2pd/node"),
        tracker=(),
        peer_ca=None,
        advertise=None,
        node_id=None,
        zone="",
        download_dir=Path("/state/p2pd/node/downloads"),
        control_token_file=None,
        cors_origin=(),
        allow_root=(),
        allow_source_net=(),
        parallel=8,
        max_active_downloads=20,
        max_active_seeds=0,
        seeding_ratio=None,
        seeding_time=None,
        least_free=64 * 1024 * 1024,
        log_lines=10,
        max_upload_rate=0,
        max_download_rate=0,
        heartbeat_interval=3.0,
        origin_dir=None,
        origin_url=None,
        token_file=None,
        insecure=False,
    )


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"STATE_DIRECTORY": "/var/lib/p2pd/node"}, "/var/lib/p2pd/node"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x"}, "/x/p2pd/node"),
        ({"XDG_STATE_HOME": "relative"}, "/home/someone/.local/state/p2pd/node"),
        ({}, "/home/someone/.local/state/p2pd/node"),
    ],
)
def test_where_state_is_kept(monkeypatch, environ, path):
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_state_dir("node", environ) == Path(path)


def test_downloads_go_below_the_state_directory_that_was_given():
    assert parse(NodeConfig, "--state-dir", "/s").download_dir == Path("/s/downloads")


def test_clients_are_not_forgotten_before_they_come_again():
    assert parse(TrackerConfig, "--announce-interval=100").peer_timeout == 150
    with pytest.raises(SystemExit, match=r"peer-timeout must be at least 1\.2 times announce-"):
        parse(TrackerConfig, "--announce-interval=100", "--peer-timeout=119")


def test_a_value_given_twice_is_the_last_one():
    assert parse(NodeConfig, "--parallel=3", "--parallel=4").parallel == 4


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_the_sample_file_shows_every_setting_at_its_default(kind):
    file = ETC / f"{kind.daemon}.ini"
    assert load(kind, {}, file) == load(kind, {})
    lines = file.read_text().splitlines()
    for setting in table(kind):
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{setting.name} ="))
        assert lines[at] == f"{setting.name} = {setting.default}".rstrip()
        assert lines[at - 1] == f"# {setting.help}"


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_the_unit_starts_the_daemon_with_its_file(kind):
    unit = (ETC / f"p2p-{kind.daemon}.service").read_text()
    command = f"twistd -n --pidfile= p2p-{kind.daemon} --config /etc/p2pd/{kind.daemon}.ini"
    assert f"\nExecStart={command}\n" in unit
    assert "\nType=notify\n" in unit


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("heartbeat_timeout = 3", "unknown key 'heartbeat_timeout' in [tracker]; did you mean 'h"),
        ("Listen = auto", "unknown key 'Listen' in [tracker]; did you mean 'listen'?"),
        ("zzz = 1", "unknown key 'zzz' in [tracker]; did you mean "),
        ("[traker]\n", "unknown section [traker]; did you mean 'tracker'?"),
        ("[node]\n", "unknown section [node]; did you mean 'tracker'?"),
        ("sweep-interval = soon", "sweep-interval: 'soon' is not a time in seconds"),
        ("sweep-interval = 1\n  2", "sweep-interval: only one value is allowed here"),
        ("sweep-interval = 1\nsweep-interval = 2", "already exists"),
        ("insecure = perhaps", "insecure: 'perhaps' is neither yes nor no"),
        ("nonsense", "nonsense"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named(tmp_path, text, complaint):
    file = ini(tmp_path, TrackerConfig, text)
    with pytest.raises(Invalid) as refusal:
        load(TrackerConfig, {}, file)
    assert str(file) in refusal.value.reason
    assert complaint in refusal.value.reason
    assert "\n" not in refusal.value.reason


def test_a_file_without_its_section_is_empty(tmp_path):
    file = tmp_path / "empty.ini"
    file.write_text("# nothing\n")
    assert load(TrackerConfig, {}, file) == load(TrackerConfig, {})


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Invalid, match=r"cannot read .*: No such file"):
        load(TrackerConfig, {}, tmp_path / "absent.ini")


def test_a_file_that_is_no_text(tmp_path):
    file = tmp_path / "binary.ini"
    file.write_bytes(b"[tracker]\xff\n")
    with pytest.raises(Invalid, match=r"binary\.ini.*utf-8"):
        load(TrackerConfig, {}, file)


def test_percent_signs_are_themselves(tmp_path):
    file = ini(tmp_path, TrackerConfig, "origin-url = http://x/a%20b")
    assert load(TrackerConfig, {}, file).origin_url == "http://x/a%20b"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--sweep-interval=0"], "p2p-tracker: --sweep-interval: '0' is not a time"),
        (["--origin-dir=/nonexistent"], "--origin-dir: /nonexistent is not a directory"),
        (["--origin-dir=/", "--origin-url=http://x"], "origin-dir or origin-url, not both"),
        (["--sweep"], "p2p-tracker: option --sweep-interval requires argument"),
        (["--lissen=x"], "p2p-tracker: option --lissen not recognized (twistd p2p-tracker --help"),
        (["extra"], "p2p-tracker: Wrong number of arguments."),
        (["--config=/nonexistent.ini"], "p2p-tracker: cannot read /nonexistent.ini"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_one_line(options, complaint):
    with pytest.raises(SystemExit) as end:
        TrackerOptions().parseOptions(options)
    assert complaint in end.value.code
    assert "\n" not in end.value.code


@pytest.mark.parametrize(
    "option", ["--advertise=nowhere", "--node-id=a b", "--tracker=nowhere", "--zone=a b"]
)
def test_names_are_checked(option):
    with pytest.raises(SystemExit, match=f"p2p-node: {option.partition('=')[0]}: "):
        NodeOptions().parseOptions([option])


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_help_tells_of_every_setting(kind):
    text = str(OPTIONS[kind]())
    for setting in table(kind):
        assert f"--{setting.name}" in text
    assert "--config=" in text


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        TrackerOptions().parseOptions(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"p2pd {__version__}\n"
