"""What those who may use a daemon may do with it."""

from enum import IntEnum
from typing import Self

from p2pd.errors import Invalid


class Role(IntEnum):
    """Each may do what those before it may."""

    READER = 1
    """Looks."""
    OPERATOR = 2
    """Adds downloads, changes and removes them."""
    ADMIN = 3
    """Changes settings, ends the daemon, says who may use it."""

    @property
    def word(self) -> str:
        """How users write it."""
        return self.name.lower()

    @classmethod
    def read(cls, word: str) -> Self:
        """Return the role that a user wrote; raise Invalid if there is none."""
        for role in cls:
            if role.word == word:
                return role
        words = ", ".join(role.word for role in cls)
        raise Invalid(f"{word!r} is no role: the roles are {words}")
