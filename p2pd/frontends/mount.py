"""Which frontend stands at which path of a daemon."""

from twisted.web.resource import IResource

from p2pd.frontends import fleet, fleet_node, pieces
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.kit import RawResource, Root, application
from p2pd.frontends.sending import Uplink
from p2pd.node.node import Node


def node_root(node: Node, gate: Gate, uplink: Uplink) -> IResource:
    """Everything that a node serves."""
    app = application(gate, [(fleet_node.api, node), (fleet_node.top, node)])
    raw: dict[bytes, RawResource] = {
        b"pieces": pieces.Pieces(node, uplink),
        b"files": pieces.Files(node, uplink),
        b"metainfo": pieces.Metainfo(node, uplink),
        b"swarms": pieces.Swarms(node, uplink),
    }
    return Root(gate, fleet.error, app, raw)
