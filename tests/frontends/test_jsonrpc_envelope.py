"""JSON-RPC 2.0, whatever the methods are: calls, batches, notifications and errors of protocol."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from p2pd.frontends.jsonrpc_envelope import RpcError, answer

RESULT = {"jsonrpc": "2.0", "id": 1, "result": ["echo", [1, 2]]}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "echo", "params": [1, 2]}


async def perform(method, params):
    if method == "echo":
        return [method, params]
    if method == "fail":
        raise RpcError(-3, "no", {"pos": 4})
    if method == "break":
        raise ZeroDivisionError
    raise RpcError(-32601, "Method not found")


def say(body):
    """What is answered to a body; None is nothing."""
    clock = Clock()
    answers = []
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    Deferred.fromCoroutine(answer(body, perform, clock)).addCallback(answers.append)
    while not answers:
        clock.advance(0)
    return json.loads(answers[0]) if answers[0] else None


def error_of(body):
    answered = say(body)
    assert answered.keys() == {"jsonrpc", "id", "error"}
    assert answered["jsonrpc"] == "2.0"
    assert answered["error"].keys() == {"code", "message", "data"}
    return answered["id"], answered["error"]["code"]


def test_a_call_is_answered():
    assert say(CALL) == RESULT


@pytest.mark.parametrize("id_", [0, -7, 1.5, "", "a", 2**70, None])
def test_an_id_of_every_kind_comes_back(id_):
    assert say(CALL | {"id": id_}) == RESULT | {"id": id_}


@pytest.mark.parametrize("id_", [True, [], {}, [1]])
def test_what_cannot_be_an_id_is_refused(id_):
    assert error_of(CALL | {"id": id_}) == (None, -32600)


@pytest.mark.parametrize("params", [None, [], {}, {"a": 1}])
def test_params_are_optional(params):
    assert say(CALL | {"params": params})["result"] == ["echo", params]
    assert say({"jsonrpc": "2.0", "id": 1, "method": "echo"})["result"] == ["echo", None]


@pytest.mark.parametrize("params", [1, "a", True])
def test_params_are_an_object_or_an_array(params):
    assert error_of(CALL | {"params": params}) == (1, -32600)


def test_a_notification_is_performed_and_not_answered():
    assert say({"jsonrpc": "2.0", "method": "echo"}) is None
    assert say({"jsonrpc": "2.0", "method": "nothing"}) is None


def test_a_call_of_before_version_2_is_answered_without_an_id():
    assert say({"method": "echo"}) == {"jsonrpc": "2.0", "id": None, "result": ["echo", None]}


@pytest.mark.parametrize("version", ["1.0", 2.0, None])
def test_another_version_is_refused(version):
    assert error_of(CALL | {"jsonrpc": version}) == (1, -32600)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b'{"id": NaN}', -32700),
        (b'{"id": 1e999}', -32700),
        (b"[" * 100_000, -32700),
        (b"1", -32600),
        (b"[]", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc": "2.0", "method": 1}', -32600),
        (b"[" * 100 + b"]" * 100, -32600),
        (json.dumps([CALL] * 101).encode(), -32600),
    ],
)
def test_what_is_no_call_is_refused_as_a_whole(body, code):
    assert error_of(body) == (None, code)


def test_errors_of_methods_keep_their_code_and_data():
    assert say(CALL | {"method": "fail"}) == {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {"code": -3, "message": "no", "data": {"pos": 4}},
    }
    assert error_of(CALL | {"method": "unheard"}) == (1, -32601)


def test_a_bug_is_told_as_such(logged_errors):
    assert error_of(CALL | {"method": "break"}) == (1, -32603)
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


def test_a_batch_is_answered_in_its_order_without_its_notifications():
    batch = [CALL, {"jsonrpc": "2.0", "method": "echo"}, 7, CALL | {"id": "x", "method": "fail"}]
    first, second, third = say(batch)
    assert first == RESULT
    assert (second["id"], second["error"]["code"]) == (None, -32600)
    assert (third["id"], third["error"]["code"]) == ("x", -3)


def test_a_batch_of_notifications_is_not_answered():
    assert say([{"jsonrpc": "2.0", "method": "echo"}] * 3) is None


def test_others_have_their_turn_between_the_calls_of_a_batch():
    clock = Clock()
    done = []
    Deferred.fromCoroutine(answer(json.dumps([CALL, CALL]).encode(), perform, clock)).addCallback(
        done.append
    )
    assert clock.getDelayedCalls()
    assert not done
    clock.pump([0, 0])
    assert done


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", None]) | VALUES,
        "id": VALUES,
        "method": st.sampled_from(["echo", "fail", "unheard"]) | VALUES,
        "params": VALUES,
    },
)


def check_answer(one):
    assert one["jsonrpc"] == "2.0"
    assert one["id"] is None or type(one["id"]) in {int, float, str}
    assert one.keys() in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})


@given(CALLS | st.lists(CALLS | VALUES, max_size=5) | VALUES)
def test_any_json_gets_a_well_formed_answer_or_none(document):
    answered = say(document)
    if isinstance(answered, list):
        assert isinstance(document, list)
        assert 1 <= len(answered) <= len(document)
        for one in answered:
            check_answer(one)
    elif answered is not None:
        check_answer(answered)


@given(st.binary(max_size=50))
def test_any_bytes_get_a_well_formed_answer_or_none(body):
    answered = say(body)
    for one in answered if isinstance(answered, list) else [answered] if answered else []:
        check_answer(one)
