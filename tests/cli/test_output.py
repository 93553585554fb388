import io
import json

import pytest

from p2pd.cli.output import Output, duration, percent, printable, rate, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ümläut 文件.bin", "plain ümläut 文件.bin"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("two\nlines\ttab\r", "two\\nlines\\ttab\\r"),
        ("\x9b31m C1", "\\x9b31m C1"),
        ("exe\u202egpj.txt", "exe\\u202egpj.txt"),
        ("\ud800", "\\ud800"),
    ],
)
def test_nothing_that_controls_a_terminal_is_printable(text, shown):
    assert printable(text) == shown


def test_units():
    assert size(134_217_728) == "134.2 MB"
    assert rate(1500.9) == "1.5 kB/s"
    assert percent(0.9999) == "99.9"
    assert percent(1.0) == "100.0"
    assert duration(61.2) == "0:01:01"
    assert duration(1e300) == duration(1e12)


def test_json_mode_prints_documents_only():
    stdout, stderr = io.StringIO(), io.StringIO()
    out = Output(stdout, stderr, as_json=True)
    out.say("for people")
    out.document({"name": "\x1b[0m ü"})
    out.complain("wrong\nvery")
    assert stdout.getvalue().count("\n") == 1
    assert json.loads(stdout.getvalue()) == {"name": "\x1b[0m ü"}
    assert stderr.getvalue() == "p2pd: wrong\\nvery\n"


def test_rows_keep_their_columns():
    stdout = io.StringIO()
    Output(stdout, io.StringIO()).row(["a\tb", 1, ""])
    assert stdout.getvalue() == "a\\tb\t1\t\n"
