"""A fleet whose nodes talk TLS to each other and to the tracker, by an authority of its own."""

import re

import pytest

from tests.certificates import Authority, endpoint
from tests.real.fleet import MIB, Fleet, digests, make_file, until

pytestmark = pytest.mark.real


class TlsFleet:
    """A fleet with an authority; each daemon also listens in the plain, for the tests to ask."""

    def __init__(self, twistd, path):
        self.authority = Authority(path, "fleet-ca")
        self._fleet = Fleet(twistd, path)
        listen = endpoint(self.authority.issue("tracker", "127.0.0.1"))
        self.tracker = self._fleet.start_tracker("--listen", listen)
        self._url = tls_url(self.tracker)

    def start_node(self, name, authority=None, host="127.0.0.1"):
        listen = endpoint((authority or self.authority).issue(name, host))
        options = ["--listen", listen, "--peer-ca", self.authority.path]
        return self._fleet.start_node(*options, "--node-id", name, tracker=self._url)

    def share(self, node, file):
        return self._fleet.share(node, file)


def tls_url(service):
    return service.daemon.wait_for(r"listening on (https://\S+)$")[1]


@pytest.fixture
def fleet(twistd, tmp_path):
    return TlsFleet(twistd, tmp_path)


def test_nodes_serve_each_other_over_tls(fleet, tmp_path):
    seed, first, second = (fleet.start_node(name) for name in ("seed", "first", "second"))
    file = make_file(tmp_path / "shared" / "a.img", 9 * MIB + 1)
    fleet.share(seed, file)
    for node in (first, second):
        assert node.fetch("a.img")["state"] == "complete"
        assert digests(node.downloads / "a.img") == digests(file)
    addresses = fleet.tracker.nodes()
    for node in (seed, first, second):
        assert f"https://{addresses[node.get('info')['node_id']]}" == tls_url(node)
    assert sum(seed.sent().values()) >= 9 * MIB
    for node in (seed, first, second):
        assert node.terminate() == 0
        assert "Traceback" not in node.log


@pytest.mark.parametrize("fault", ["another authority", "another host"])
def test_who_cannot_prove_to_be_a_node_is_not_believed(fleet, tmp_path, fault):
    if fault == "another host":
        impostor = fleet.start_node("impostor", host="192.0.2.1")
    else:
        other = tmp_path / "other"
        other.mkdir()
        impostor = fleet.start_node("impostor", authority=Authority(other, "other-ca"))
    file = make_file(tmp_path / "shared" / "a.img", 2 * MIB)
    fleet.share(impostor, file)
    node = fleet.start_node("node")
    node.begin("a.img")
    address = re.escape(tls_url(impostor))
    reason = (
        "its TLS certificate is for another host" if "host" in fault else "TLS failed: .*verify"
    )
    until(lambda: re.search(rf"lost .*{address}.*{reason}", node.log), what="nobody called it")
    transfer = node.transfer("a.img")
    assert transfer["state"] == "downloading"
    assert impostor.sent() == {}

    seed = fleet.start_node("seed")
    seed.share(file)
    until(lambda: node.complete("a.img"))
    assert digests(node.downloads / "a.img") == digests(file)
    assert impostor.sent() == {}
    assert "Traceback" not in node.log


def test_a_tracker_that_is_not_of_the_authority_is_not_believed(fleet, twistd, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    stranger = TlsFleet(twistd, other)
    node = stranger.start_node("node")
    stranger._url = tls_url(fleet.tracker)
    node = stranger.start_node("lost")
    found = node.daemon.wait_for(r"tracker (\S+) does not answer, trying on: .*TLS failed: .*")
    assert found[1] == tls_url(fleet.tracker)
    assert fleet.tracker.nodes() == {}


def refused(twistd, tmp_path, *options):
    daemon = twistd("p2p-node", "--state-dir", tmp_path / "state", *options, ready=False)
    assert daemon.wait() == 1
    assert "Traceback" not in daemon.text + daemon.errors
    return daemon.text + daemon.errors


def test_a_node_that_could_not_be_called_by_tls_does_not_start(twistd, tmp_path):
    authority = Authority(tmp_path, "fleet-ca")
    told = refused(twistd, tmp_path, "--peer-ca", authority.path)
    assert "give it an endpoint for that, like --listen ssl:48000:" in told


def test_a_node_without_a_usable_authority_does_not_start(twistd, tmp_path):
    pem = Authority(tmp_path, "fleet-ca").issue("node", "127.0.0.1")
    no_pem = make_file(tmp_path / "random", 100)
    for file, reason in (
        (tmp_path / "absent", "cannot read .*: No such file"),
        (no_pem, "of no use: there is no certificate in PEM format in it"),
        (pem, "of no use: the certificate of CN=node in it is not that of an authority"),
    ):
        told = refused(twistd, tmp_path, "--listen", endpoint(pem), "--peer-ca", file)
        assert re.search(rf"--peer-ca {re.escape(str(file))}", told)
        assert re.search(reason, told)
