"""The few ways in which p2pd refuses a request; each frontend maps them to its own dialect."""


class Refusal(Exception):  # noqa: N818 - the words of the domain: a request is refused
    """A request that p2pd will not carry out; its text tells the user why and what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Invalid(Refusal):
    """The request, or something it carries, is malformed."""


class NotFound(Refusal):
    """What the request names does not exist here."""


class Conflict(Refusal):
    """The request contradicts the present state."""


class Denied(Refusal):
    """The sender may not ask for this."""


class Unavailable(Refusal):
    """It cannot be done now; trying again later may help."""


class Busy(Unavailable):
    """Nothing is wrong, but too many want it at once; others may be free."""
