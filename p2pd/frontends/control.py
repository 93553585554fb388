"""What the APIs that drive a node speak for: its downloads, its accounts, its end."""

from collections.abc import Callable
from dataclasses import dataclass

from p2pd.node.accounts import Accounts
from p2pd.node.downloads import Downloads


@dataclass(frozen=True)
class Control:
    """What a node's user may ask for; `shutdown` ends the daemon, after the reply to that.

    `database` is the path of the file that all this is kept in, if it is in one.
    """

    downloads: Downloads
    accounts: Accounts
    shutdown: Callable[[], None]
    database: str = ""
