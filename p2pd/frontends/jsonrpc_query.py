"""The language in which `torrents.list` is asked for some torrents: `is:seeding and ratio > 2`.

A query is comparisons of a field with a value, by ``=``, ``<``, ``<=``, ``>``, ``>=`` and
``contains``, and flags (``is:paused``), joined with ``and``, ``or``, ``not`` and parentheses;
``and`` binds closer.  Numbers may have a unit: s m h d w, b kb mb gb tb pb, bps kbps mbps gbps,
each 1024 of the one before.  Text stands in double quotes.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from p2pd.frontends.jsonrpc_envelope import RpcError

BAD_QUERY = -1000

_LONGEST = 4096
_DEEPEST = 50
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"[^"]*")
      | (?P<number>-?\d{1,18}(?:\.\d{1,18})?)(?:\s*(?P<unit>[smhdw]|[kmgtp]?b|[kmg]?bps))?\b
      | (?P<flag>is:[A-Za-z_]*)
      | (?P<word>[A-Za-z_]+)
      | (?P<sign><=|>=|[=<>()])
    )""",
    re.VERBOSE,
)
_UNITS = {
    **dict(zip("smhdw", (1, 60, 3600, 86400, 604800), strict=True)),
    **{unit: 1024**power for power, unit in enumerate(("b", "kb", "mb", "gb", "tb", "pb"))},
    **{unit: 1024**power for power, unit in enumerate(("bps", "kbps", "mbps", "gbps"))},
}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "contains": operator.contains,
}
_COMPARABLE = {
    "number": _COMPARISONS.keys() - {"contains"},
    "text": _COMPARISONS.keys(),
    "list": {"contains"},
}
_JOINTS = frozenset({"and", "or", "not"})

_T = TypeVar("_T")
_Test = Callable[[_T], bool]


@dataclass(frozen=True)
class Vocabulary(Generic[_T]):
    """What queries can ask of a thing; `lists` are fields that only `contains` goes with."""

    numbers: Mapping[str, Callable[[_T], float]]
    texts: Mapping[str, Callable[[_T], str]]
    lists: Mapping[str, Callable[[_T], tuple[str, ...]]]
    flags: Mapping[str, Callable[[_T], bool]]

    def parse(self, query: str) -> Callable[[_T], bool]:
        """Return the test that a query is; raise RpcError, with the position in its data."""
        return _Parser(self, query).parse()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int
    value: Any = None


class _Parser(Generic[_T]):
    def __init__(self, vocabulary: Vocabulary[_T], query: str) -> None:
        if len(query) > _LONGEST:
            raise _wrong(f"a query has at most {_LONGEST} characters", _LONGEST)
        self._vocabulary = vocabulary
        self._tokens = _tokens(query)
        self._at = 0
        self._depth = 0

    def parse(self) -> _Test[_T]:
        test = self._any()
        if self._next.kind != "end":
            raise _wrong(f"Syntax error: unexpected {self._next.text!r}", self._next.at)
        return test

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _took(self, text: str) -> bool:
        if self._next.kind in ("word", "sign") and self._next.text.lower() == text:
            self._take()
            return True
        return False

    def _any(self) -> _Test[_T]:
        tests = [self._all()]
        while self._took("or"):
            tests.append(self._all())
        return lambda one: any(test(one) for test in tests)

    def _all(self) -> _Test[_T]:
        tests = [self._single()]
        while self._took("and"):
            tests.append(self._single())
        return lambda one: all(test(one) for test in tests)

    def _single(self) -> _Test[_T]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _wrong("Syntax error: nested too deeply", self._next.at)
        try:
            if self._took("not"):
                test = self._single()
                return lambda one: not test(one)
            if self._took("("):
                return self._inner()
            return self._flag() if self._next.kind == "flag" else self._comparison()
        finally:
            self._depth -= 1

    def _inner(self) -> _Test[_T]:
        test = self._any()
        if not self._took(")"):
            raise _wrong("Syntax error: a parenthesis is not closed", self._next.at)
        return test

    def _flag(self) -> _Test[_T]:
        token = self._take()
        name = token.text.removeprefix("is:")
        if name not in self._vocabulary.flags:
            known = ", ".join(self._vocabulary.flags)
            raise _wrong(f"Invalid flag {name!r}: the flags are {known}", token.at)
        return self._vocabulary.flags[name]

    def _comparison(self) -> _Test[_T]:
        field = self._take()
        if field.kind != "word" or field.text.lower() in _JOINTS:
            raise _wrong(f"Syntax error: a field is expected, not {field.text!r}", field.at)
        kind, get = self._lookup(field)
        sign = self._take()
        compare = _COMPARISONS.get(sign.text.lower())
        if compare is None:
            raise _wrong(f"Syntax error: an operator is expected, not {sign.text!r}", sign.at)
        if sign.text.lower() not in _COMPARABLE[kind]:
            raise _wrong(f"Invalid operator {sign.text} for {field.text}", sign.at)
        wanted = self._take()
        if wanted.kind != ("number" if kind == "number" else "text"):
            raise _wrong(f"Invalid value type for {field.text}, a {kind}", wanted.at)
        return lambda one: compare(get(one), wanted.value)

    def _lookup(self, field: _Token) -> tuple[str, Callable[[_T], Any]]:
        vocabulary = self._vocabulary
        kinds: list[tuple[str, Mapping[str, Callable[[_T], Any]]]] = [
            ("number", vocabulary.numbers),
            ("text", vocabulary.texts),
            ("list", vocabulary.lists),
        ]
        for kind, fields in kinds:
            if field.text in fields:
                return kind, fields[field.text]
        known = ", ".join(sorted(name for _, fields in kinds for name in fields))
        raise _wrong(f"Invalid reference {field.text!r}: the fields are {known}", field.at)


def _tokens(query: str) -> list[_Token]:
    tokens = []
    at = 0
    end = len(query.rstrip())
    while at < end:
        found = _TOKEN.match(query, at, end)
        if found is None or found.lastgroup is None:
            at += len(query[at:]) - len(query[at:].lstrip())
            raise _wrong(f"Syntax error: unexpected {query[at]!r}", at)
        tokens.append(_token(found))
        at = found.end()
    return [*tokens, _Token("end", "the end", len(query))]


def _token(found: re.Match[str]) -> _Token:
    for kind in ("text", "number", "flag", "word", "sign"):
        if found[kind] is not None:
            break
    at, text = found.start(kind), found[kind]
    if kind == "text":
        return _Token(kind, text, at, text[1:-1])
    if kind == "number":
        return _Token(kind, text, at, float(text) * _UNITS[found["unit"] or "b"])
    return _Token(kind, text, at)


def _wrong(message: str, at: int) -> RpcError:
    return RpcError(BAD_QUERY, message, {"pos": at})
