"""Lists as one parameter: a statement for any number of keys stays the same text, and so prepared."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import TableValuedAlias, bindparam, func, select
from sqlalchemy.sql.selectable import Select

__all__ = ["in_list", "list_parameter", "listed"]


def listed(name: str) -> TableValuedAlias:
    """The items of the list given as this parameter, as a table with one column `value`."""
    return func.json_each(bindparam(name)).table_valued("value")


def in_list(name: str) -> Select[Any]:
    """The items of the list given as this parameter, for `column.in_`."""
    return select(listed(name).c.value)


def list_parameter(items: Iterable[Any]) -> str:
    """The value of such a parameter: integers, texts without NUL (SQLite's texts end there), or tuples of them."""
    return json.dumps(list(items))
