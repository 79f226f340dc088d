"""A book committed after the clearing deadline has no reference price, for the contract takes none any more."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gridledger.audit.books import check_reference_prices
from gridledger.audit.evidence import Evidence
from gridledger.audit.findings import Findings
from gridledger.audit.model import Slot

DEADLINE = 1_000
SLOT = Slot(1, 2_000)
PRICES = SimpleNamespace(feed_in=8_000, retail=32_000, floor=8_000, cap=32_000)


@pytest.mark.parametrize(("committed_at", "expected"), [(DEADLINE - 1, True), (DEADLINE, False)])
def test_a_price_is_missing_only_where_it_could_be_published(committed_at: int, expected: bool) -> None:
    rules = SimpleNamespace(
        prices_at=lambda _: PRICES, policy_at=lambda _: SimpleNamespace(clearing_deadline=lambda _: DEADLINE)
    )
    market = SimpleNamespace(reference=None, book=SimpleNamespace(block_number=0))
    history: Any = SimpleNamespace(rules=rules, markets={SLOT: market}, blocks=[SimpleNamespace(time_s=committed_at)])
    findings = Findings()
    evidence = SimpleNamespace(listed_books={SLOT: ()}, history=history, findings=findings, is_late=lambda _: True)
    check_reference_prices(cast("Evidence", evidence))
    assert findings.conclude({}).ok is not expected
