"""Every expected error names itself, carries its failing values and says what kind of failure it is."""

import importlib
import pkgutil
from dataclasses import dataclass, fields, is_dataclass

import pytest

import gridledger
from gridledger.errors import (
    Conflict,
    Forbidden,
    GridLedgerError,
    InvalidInput,
    NotFound,
    Unauthenticated,
    Unavailable,
)

ROOMS = (
    "market",
    "dispatch",
    "metering",
    "carbon",
    "chain",
    "store",
    "webhooks",
    "api",
    "mqtt",
    "simulation",
    "audit",
    "cli",
    "app",
)
CATEGORIES = {
    InvalidInput: "invalid",
    Unauthenticated: "unauthenticated",
    Forbidden: "forbidden",
    NotFound: "missing",
    Conflict: "conflict",
    Unavailable: "unavailable",
}


@dataclass(kw_only=True, eq=False)
class LampBroken(Conflict):
    """The lamp is broken.

    More about lamps.
    """

    lamp: int
    reason: str


@dataclass(kw_only=True, eq=False)
class P256KeyLost(NotFound):
    """The key is lost."""


def every_error() -> list[type[GridLedgerError]]:
    for room in ROOMS:
        package = importlib.import_module(f"gridledger.{room}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found: list[type[GridLedgerError]] = []
    waiting: list[type[GridLedgerError]] = list(GridLedgerError.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind not in CATEGORIES and kind.__module__.startswith(gridledger.__name__):
            found.append(kind)
    return found


def test_an_error_says_its_title_and_its_failing_values() -> None:
    error = LampBroken(lamp=7, reason="dropped")
    assert error.values() == {"lamp": 7, "reason": "dropped"}
    assert str(error) == "The lamp is broken (lamp=7, reason='dropped')"
    assert error.args == (str(error),)


def test_an_error_without_values_is_its_title() -> None:
    assert str(P256KeyLost()) == "The key is lost"


def test_the_code_is_the_name_in_lower_case_with_hyphens() -> None:
    assert LampBroken.code() == "lamp-broken"
    assert P256KeyLost.code() == "p256-key-lost"


@pytest.mark.parametrize(("kind", "category"), CATEGORIES.items(), ids=lambda value: getattr(value, "__name__", value))
def test_each_kind_of_failure_has_its_category(kind: type[GridLedgerError], category: str) -> None:
    assert kind.category == category


def test_an_error_without_a_kind_is_an_internal_one() -> None:
    assert GridLedgerError.category == "internal"


def test_every_error_of_the_node_is_a_keyword_only_dataclass_with_a_title_and_a_category() -> None:
    for kind in every_error():
        assert is_dataclass(kind), kind
        assert all(field.kw_only for field in fields(kind)), kind
        assert kind.title(), kind
        assert not kind.title().startswith(f"{kind.__name__}("), f"{kind} has no docstring of its own"
        assert kind.category in CATEGORIES.values(), kind


def test_no_two_errors_of_the_node_share_a_code() -> None:
    """A problem's type must tell what happened without knowing which room said so."""
    kinds: dict[str, set[type[GridLedgerError]]] = {}
    for kind in every_error():
        kinds.setdefault(kind.code(), set()).add(kind)
    assert {code: kind for code, kind in kinds.items() if len(kind) > 1} == {}


def test_two_errors_with_the_same_values_are_still_two_errors() -> None:
    assert LampBroken(lamp=1, reason="x") != LampBroken(lamp=1, reason="x")
