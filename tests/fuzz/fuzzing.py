"""Runs a check on what atheris makes of the corpus, until it fails or the options say enough."""

import sys
from pathlib import Path

import atheris
from twisted.logger import eventAsText, globalLogPublisher

CORPUS = Path(__file__).parents[1] / "frontends/corpus"
_SLOW = 60  # seconds that no input may take, on whatever machine


def fuzz(check, kind):
    """Run `check(content)`, beginning with the files of that kind in the corpus.

    The command's arguments are libFuzzer's. What is logged as a failure is one.
    """
    failures = []

    def observe(event):
        if "log_failure" in event:
            failures.append(eventAsText(event))

    def check_one(content):
        check(content)
        assert not failures, failures[0]

    globalLogPublisher.addObserver(observe)
    seeds = ",".join(map(str, sorted(CORPUS.glob(f"*.{kind}"))))
    words = Path(__file__).with_name(f"{kind}.dict")
    options = [f"-seed_inputs={seeds}", f"-dict={words}", f"-timeout={_SLOW}"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:]], check_one)
    atheris.Fuzz()
