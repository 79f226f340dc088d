"""Every table of the database has a decision about what an erasure takes from it, and what is said is done."""

import re
from pathlib import Path

import gridledger
from gridledger.metering.erasure import ERASED_KINDS
from gridledger.store.erasures import _kinds
from gridledger.store.schema import metadata

DECISIONS = Path(gridledger.__file__).parents[2] / "docs" / "privacy.md"
_LINE = re.compile(r"^\| `(\w+)` \| ([^|]+) \|")
ACCOUNT = "0x" + "12" * 20


def decisions() -> dict[str, str]:
    """What is erased, by table."""
    section = DECISIONS.read_text().partition("### Table by table")[2].partition("###")[0]
    found = [(match[1], match[2]) for line in section.splitlines() if (match := _LINE.match(line))]
    assert len(found) == len(dict(found)), "a table is listed twice"
    return dict(found)


def test_every_table_is_decided_about() -> None:
    assert decisions().keys() == metadata.tables.keys()


def test_what_is_said_to_be_erased_is_erased() -> None:
    erased = {kind.table.name for kind in _kinds(ACCOUNT).values()}
    assert {table for table, what in decisions().items() if what != "nothing"} == erased
    assert tuple(_kinds(ACCOUNT)) == ERASED_KINDS


def test_emptied_columns_may_be_empty() -> None:
    for kind in _kinds(ACCOUNT).values():
        assert all(kind.table.c[column].nullable for column in kind.emptied)
