"""Fuzzes both twins with heads of announces and scrapes: they must answer and know the same."""

import atheris

from tests.fuzz.fuzzing import fuzz

with atheris.instrument_imports(include=["p2pd"]):
    from tests.twins import answer_alike

POLICIES = ("open", "whitelist", "keys")


def check(content):
    for policy in POLICIES:
        answer_alike("http", content, policy)


if __name__ == "__main__":
    fuzz(check, "http")
