"""The JSON-RPC API (Porla) of a node: one route for all methods, and those around it."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from twisted.web.server import Request

from p2pd.errors import Conflict, Denied, Refusal
from p2pd.frontends import (
    fleet,
    json_text,
    jsonrpc_adding,
    jsonrpc_list,
    jsonrpc_system,
    jsonrpc_torrents,
    jsonrpc_trackers,
    kit,
)
from p2pd.frontends.authorisation import Gate, Policy
from p2pd.frontends.control import Control
from p2pd.frontends.event_stream import SSE, SSE_BEAT, EventStream
from p2pd.frontends.jsonrpc_envelope import INTERNAL_ERROR, INVALID_REQUEST, RpcError, answer
from p2pd.frontends.jsonrpc_events import HELLO, last_seen, renderer
from p2pd.frontends.jsonrpc_methods import Methods, told
from p2pd.frontends.kit import TEXT, TORRENT_BODY, Api, Reply
from p2pd.node.accounts import SESSION

_SMALL_BODY = 16 * 1024
_COOKIE = "porla-auth-token"

methods = Methods(
    jsonrpc_adding.methods,
    jsonrpc_list.methods,
    jsonrpc_system.methods,
    jsonrpc_torrents.methods,
    jsonrpc_trackers.methods,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """What JSON-RPC speaks for, and the gate that each call has to pass."""

    control: Control
    gate: Gate


def error(status: HTTPStatus, reason: str) -> Reply:
    """Return the plain text that errors of HTTP are told in."""
    if status is HTTPStatus.UNAUTHORIZED:
        reason = "Unauthorized"
    return Reply(reason.encode(), TEXT, status)


def rpc_error(status: HTTPStatus, reason: str) -> Reply:
    """Return what was wrong with a whole request: a JSON-RPC error, but for a lack of rights."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return error(status, reason)
    code = INVALID_REQUEST if status < HTTPStatus.INTERNAL_SERVER_ERROR else INTERNAL_ERROR
    return Reply(json_text.write(RpcError(code, reason).to_wire()), status=status)


rpc = Api(rpc_error, "/api/v1/jsonrpc", max_body=TORRENT_BODY)
events = Api(error, "/api/v1/events")
auth = Api(error, "/api/v1/auth", max_body=_SMALL_BODY)
system = Api(error, "/api/v1/system")


def apis(control: Control, gate: Gate) -> list[tuple[Api, object]]:
    """Everything that this API serves, and what it speaks for."""
    plain = [(api, control) for api in (events, auth, system)]
    return [(rpc, Caller(control, gate)), *plain]


@rpc.route("", methods=("POST",), policy=Policy.READ)
async def call(caller: Caller, request: Request) -> Reply:
    """Answer a call, or a batch of them; each must pass the gate for what its method does."""

    async def perform(method: str, params: Any) -> Any:
        policy = methods.policy_of(method)
        try:
            caller.gate.check(request, policy)
        except Refusal as refusal:
            raise told(refusal) from refusal
        return await methods.perform(caller.control, method, params)

    clock = caller.control.downloads.node.uplink.clock
    answered = await answer(kit.read_body(request), perform, clock)
    return Reply(answered, status=HTTPStatus.OK if answered else HTTPStatus.NO_CONTENT)


@events.route("", policy=Policy.READ)
async def listen(control: Control, request: Request) -> EventStream:
    """Tell what happens, as server-sent events."""
    return EventStream(
        control.downloads.events,
        renderer(control),
        content_type=SSE,
        first=HELLO,
        since=last_seen(request),
        beat=SSE_BEAT,
        clock=control.downloads.node.uplink.clock,
    )


@auth.route("/init", methods=("POST",), policy=Policy.OWN)
async def init(control: Control, request: Request) -> Reply:
    """Make the first account, an admin's."""
    if control.accounts.initialised:
        return error(HTTPStatus.BAD_REQUEST, "Already initialized")
    try:
        await control.accounts.init(*_credentials(request))
    except Conflict as refusal:
        return error(HTTPStatus.BAD_REQUEST, refusal.reason)
    return Reply(json_text.write({"ok": True}))


@auth.route("/login", methods=("POST",), policy=Policy.PUBLIC)
async def login(control: Control, request: Request) -> Reply:
    """Give a token for a name and a password, as a cookie too."""
    try:
        token = await control.accounts.login(*_credentials(request))
    except Denied:
        return Reply(json_text.write({"error": "invalid_auth"}))
    safe = "; Secure" if request.isSecure() else ""
    kept = f"Path=/; Max-Age={int(SESSION)}; HttpOnly; SameSite=Strict{safe}"
    cookie = {b"Set-Cookie": f"{_COOKIE}={token}; {kept}".encode()}
    return Reply(json_text.write({"token": token}), headers=cookie)


def _credentials(request: Request) -> tuple[str, str]:
    fields = fleet.read(request)
    return fields.text("username"), fields.text("password")


@system.route("", policy=Policy.PUBLIC)
async def status(control: Control, _request: Request) -> Reply:
    """Tell whether there is an account to log in to."""
    found = "ok" if control.accounts.initialised else "setup"
    return Reply(json_text.write({"status": found}))
