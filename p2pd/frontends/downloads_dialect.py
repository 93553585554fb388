"""The downloads API's dialect, shared by its families of operations: Tribler's of version 7.

Bodies are forms whatever their Content-Type, or JSON objects; replies are JSON, and a reply with
a member `error` is a failure to every client of this API.
"""

from http import HTTPStatus
from typing import Any

from p2pd.errors import Invalid, NotFound, Refusal
from p2pd.frontends import json_text
from p2pd.frontends.control import Control
from p2pd.frontends.kit import BROKEN, JSON_BODY, Api, Reply
from p2pd.node.job import Job

UNKNOWN = "this download does not exist"


def error(status: HTTPStatus, reason: str) -> Reply:
    """Return {error: reason}: the dialect of errors."""
    return Reply(json_text.write({"error": reason}), status=status)


def failure(reason: str, code: str, *, handled: bool) -> Reply:
    """Return the form that this API has for what failed while it was being done."""
    told = {"handled": handled, "code": code, "message": reason}
    return Reply(json_text.write({"error": told}), status=HTTPStatus.INTERNAL_SERVER_ERROR)


def failed(refusal: Refusal) -> Reply:
    """Return the reply to what was well asked for and could not be done."""
    return failure(refusal.reason, type(refusal).__name__, handled=True)


def make_api(prefix: str, *, max_body: int = JSON_BODY) -> Api:
    """Return a table for routes that speak this dialect."""
    return Api(error, prefix, broken=_broken, max_body=max_body)


def _broken(raised: Exception) -> Reply:
    return failure(BROKEN, type(raised).__name__, handled=False)


def say(**fields: Any) -> Reply:
    """Return {**fields} at 200."""
    return Reply(json_text.write(fields))


def find(control: Control, infohash: str) -> Job:
    """Return a download by what names it; raise `NotFound` in the words of the document."""
    try:
        return control.downloads.find(infohash)
    except (NotFound, Invalid):
        raise NotFound(UNKNOWN) from None
