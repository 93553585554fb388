"""What the downloads of a node are put together with."""

from dataclasses import dataclass, field

from p2pd.node.acquisition import Acquisition
from p2pd.node.settings import NodeSettings
from p2pd.node.tracking import Tracking
from p2pd.node.transfers import Surroundings


@dataclass(frozen=True, slots=True)
class Outfit:
    """What downloads are put together with, beside a node and what that is put together with."""

    surroundings: Surroundings
    acquisition: Acquisition
    tracking: Tracking
    settings: NodeSettings = field(default_factory=NodeSettings)
