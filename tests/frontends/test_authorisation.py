"""The gate: tokens, DNS rebinding, forged requests, token files."""

import stat

import pytest
from twisted.logger import capturedLogs
from twisted.web.http_headers import Headers

from p2pd.errors import Denied, Invalid
from p2pd.frontends.authorisation import (
    LOOPBACK_NAMES,
    Gate,
    Policy,
    Unauthorised,
    admin_token,
    read_token,
)

TOKEN = b"0123456789abcdef"


class Asked:
    """As much of a request as the gate looks at."""

    def __init__(self, **headers):
        self.requestHeaders = Headers()
        for name, values in headers.items():
            for value in values if isinstance(values, list) else [values]:
                self.requestHeaders.addRawHeader(name, value)


@pytest.mark.parametrize("policy", [Policy.SWARM, Policy.CONTROL])
@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer 0123456789abcdeF"},
        {"Authorization": "Bearer 0123456789abcdef0"},
        {"Authorization": "Basic 0123456789abcdef"},
        {"Authorization": "0123456789abcdef"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": ["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"]},
    ],
)
def test_a_token_is_asked_for(policy, shown):
    with pytest.raises(Unauthorised, match="Authorization: Bearer"):
        Gate(TOKEN).check(Asked(Host="evil.example", **shown), policy)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_opens_from_anywhere(scheme):
    asked = Asked(Host="x", Origin="http://y", Authorization=f"{scheme} {TOKEN.decode()}")
    Gate(TOKEN, hosts=["z"]).check(asked, Policy.CONTROL)


def test_what_is_public_needs_nothing():
    Gate(TOKEN).check(Asked(), Policy.PUBLIC)
    Gate(hosts=["a"]).check(Asked(Host="evil.example"), Policy.PUBLIC)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "127.0.0.1:38080", "[::1]:38080", "[::1]", "localhost.:38080"],
)
def test_without_a_token_the_daemons_own_names_pass(host):
    Gate(hosts=LOOPBACK_NAMES).check(Asked(Host=host), Policy.CONTROL)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", b"\xff"]
)
def test_without_a_token_other_names_are_dns_rebinding(host):
    with pytest.raises(Denied, match="Host"):
        Gate(hosts=LOOPBACK_NAMES).check(Asked(Host=host), Policy.SWARM)


@pytest.mark.parametrize("asked", [Asked(), Asked(Host=["localhost", "localhost"])])
def test_one_host_must_be_named(asked):
    with pytest.raises(Denied, match="Host"):
        Gate(hosts=LOOPBACK_NAMES).check(asked, Policy.SWARM)


def test_any_host_passes_where_none_is_configured():
    Gate().check(Asked(Host="10.1.2.3:38080"), Policy.CONTROL)
    Gate().check(Asked(), Policy.CONTROL)


@pytest.mark.parametrize("hosts", [None, LOOPBACK_NAMES])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "localhost:38080", ""]
)
def test_other_web_sites_may_not_send_requests(hosts, origin):
    with pytest.raises(Denied, match="web site"):
        Gate(hosts=hosts).check(Asked(Host="localhost:38080", Origin=origin), Policy.SWARM)


def test_its_own_pages_may():
    asked = Asked(Host="localhost:38080", Origin="http://LOCALHOST:38080")
    Gate(hosts=LOOPBACK_NAMES).check(asked, Policy.CONTROL)


def test_reads_a_token(tmp_path):
    path = tmp_path / "token"
    path.write_bytes(b"\n " + TOKEN + b"\r\n")
    path.chmod(0o600)
    with capturedLogs() as logs:
        assert read_token(path) == TOKEN
    assert logs == []


def test_warns_of_a_token_that_all_can_read(tmp_path):
    path = tmp_path / "token"
    path.write_bytes(TOKEN)
    path.chmod(0o644)
    with capturedLogs() as logs:
        read_token(path)
    [event] = logs
    assert "can read" in event["log_format"]
    assert TOKEN.decode() not in str(event)


@pytest.mark.parametrize(
    "token", [b"", b"   \n", b"tiny", b"0123456789 abcdef", b"0123456789\xffabcdef", b"x" * 1025]
)
def test_refuses_a_bad_token(tmp_path, token):
    path = tmp_path / "file"
    path.write_bytes(token)
    path.chmod(0o600)
    with pytest.raises(Invalid, match=r"the token in .* (must have 16|may hold only)"):
        read_token(path)


def test_refuses_a_missing_token_file(tmp_path):
    with pytest.raises(Invalid, match="No such file"):
        read_token(tmp_path / "token")


# -- the admin token

ADMIN = b"fedcba9876543210"


def asked(query=(), **headers):
    request = Asked(**headers)
    request.args = {b"token": [each.encode() for each in query]} if query else {}
    return request


@pytest.mark.parametrize(
    "shown",
    [
        asked([ADMIN.decode()]),
        asked(Authorization=f"Bearer {ADMIN.decode()}"),
        asked([ADMIN.decode()], Authorization="Basic abc", Origin="http://elsewhere"),
    ],
)
def test_the_admin_token_may_be_in_the_query_or_the_header(shown):
    Gate(TOKEN, hosts=["a"], admin_token=ADMIN).check(shown, Policy.ADMIN)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (asked(), "missing token"),
        (asked(Authorization="Basic abc"), "missing token"),
        (asked([""]), "invalid token"),
        (asked(["x"]), "invalid token"),
        (asked([TOKEN.decode()]), "invalid token"),
        (asked([ADMIN.decode()] * 2), "invalid token"),
        (asked([ADMIN.decode()], Authorization="Bearer x"), "invalid token"),
        (asked(["é"]), "invalid token"),
    ],
)
@pytest.mark.parametrize(("strict", "refusal"), [(False, Invalid), (True, Unauthorised)])
def test_without_the_admin_token(shown, text, strict, refusal):
    gate = Gate(TOKEN, admin_token=ADMIN, strict=strict)
    with pytest.raises(refusal, match=text) as raised:
        gate.check(shown, Policy.ADMIN)
    assert type(raised.value) is refusal


@pytest.mark.parametrize("policy", [Policy.SWARM, Policy.CONTROL])
@pytest.mark.parametrize("token", [TOKEN, ADMIN])
def test_only_the_admin_token_may_be_in_the_query(policy, token):
    with pytest.raises(Unauthorised):
        Gate(TOKEN, admin_token=ADMIN).check(asked([token.decode()]), policy)


def test_the_admin_token_opens_nothing_else():
    with pytest.raises(Unauthorised):
        Gate(TOKEN, admin_token=ADMIN).check(
            asked(Authorization=f"Bearer {ADMIN.decode()}"), Policy.SWARM
        )


@pytest.mark.parametrize("gate", [Gate(), Gate(TOKEN)])
def test_without_an_admin_token_nobody_administers(gate):
    with pytest.raises(Denied, match="no admin token"):
        gate.check(asked([TOKEN.decode()], Host="localhost"), Policy.ADMIN)


def test_makes_an_admin_token_once(tmp_path):
    path = tmp_path / "admin-token"
    token = admin_token(path)
    assert len(token) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert admin_token(path) == token
    assert list(tmp_path.iterdir()) == [path]
    assert admin_token(tmp_path / "other") != token


def test_takes_an_admin_token_that_is_there(tmp_path):
    path = tmp_path / "admin-token"
    path.touch(0o600)
    path.write_bytes(ADMIN + b"\n")
    assert admin_token(path) == ADMIN
    path.write_bytes(b"short")
    with pytest.raises(Invalid, match="must have 16"):
        admin_token(path)


def test_an_admin_token_that_cannot_be_made(tmp_path):
    with pytest.raises(Invalid, match=r"cannot make the token file .*: No such file"):
        admin_token(tmp_path / "absent" / "admin-token")


def test_an_admin_token_file_that_cannot_be_looked_for_is_told_of(tmp_path):
    with pytest.raises(Invalid, match="cannot make the token file"):
        admin_token(tmp_path / ("x" * 300))
