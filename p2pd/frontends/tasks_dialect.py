"""The task API's dialect, shared by its families of operations.

JSON objects with a `status`: "success", or "error" and what was wrong as `errmsg`.  What came of
a request is told at HTTP 200, as the API's clients expect; a real status tells that it did not
get as far (no such path, a method that it does not take, no credential, a body that cannot be
read).  The oldest client parses bodies itself and must not find them parsed: it names text/plain
in its Accept header, and so gets it.
"""

from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any

from p2pd.errors import NotFound, Refusal
from p2pd.frontends import json_text
from p2pd.frontends.forms import Form
from p2pd.frontends.kit import TEXT, Api, Reply


def success(**fields: Any) -> Reply:
    """Return {"status": "success", **fields}."""
    return _reply(HTTPStatus.OK, {"status": "success", **fields})


def failure(errmsg: str) -> Reply:
    """Return {"status": "error", "errmsg": ...} at 200: the request came to nothing."""
    return error(HTTPStatus.OK, errmsg)


def error(status: HTTPStatus, reason: str) -> Reply:
    """Return {"status": "error", "errmsg": ...} at a status: the dialect of errors."""
    return _reply(status, {"status": "error", "errmsg": reason})


async def told(verb: Awaitable[object], **fields: Any) -> Reply:
    """Return what became of a verb of the domain, with `fields` if it was done.

    What `make_api` has words for is raised.
    """
    try:
        await verb
    except NotFound:
        raise
    except Refusal as refusal:
        return failure(refusal.reason)
    return success(**fields)


def make_api(prefix: str) -> Api:
    """Return a table for routes that speak this dialect."""
    return Api(error, prefix, words={NotFound: (HTTPStatus.OK, "Task does not exist")})


def section(form: Form, name: str) -> Form:
    """Return the fields of a JSON object in a body, or those that a form has as `name[field]`.

    None, if what is there is something else.
    """
    inside = form.get(name)
    if isinstance(inside, dict):
        return Form({field: [value] for field, value in inside.items() if value is not None})
    start, end = f"{name}[", "]"
    return Form(
        {
            field.removeprefix(start).removesuffix(end): form.all(field)
            for field in form
            if field.startswith(start) and field.endswith(end)
        }
    )


def _reply(status: HTTPStatus, document: dict[str, Any]) -> Reply:
    return Reply(json_text.write(document), status=status, alternative=TEXT)
