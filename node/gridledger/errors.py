"""Typed errors: every expected failure is a dataclass that carries its failing values.

The five categories say what kind of failure it is; only the HTTP edge turns a category into a status code.
"""

import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar

__all__ = ["Conflict", "Forbidden", "GridLedgerError", "InvalidInput", "NotFound", "Unauthenticated", "Unavailable"]


@dataclass(kw_only=True, eq=False)
class GridLedgerError(Exception):
    """Base of every expected error. Subclasses are keyword-only dataclasses; their docstring is the title."""

    category: ClassVar[str] = "internal"

    def __post_init__(self) -> None:
        super().__init__(str(self))

    @classmethod
    def code(cls) -> str:
        """Stable machine-readable name, e.g. ``gate-closed`` for ``GateClosed``."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def title(cls) -> str:
        """First line of the class docstring, without its final period."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")

    def __reduce__(self) -> tuple[Any, ...]:
        """For errors that travel from one process of the node to another."""
        return _again, (type(self), self.values())

    def values(self) -> dict[str, object]:
        """The failing values by field name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.values().items())
        return f"{self.title()} ({values})" if values else self.title()


def _again(kind: type[GridLedgerError], values: dict[str, object]) -> GridLedgerError:
    return kind(**values)


class InvalidInput(GridLedgerError):
    """The input is malformed or out of range."""

    category = "invalid"


class Unauthenticated(GridLedgerError):
    """The caller has not shown who it is."""

    category = "unauthenticated"


class Forbidden(GridLedgerError):
    """The caller may not do this."""

    category = "forbidden"


class NotFound(GridLedgerError):
    """The thing asked for does not exist."""

    category = "missing"


class Conflict(GridLedgerError):
    """The request contradicts the present state."""

    category = "conflict"


class Unavailable(GridLedgerError):
    """Something this process depends on is absent or broken."""

    category = "unavailable"
