"""What the tests of links to web servers share."""

import pytest
import pytest_twisted

from tests.web_server import Server


@pytest.fixture
def server():
    server = Server()
    yield server
    pytest_twisted.blockon(server.close())
