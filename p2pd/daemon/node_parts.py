"""What a node is put together with: its store, its links, its downloads.

Importing this imports klein, and with it the reactor: do so inside `makeService` only.
"""

import dataclasses
import random
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.web.iweb import IPolicyForHTTPS

from p2pd.daemon import composition
from p2pd.daemon.config import NodeConfig
from p2pd.links.agent import make_agent, make_client
from p2pd.links.announce_clients import make_announce_clients
from p2pd.links.dialer import HttpDialer
from p2pd.links.guard import Guard
from p2pd.links.http import Caller
from p2pd.links.http_tracker import HttpTracker
from p2pd.links.redirects import make_guarded_agent
from p2pd.links.web import HttpWeb
from p2pd.metainfo.ids import Address, NodeId
from p2pd.node.accounts import Accounts
from p2pd.node.acquisition import Acquisition
from p2pd.node.downloads import Downloads
from p2pd.node.node import Node
from p2pd.node.outfit import Outfit
from p2pd.node.settings import NodeSettings
from p2pd.node.throttle import Throttle
from p2pd.node.tracking import Tracking, new_peer_id
from p2pd.node.transfers import Surroundings
from p2pd.store.account_table import SqliteAccountTable
from p2pd.store.files import FileStore
from p2pd.store.node_tables import SqliteResumeTable
from p2pd.store.sqlite import Database

# What is announced before the node listens; no tracker is told then.
_NOWHERE = "127.0.0.1", 0


def make_accounts(reactor: Any, database: Database, secret: bytes) -> Accounts:
    """Return the accounts that a database keeps."""
    return Accounts(SqliteAccountTable(database), secret, clock=reactor, threads=deferToThread)


class NodeParts:
    """Makes a node's parts; `loopback_only` is to be set once it is known where it listens."""

    def __init__(
        self,
        reactor: Any,
        config: NodeConfig,
        database: Database,
        *,
        node_id: NodeId,
        boot: str,
        token: bytes | None,
        authority: IPolicyForHTTPS | None,
    ) -> None:
        self._reactor = reactor
        self._config = config
        self.loopback_only = False
        self._rng = random.Random()  # noqa: S311 - for choices, not for secrets
        self._guard = Guard(config.allow_source_net, loopback_only=lambda: self.loopback_only)
        self._downlink = Throttle(reactor, config.max_download_rate)
        self._agent = make_agent(reactor, connections=config.parallel, policy=authority)
        self._caller = Caller(
            make_client(self._agent),
            reactor,
            node_id,
            self._downlink,
            token,
            deferToThread,
            self._agent,
        )
        self._trackers = [HttpTracker(url, self._caller) for url in config.tracker]
        surroundings = self._surroundings(database, boot, tls=authority is not None)
        node = Node(
            surroundings,
            node_id=node_id,
            trackers=self._trackers,
            parallel=config.parallel,
            heartbeat_interval=config.heartbeat_interval,
            zone=config.zone,
        )
        self.downloads = Downloads(node, self._outfit(node, surroundings))

    def _surroundings(self, database: Database, boot: str, *, tls: bool) -> Surroundings:
        config = self._config
        origin_url = config.origin_dir.as_uri() if config.origin_dir else ""
        return Surroundings(
            clock=self._reactor,
            rng=self._rng,
            store=FileStore(
                config.download_dir,
                deferToThread,
                roots=config.allow_root,
                least_free=config.least_free,
            ),
            table=SqliteResumeTable(database),
            dialer=self._dialer(tls=tls),
            boot=boot,
            origin=composition.make_origin(config, self._reactor, base_url=origin_url),
            threads=deferToThread,
            uplink=Throttle(self._reactor, config.max_upload_rate),
            downlink=self._downlink,
        )

    def _dialer(self, *, tls: bool) -> HttpDialer:
        config = self._config
        clients = [
            make_client(
                make_guarded_agent(
                    self._reactor, self._guard, strict=strict, connections=config.parallel
                )
            )
            for strict in (False, True)
        ]
        outside, guarded = (
            dataclasses.replace(self._caller, client=client, agent=None) for client in clients
        )
        return HttpDialer(
            self._caller,
            tls=tls,
            outside=outside,
            guarded=guarded,
            zone=config.zone,
            trackers=config.tracker,
            origin_dir=config.origin_dir,
            threads=deferToThread,
        )

    def _outfit(self, node: Node, surroundings: Surroundings) -> Outfit:
        config = self._config
        agent, strict_agent = (
            make_guarded_agent(self._reactor, self._guard, strict=strict)
            for strict in (False, True)
        )
        return Outfit(
            surroundings,
            Acquisition(
                node,
                HttpWeb(agent, strict_agent, self._reactor),
                surroundings.store,
                clock=self._reactor,
                rng=self._rng,
                threads=deferToThread,
                trackers=self._trackers,
                heartbeat_interval=config.heartbeat_interval,
            ),
            self._tracking(node),
            NodeSettings(
                max_upload_rate=config.max_upload_rate,
                max_download_rate=config.max_download_rate,
                max_active_downloads=config.max_active_downloads,
                max_active_seeds=config.max_active_seeds,
                seeding_ratio=config.seeding_ratio,
                seeding_time=config.seeding_time,
                least_free=config.least_free,
                log_lines=config.log_lines,
            ),
        )

    def _tracking(self, node: Node) -> Tracking:
        def local() -> tuple[str, int]:
            return _split(node.address) if node.address else _NOWHERE

        return Tracking(
            make_announce_clients(self._reactor, self._guard),
            clock=self._reactor,
            rng=self._rng,
            peer_id=new_peer_id(random.SystemRandom()),
            port=lambda: local()[1],
            local=local,
            tell=lambda *told: self.downloads.told(*told),  # noqa: PLW0108 - made later
        )


def _split(address: Address) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
