"""Fields of bodies: JSON or a form, told apart by the body alone, and bounded."""

import json

import pytest

from p2pd.errors import Invalid
from p2pd.frontends import forms
from p2pd.frontends.forms import LONGEST_FORM, MOST_FIELDS, parse
from p2pd.frontends.json_text import MOST_SEPARATORS
from p2pd.frontends.kit import TooLarge


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"\xef\xbb\xbf"])
def test_an_empty_body_has_no_fields(body):
    form = parse(body)
    assert (len(form), list(form), "uri" in form, form.get("uri")) == (0, [], False, None)


@pytest.mark.parametrize(
    "body",
    [
        b"uri=http%3A%2F%2Fx%2Fa+b&n=1",
        b"n=1&uri=http://x/a%20b",
        b'{"uri": "http://x/a b", "n": 1}',
        b'\xef\xbb\xbf  {"n": "1", "uri": "http://x/a b"}\n',
    ],
)
def test_a_form_and_a_json_object_say_the_same(body):
    form = parse(body)
    assert form.text("uri") == "http://x/a b"
    assert form.whole("n") == 1
    assert set(form) == {"uri", "n"}


def test_text_is_utf8_escaped_or_not():
    assert parse("n=été".encode()).text("n") == "été"
    assert parse(b"n=%C3%A9t%C3%A9").text("n") == "été"
    assert parse('{"n": "été"}'.encode()).text("n") == "été"


@pytest.mark.parametrize("body", [b"n=%E9", b"n=\xe9", b'{"n": "\xe9"}'])
def test_what_is_no_utf8_is_refused(body):
    with pytest.raises(Invalid):
        parse(body)


@pytest.mark.parametrize(
    "body",
    [
        b"f=a&f=b",
        b"f[]=a&f[]=b",
        b"f%5B%5D=a&f%5B%5D=b",
        b"f=a&f[]=b",
        b'{"f": ["a", "b"]}',
        b'{"f[]": ["a", "b"]}',
        b'{"f": "a", "f[]": ["b"]}',
    ],
)
def test_repeated_names_and_brackets_are_one_field(body):
    form = parse(body)
    assert form.texts("f") == ["a", "b"]
    assert form.text("f") == "a"
    assert len(form) == 1


def test_what_is_empty_is_there_and_what_is_null_is_not():
    form = parse(b"a=&b&c=1")
    assert (form.text("a"), form.text("b"), "a" in form, "b" in form) == ("", "", True, True)
    form = parse(b'{"a": [], "b": null}')
    assert ("a" in form, form.all("a"), form.get("a"), "b" in form) == (True, [], None, False)


def test_an_array_is_the_value_of_the_field_that_it_stands_for():
    assert parse(b'["a", "b"]', array="tids").all("tids") == ["a", "b"]
    with pytest.raises(Invalid, match="object or a form"):
        parse(b'["a"]')


@pytest.mark.parametrize(
    "body", [b"{", b'{"a": 1', b"[1", b"{'a': 1}", b'{"a": NaN}', b"[" * 99999]
)
def test_malformed_json_is_refused_not_taken_for_a_form(body):
    with pytest.raises(Invalid):
        parse(body, array="a")


def test_fields_are_counted():
    most = b"&".join([b"f=1"] * MOST_FIELDS)
    assert len(parse(most).all("f")) == MOST_FIELDS
    with pytest.raises(Invalid, match="fields"):
        parse(most + b"&f=1")
    with pytest.raises(Invalid, match="fields"):
        parse(json.dumps({"f": [1] * (MOST_FIELDS + 1)}).encode())
    with pytest.raises(Invalid, match="fields"):
        parse(json.dumps({f"f{number}": [] for number in range(MOST_FIELDS + 1)}).encode())


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("-1", -1), ('"7"', 7), ("2.0", 2), ("9007199254740993", 2**53 + 1)],
)
def test_whole_numbers_come_as_numbers_or_texts(text, number):
    assert parse(b'{"n": %b}' % text.encode()).whole("n") == number
    assert parse(b"n=%b" % text.strip('"').encode()).whole("n") == number


@pytest.mark.parametrize(
    "text", ["x", "1.5", "true", "1e400", "[[1]]", "{}", '"nan"', str(2**63), "9" * 5000, '""']
)
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(Invalid):
        parse(b'{"n": %b}' % text.encode()).whole("n")


def test_numbers_need_not_be_there():
    assert parse(b"").number("n") is None
    assert parse(b"").whole("n") is None
    assert parse(b"n=0.5").number("n") == 0.5


@pytest.mark.parametrize(
    "body", [b'{"t": 5}', b'{"t": {}}', b'{"t": [["a"]]}', b'{"t": "\\ud800"}']
)
def test_what_is_no_text_is_refused(body):
    with pytest.raises(Invalid):
        parse(body).text("t")


def test_a_text_is_bounded():
    with pytest.raises(Invalid, match="too long"):
        parse(b"t=" + b"x" * (forms.LONGEST_TEXT + 1)).text("t")


@pytest.mark.parametrize("body", [b"y=1", b'{"y": true}', b'{"y": 1}', b'{"y": "1"}'])
def test_yes_is_1_or_true(body):
    assert parse(body).says_yes("y")


@pytest.mark.parametrize(
    "body",
    [b"", b"y=", b"y=0", b"y=True", b"y=true", b"y=yes", b"y=2", b'{"y": "true"}', b'{"y": 1.0}',
     b'{"y": [[1]]}', b'{"y": {"y": 1}}', b'{"y": false}', b'{"y": null}'],
)  # fmt: skip
def test_all_else_is_no(body):
    assert not parse(body).says_yes("y")


def test_a_form_that_would_take_seconds_to_unescape_is_refused():
    with pytest.raises(TooLarge):
        parse(b"uri=" + b"%41" * (LONGEST_FORM // 3))


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1", b'""'])
def test_json_that_would_fill_the_memory_is_refused(value):
    with pytest.raises(Invalid, match="too many values"):
        parse(b"[" + b",".join([value] * (MOST_SEPARATORS + 1)) + b"]", array="each")
