"""A task of a batch that is refused does not stop the others: its error is its result."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gridledger.errors import GridLedgerError

__all__ = ["attempt"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def attempt(task: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | GridLedgerError:
    """What a task returns, or why it refuses."""
    try:
        return task(*args, **kwargs)
    except GridLedgerError as error:
        return error
