"""Shows how transfers go on: bars on a terminal, now and then a line or a document elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from p2pd.cli.client import Client, Transfer
from p2pd.cli.output import Output, duration, percent, printable, rate, size
from p2pd.swarm.lifecycle import State

_LOOK_INTERVAL = 0.2
_LINE_INTERVAL = 2.0


class Display(Protocol):
    """Where progress is shown."""

    def show(self, label: str, transfer: Transfer) -> None:
        """Show the newest look at a transfer; `label` tells it from others."""


async def watch(
    node: Client, infohash: str, label: str, display: Display, clock: IReactorTime
) -> Transfer:
    """Follow a transfer until it has settled; returns the last look at it."""
    while True:
        transfer = await node.transfer(infohash)
        display.show(label, transfer)
        if transfer.settled:
            return transfer
        await deferLater(clock, _LOOK_INTERVAL)


@contextmanager
def display_on(out: Output, clock: IReactorTime, *, documents: bool = True) -> Iterator[Display]:
    """Show progress in the way that suits who reads; `documents` unless one follows in the end."""
    if out.terminal:
        with _Bars(out) as bars:
            yield bars
    elif not out.as_json:
        yield _Lines(out, clock)
    else:
        yield _Documents(out, clock) if documents else _Nothing()


def facts(transfer: Transfer) -> str:
    """Return what a transfer is doing, in a few words."""
    if transfer.state is not State.DOWNLOADING:
        return transfer.state.value
    parts = [rate(transfer.speed_down)]
    if transfer.eta is not None:
        parts.append(f"{duration(transfer.eta)} left")
    parts.append(f"{transfer.peers} peer{'' if transfer.peers == 1 else 's'}")
    return ", ".join(parts)


class _Bars:
    """A live bar for each transfer."""

    def __init__(self, out: Output) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[part]} %", markup=False, justify="right"),
            TextColumn("{task.fields[facts]}", markup=False),
            console=out.console(),
            auto_refresh=False,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, label: str, transfer: Transfer) -> None:
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(
                printable(label), total=1.0, part="", facts=""
            )
        self._progress.update(
            self._tasks[label],
            completed=transfer.progress,
            part=percent(transfer.progress),
            facts=facts(transfer),
            refresh=True,
        )


class _Rarely:
    """Passes on the first look at each transfer, then one every few seconds."""

    def __init__(self, out: Output, clock: IReactorTime) -> None:
        self.out = out
        self._clock = clock
        self._due: dict[str, float] = {}

    def is_due(self, label: str) -> bool:
        now = self._clock.seconds()
        if now < self._due.get(label, now):
            return False
        self._due[label] = now + _LINE_INTERVAL
        return True


class _Lines(_Rarely):
    def show(self, label: str, transfer: Transfer) -> None:
        if not transfer.settled and self.is_due(label):
            self.out.say(
                f"{label}: {percent(transfer.progress)} % of {size(transfer.size)}, "
                f"{facts(transfer)}"
            )


class _Documents(_Rarely):
    def show(self, label: str, transfer: Transfer) -> None:
        if transfer.settled or self.is_due(label):
            self.out.document(transfer.document)


class _Nothing:
    def show(self, label: str, transfer: Transfer) -> None:
        pass
