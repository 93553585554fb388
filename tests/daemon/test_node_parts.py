"""What a node is put together with: whom it calls for the sake of what others say."""

import pytest
from twisted.internet import reactor

from p2pd.daemon.node_parts import NodeParts
from p2pd.errors import Unavailable
from p2pd.store.node_tables import MIGRATIONS
from p2pd.store.sqlite import Database
from tests.daemon.test_config import NodeConfig, parse
from tests.samples import torrent


@pytest.fixture
def parts(tmp_path):
    database = Database(tmp_path / "node.sqlite3", MIGRATIONS, reactor=reactor)
    config = parse(NodeConfig, "--state-dir", str(tmp_path))
    return NodeParts(
        reactor, config, database, node_id="n1", boot="", token=b"token" * 4, authority=None
    )


@pytest.mark.parametrize("strict", [True, False])
async def test_no_web_seed_leads_to_the_secrets_of_a_cloud(parts, strict):
    seed = parts._dialer(tls=False).web_seed("http://169.254.169.254/latest/", strict=strict)
    with pytest.raises(Unavailable, match="nothing is fetched from there"):
        await seed.fetch(torrent(), [0], Landing())


class Landing:
    """Room for a piece."""

    limit = None

    def room(self, index):
        return memoryview(bytearray(1 << 20))
