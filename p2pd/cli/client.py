"""Speaks a node's HTTP API: requests out, checked values or a reason to give up back."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from p2pd.cli.calls import Server
from p2pd.swarm.lifecycle import State

_API = "/api/v1"
_LOOK_TIMEOUT = 30.0
_NO_LIMITS: Mapping[str, int] = {}
_SETTLED = frozenset({State.COMPLETE, State.FAILED, State.PAUSED})


@dataclass(frozen=True, slots=True)
class Transfer:
    """One torrent on a node; sizes in bytes, speeds in bytes/s, times in Unix seconds.

    `document` is all that the node said of it.
    """

    infohash: str
    name: str
    path: str
    state: State
    error: str
    size: int
    progress: float
    downloaded: int
    uploaded: int
    speed_down: float
    speed_up: float
    upload_limit: int
    download_limit: int
    eta: float | None
    peers: int
    added: float
    finished: float | None
    document: Mapping[str, Any] = field(repr=False)

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in _SETTLED

    @classmethod
    def from_wire(cls, document: Any) -> Self:
        """Read what a node says; raises ValueError, KeyError or TypeError for anything else."""
        return cls(
            infohash=str(document["infohash"]),
            name=str(document["filename"]),
            path=str(document["path"]),
            state=State(document["state"]),
            error=str(document["error"]),
            size=int(document["size"]),
            progress=min(max(_number(document["progress"]), 0.0), 1.0),
            downloaded=int(document["downloaded"]),
            uploaded=int(document["uploaded"]),
            speed_down=_number(document["speed_down"]),
            speed_up=_number(document["speed_up"]),
            upload_limit=int(document["upload_limit"]),
            download_limit=int(document["download_limit"]),
            eta=_number_if_any(document["eta"]),
            peers=len(document["peers"]),
            added=_number(document["added"]),
            finished=_number_if_any(document["finished"]),
            document=document,
        )


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _number_if_any(value: Any) -> float | None:
    return None if value is None else _number(value)


@dataclass(frozen=True, slots=True)
class Started:
    """A download that was asked for; `already` if all of it had been here before."""

    infohash: str
    already: bool


class Client:
    """One node, called at `url`; shows a `token` if there is one.

    Every method raises CommandFailed if the node cannot be reached or will not do it. Use it
    in `async with`, which closes its connections.
    """

    def __init__(self, reactor: Any, url: str, token: bytes | None = None) -> None:
        self._server = Server(
            reactor,
            url,
            token,
            kind="node",
            start="twistd -n p2p-node --tracker URL",
            choose="--node",
        )

    async def __aenter__(self) -> Self:
        """Return itself: connections are made when needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._server.close()

    async def share(
        self, path: str, name: str | None, *, limits: Mapping[str, int] = _NO_LIMITS
    ) -> Transfer:
        """Share a file or directory of the node's machine; it may take long to digest.

        `limits` are the API's fields, here and below: `max_upload_rate`, `max_download_rate`.
        """
        wish = {"path": path, "name": name or "", **limits}
        answer = await self._ask("POST", "share", json.dumps(wish).encode())
        return self._transfer(answer.get("transfer"))

    async def start(
        self,
        name: str,
        *,
        destination: str = "",
        replace: bool = False,
        limits: Mapping[str, int] = _NO_LIMITS,
    ) -> Started:
        """Download by filename or infohash."""
        wish = {"filename": name, "destination": destination, "replace": replace, **limits}
        return self._started(await self._ask("POST", "start_download", json.dumps(wish).encode()))

    async def start_torrent(
        self,
        metainfo: bytes,
        *,
        destination: str = "",
        replace: bool = False,
        limits: Mapping[str, int] = _NO_LIMITS,
    ) -> Started:
        """Download by the bytes of a .torrent file."""
        query = {"destination": destination, "replace": str(int(replace))}
        query |= {name: str(rate) for name, rate in limits.items()}
        return self._started(await self._ask("POST", "start_download", metainfo, query))

    async def transfer(self, infohash: str) -> Transfer:
        """Look at one torrent."""
        answer = await self._ask("GET", f"transfers/{infohash}", within=_LOOK_TIMEOUT)
        return self._transfer(answer.get("transfer"))

    async def transfers(self) -> list[Transfer]:
        """Look at all torrents, in the order they were added."""
        answer = await self._ask("GET", "transfers", within=_LOOK_TIMEOUT)
        listed = answer.get("transfers")
        if not isinstance(listed, list):
            raise self._server.mistaken("it lists no transfers")
        return [self._transfer(document) for document in listed]

    async def limit(self, infohash: str, limits: Mapping[str, int]) -> Transfer:
        """Change the rate limits of one torrent."""
        body = json.dumps(limits).encode()
        answer = await self._ask("POST", f"transfers/{infohash}/limits", body)
        return self._transfer(answer.get("transfer"))

    async def limit_node(self, limits: Mapping[str, int]) -> Mapping[str, Any]:
        """Change the rate limits of the node; what it says of itself then."""
        return await self._ask("POST", "limits", json.dumps(limits).encode())

    def _transfer(self, document: Any) -> Transfer:
        try:
            return Transfer.from_wire(document)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._server.mistaken("it describes a transfer in an unknown way") from error

    def _started(self, answer: Mapping[str, Any]) -> Started:
        infohash = answer.get("infohash")
        if not isinstance(infohash, str) or not infohash.isalnum():
            raise self._server.mistaken("it tells no infohash")
        return Started(infohash, answer.get("state") == State.COMPLETE)

    async def _ask(
        self,
        method: str,
        operation: str,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        *,
        within: float | None = None,
    ) -> Mapping[str, Any]:
        """Return a good answer's JSON object; raises CommandFailed for any other."""
        path = f"{_API}/{operation}"
        status, text = await self._server.request(method, path, body, query, within=within)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._server.mistaken(f"it answered {status} and no JSON object")
        if status == 200:
            return answer
        if status == 404:
            await self._check_is_node()
        reason = answer.get("error")
        if status == 401:
            reason = (
                f"{self._server.url} wants a token: give its control token, or the fleet's token,"
                " with --token-file"
            )
        raise self._server.refused(status, reason)

    async def _check_is_node(self) -> None:
        """Tell a node that does not have something from a server that never would."""
        _, text = await self._server.request("GET", f"{_API}/health", within=_LOOK_TIMEOUT)
        if not text.startswith(b"Node"):
            raise self._server.mistaken("it says that it is something else")
