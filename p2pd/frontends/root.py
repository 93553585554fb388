"""The top of a daemon's site: which resource answers, and which pages of other sites may ask."""

from collections.abc import Mapping
from typing import Protocol, cast

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from p2pd.errors import Refusal
from p2pd.frontends import cors
from p2pd.frontends.authorisation import Gate, Policy
from p2pd.frontends.kit import Dialect, Reply, refusal_reply


class RawResource(Protocol):
    """A resource served without klein; its class says what a request for it must show."""

    policy: Policy


class Roaming(RawResource, Protocol):
    """A raw resource whose paths do not all begin the same."""

    def takes(self, path: bytes) -> bool:
        """Tell whether a path, as it was sent and without a query, is one of them."""


class Root(Resource):
    """Raw resources (those that must be fast or stream) by first path segment, else `app`.

    `roaming` comes between the two. Pages of the origins that the gate invites may use all of
    it, as browsers ask for by CORS.
    """

    def __init__(
        self,
        gate: Gate,
        dialect: Dialect,
        app: IResource,
        raw: Mapping[bytes, RawResource],
        roaming: Roaming | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._gate = gate
        self._dialect = dialect
        self._app = app
        self._raw = {name: (resource, resource.policy) for name, resource in raw.items()}
        self._roaming = roaming

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """Find the resource for the first segment, after asking the gate if it is a raw one."""
        if cors.invite(request, self._gate) and cors.is_preflight(request):
            return cors.Preflight()
        found = self._raw.get(path)
        if found is None and self._roaming and self._roaming.takes(request.path):
            found = self._roaming, self._roaming.policy
        if found is None:
            assert request.prepath is not None
            assert request.postpath is not None
            request.postpath.insert(0, request.prepath.pop())
            return self._app
        resource, policy = found
        try:
            self._gate.check(request, policy)
        except Refusal as refusal:
            return Answered(refusal_reply(refusal, self._dialect))
        return cast("IResource", resource)


class Answered(Resource):
    """A resource that answers every request below it with one reply."""

    isLeaf = True

    def __init__(self, reply: Reply) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reply = reply

    def render(self, request: Request) -> bytes:
        """Answer whatever the method."""
        return self._reply.put_on(request)
