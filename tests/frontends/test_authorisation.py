"""The gate: tokens, roles, DNS rebinding, forged requests."""

import pytest
from twisted.web.http_headers import Headers

from p2pd.errors import Denied, Invalid
from p2pd.frontends.authorisation import LOOPBACK_NAMES, Gate, Policy, Unauthorised
from p2pd.roles import Role

TOKEN = b"0123456789abcdef"


class Asked:
    """As much of a request as the gate looks at."""

    def __init__(self, query=None, cookies=None, **headers):
        self.args = {
            name.encode(): [value.encode() for value in listed(values)]
            for name, values in (query or {}).items()
        }
        self.cookies = {name.encode(): value.encode() for name, value in (cookies or {}).items()}
        self.requestHeaders = Headers()
        for name, values in headers.items():
            for value in listed(values):
                self.requestHeaders.addRawHeader(name.replace("_", "-"), value)

    def getCookie(self, name):
        return self.cookies.get(name)


def listed(values):
    return values if isinstance(values, list) else [values]


USERS = [Policy.READ, Policy.CONTROL, Policy.OWN]


@pytest.mark.parametrize("policy", [Policy.SWARM, *USERS])
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
        {"Authorization": ["Bearer 0123456789abcdef", "Bearer another-token-0"]},
    ],
)
def test_a_token_is_asked_for(policy, shown):
    with pytest.raises(Unauthorised, match=r"Authorization: Bearer|several credentials"):
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


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense", ""])
def test_nor_hide_behind_an_image(site):
    with pytest.raises(Denied, match="web site"):
        Gate().check(Asked(Host="localhost:38080", Sec_Fetch_Site=site), Policy.CONTROL)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_but_its_user_may_look(site):
    Gate(hosts=LOOPBACK_NAMES).check(Asked(Host="localhost", Sec_Fetch_Site=site), Policy.READ)


def test_its_own_pages_may():
    asked = Asked(Host="localhost:38080", Origin="http://LOCALHOST:38080")
    Gate(hosts=LOOPBACK_NAMES).check(asked, Policy.CONTROL)


# -- the admin token

ADMIN = b"fedcba9876543210"


def asked(query=(), **headers):
    return Asked({"token": query} if query else None, **headers)


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


# -- the tokens of users

READER, OPERATOR, OWNER = "a-reader-of-this", "an-operator-of-it", "its-administrator"
CONTROL = {
    READER.encode(): Role.READER,
    OPERATOR.encode(): Role.OPERATOR,
    OWNER.encode(): Role.ADMIN,
}
HOST = "localhost:8085"
LOGGED_IN = "eyJ0.a.b"


def log_in(token):
    return Role.OPERATOR if token == LOGGED_IN else None


def shown(token):
    """The token in every place that a request may carry it."""
    return [
        Asked(Authorization=f"Bearer {token}"),
        Asked(X_Api_Key=token),
        Asked(X_Porla_Token=token),
        Asked(X_Porla_Token=f"Bearer {token}"),
        Asked({"apikey": token}),
        Asked({"key": token}),
        Asked(cookies={"api_key": token}, Host=HOST, Origin=f"http://{HOST}"),
        Asked(cookies={"porla-auth-token": token}, Sec_Fetch_Site="same-origin"),
    ]


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize(
    ("token", "allowed"),
    [
        (READER, [Policy.READ]),
        (OPERATOR, [Policy.READ, Policy.CONTROL]),
        (LOGGED_IN, [Policy.READ, Policy.CONTROL]),
        (OWNER, USERS),
    ],
)
def test_each_role_may_do_its_part_wherever_the_token_stands(at, token, allowed):
    gate = Gate(TOKEN, control=CONTROL, login=log_in)
    for policy in USERS:
        if policy in allowed:
            gate.check(shown(token)[at], policy)
        else:
            with pytest.raises(Denied, match="this takes the role") as refusal:
                gate.check(shown(token)[at], policy)
            assert type(refusal.value) is Denied


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("policy", USERS)
@pytest.mark.parametrize("token", ["a-reader-of-thi", "a-reader-of-this0", "\xe4", "Bearer"])
def test_other_tokens_open_nothing(at, policy, token):
    with pytest.raises(Unauthorised):
        Gate(control=CONTROL, login=log_in).check(shown(token)[at], policy)


@pytest.mark.parametrize("at", range(8))
def test_with_both_the_fleets_token_opens_what_the_fleet_does(at):
    gate = Gate(TOKEN, control=CONTROL, login=log_in)
    gate.check(shown(TOKEN.decode())[at], Policy.SWARM)
    for policy in USERS:
        with pytest.raises(Unauthorised):
            gate.check(shown(TOKEN.decode())[at], policy)
    for token in (OWNER, LOGGED_IN):
        with pytest.raises(Unauthorised):
            gate.check(shown(token)[at], Policy.SWARM)


@pytest.mark.parametrize("at", range(8))
def test_without_tokens_of_users_the_fleets_is_an_admins_and_logins_hold(at):
    gate = Gate(TOKEN, login=log_in)
    gate.check(shown(TOKEN.decode())[at], Policy.OWN)
    gate.check(shown(LOGGED_IN)[at], Policy.CONTROL)
    with pytest.raises(Denied):
        gate.check(shown(LOGGED_IN)[at], Policy.OWN)


def test_without_any_token_a_login_takes_nothing_away():
    Gate(hosts=LOOPBACK_NAMES, login=log_in).check(Asked(Host="localhost"), Policy.OWN)


def test_the_fleet_goes_on_in_the_open_beside_the_tokens_of_users():
    gate = Gate(hosts=LOOPBACK_NAMES, control=CONTROL)
    gate.check(Asked(Host="localhost"), Policy.SWARM)
    with pytest.raises(Denied, match="Host"):
        gate.check(Asked(Host="evil.example"), Policy.SWARM)
    with pytest.raises(Unauthorised):
        gate.check(Asked(Host="localhost"), Policy.READ)


@pytest.mark.parametrize(
    "request_",
    [
        Asked({"apikey": READER}, X_Api_Key=OWNER),
        Asked({"apikey": [OWNER, READER]}),
        Asked({"apikey": OWNER, "key": READER}),
        Asked(X_Api_Key=OWNER, Authorization="Bearer x"),
    ],
)
def test_several_that_differ_are_refused(request_):
    with pytest.raises(Unauthorised, match="several credentials"):
        Gate(control=CONTROL).check(request_, Policy.READ)


@pytest.mark.parametrize(
    "request_",
    [
        Asked({"apikey": OWNER, "key": ""}, X_Api_Key=OWNER, Authorization=f"bearer {OWNER}"),
        Asked(X_Api_Key=OWNER, cookies={"api_key": "of another daemon of this host"}),
        Asked(X_Api_Key=OWNER, Authorization="Basic abc", Origin="http://elsewhere"),
        Asked(
            cookies={"api_key": "stale", "porla-auth-token": OWNER}, Sec_Fetch_Site="same-origin"
        ),
    ],
)
def test_what_is_sent_on_purpose_counts(request_):
    Gate(control=CONTROL).check(request_, Policy.OWN)


# -- cookies, which browsers send unasked


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Origin": [f"http://{HOST}", "http://evil.example"]},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": ""},
        {"Sec_Fetch_Site": "same-origin", "Origin": "http://evil.example"},
    ],
)
@pytest.mark.parametrize("policy", USERS)
def test_a_page_of_another_site_cannot_use_a_cookie(headers, policy):
    request = Asked(cookies={"porla-auth-token": OWNER}, Host=HOST, **headers)
    with pytest.raises(Denied, match="cookie"):
        Gate(control=CONTROL).check(request, policy)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": f"http://{HOST}"},
        {"Origin": "https://ui.example"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none"},
    ],
)
def test_pages_of_its_own_and_invited_ones_can(headers):
    request = Asked(cookies={"porla-auth-token": OWNER}, Host=HOST, **headers)
    Gate(control=CONTROL, origins=["https://ui.example"]).check(request, Policy.OWN)


def test_where_nothing_tells_of_the_page_a_cookie_lets_look():
    gate = Gate(control=CONTROL)
    request = Asked(cookies={"api_key": OWNER}, Host=HOST)
    gate.check(request, Policy.READ)
    with pytest.raises(Denied, match="send the token in a header"):
        gate.check(request, Policy.CONTROL)


# -- invited pages


@pytest.mark.parametrize("policy", [Policy.SWARM, *USERS])
def test_invited_pages_may_use_an_open_daemon(policy):
    gate = Gate(hosts=LOOPBACK_NAMES, origins=["https://ui.example", "http://[::1]:3000"])
    for origin in ("https://ui.example", "http://[::1]:3000"):
        gate.check(Asked(Host=HOST, Origin=origin), policy)
    for origin in ("http://ui.example", "https://ui.example:8443", "https://ui.example.evil"):
        with pytest.raises(Denied, match="web site"):
            gate.check(Asked(Host=HOST, Origin=origin), policy)
    with pytest.raises(Denied, match="Host"):
        gate.check(Asked(Host="evil.example", Origin="https://ui.example"), policy)


def test_no_host_is_no_origins_own():
    with pytest.raises(Denied, match="web site"):
        Gate().check(Asked(Host="", Origin="null"), Policy.READ)
