"""The claim on a name at the trackers: that this node makes it known, and no other meanwhile."""

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from p2pd import background
from p2pd.errors import Refusal
from p2pd.metainfo.ids import NodeId
from p2pd.node.ports import TrackerLink


class Claiming:
    """One name, to be claimed at the first of the trackers that answers, and with each heart beat.

    Where none answers the node is on its own, and may do as it likes.
    """

    def __init__(
        self,
        trackers: Iterable[TrackerLink],
        name: str,
        node_id: NodeId,
        *,
        clock: IReactorTime,
        interval: float,
    ) -> None:
        self._trackers = tuple(trackers)
        self._name = name
        self._node_id = node_id
        self._clock = clock
        self._interval = interval
        self._link: TrackerLink | None = None
        self._loop: LoopingCall | None = None
        self._renewing: Deferred[None] | None = None

    async def take(self) -> bool:
        """Claim the name until `end`; False if another node has it."""
        for link in self._trackers:
            try:
                granted = await link.claim(self._name, self._node_id)
            except Refusal:
                continue
            if granted:
                self._link = link
                self._loop = LoopingCall(self._renew, link)
                self._loop.clock = self._clock
                self._loop.start(self._interval, now=False)
            return granted
        return True

    def _renew(self, link: TrackerLink) -> Deferred[None]:
        async def renew() -> None:
            await link.claim(self._name, self._node_id)

        self._renewing = background.start(renew(), "renewing a claim", Refusal)
        return self._renewing

    def end(self, *, release: bool) -> None:
        """Renew the claim no more; let others have the name at once if it is to be released."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        if self._renewing is not None:
            self._renewing.cancel()
        if release and self._link is not None:
            releasing = self._link.release(self._name, self._node_id)
            background.start(releasing, "releasing a claim", Refusal)
        self._link = None
