"""Which parts of a piece's files are read and sent together: small files are, up to a bound."""

from collections.abc import Iterable, Iterator

from p2pd.metainfo.files import Span

# A file up to this length costs more to send by itself than to copy.
_SMALL = 64 * 1024
# What is read together is in memory until it is sent.
_MOST = 1024 * 1024


def is_small(span: Span) -> bool:
    """Whether a span is read into memory: part of a small file, or padding."""
    return span.file.length <= _SMALL or span.file.padding


def runs_of(spans: Iterable[Span], start: int, end: int) -> Iterator[list[Span]]:
    """Put what lies between two places of a piece together, part of a longer file by itself."""
    run: list[Span] = []
    room = 0
    for span in _between(spans, start, end):
        small = is_small(span)
        if not small or span.length > room:
            if run:
                yield run
            run = []
            room = _MOST if small else 0
        run.append(span)
        room -= span.length
    if run:
        yield run


def _between(spans: Iterable[Span], start: int, end: int) -> Iterator[Span]:
    """What of the spans lies there; long padding in parts."""
    for span in spans:
        if span.length <= _SMALL and start <= span.start and span.start + span.length <= end:
            yield span
            continue
        skip = max(start - span.start, 0)
        left = min(span.length, end - span.start) - skip
        most = _SMALL if span.file.padding else left
        while left > 0:
            length = min(left, most)
            yield Span(span.file, span.offset + skip, length, span.start + skip)
            skip, left = skip + length, left - length
