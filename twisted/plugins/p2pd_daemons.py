"""What twistd can start: p2p-tracker and p2p-node."""

from twisted.application.service import ServiceMaker

tracker = ServiceMaker(
    "p2p tracker",
    "p2pd.daemon.tracker_tap",
    "Tells the nodes of a fleet who has which pieces of which files.",
    "p2p-tracker",
)
node = ServiceMaker(
    "p2p node",
    "p2pd.daemon.node_tap",
    "Fetches files from other nodes, and serves every piece it has to them.",
    "p2p-node",
)
