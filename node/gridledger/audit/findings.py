"""Collects what the rules find; a rule never stops at its first mismatch."""

from collections import Counter

from gridledger.audit.hints import HINTS
from gridledger.audit.model import AuditReport, Mismatch, Notice, Rule

__all__ = ["Findings"]

_LONGEST_VALUE = 300


class Findings:
    """Mismatches and counts of one audit."""

    def __init__(self) -> None:
        self._mismatches: list[Mismatch] = []
        self._notices: list[Notice] = []
        self._checked: Counter[Rule] = Counter()

    def compare(self, rule: Rule, record: str, expected: object, found: object) -> bool:
        """Count one check; keep a mismatch if the two differ. Returns whether they agree."""
        self._checked[rule] += 1
        if expected == found:
            return True
        self.report(rule, record, expected, found)
        return False

    def count(self, rule: Rule, number: int = 1) -> None:
        """Count checks whose agreement was seen elsewhere."""
        self._checked[rule] += number

    def report(self, rule: Rule, record: str, expected: object, found: object) -> None:
        """Keep a mismatch."""
        self._mismatches.append(
            Mismatch(rule=rule, record=record, expected=_text(expected), found=_text(found), hint=HINTS[rule])
        )

    def note(self, record: str, text: str) -> None:
        """Keep what is no mismatch but worth knowing."""
        self._notices.append(Notice(record=record, text=text))

    def conclude(self, totals: dict[str, int]) -> AuditReport:
        """The report."""
        return AuditReport(
            ok=not self._mismatches,
            mismatches=tuple(self._mismatches),
            notices=tuple(self._notices),
            checked={rule.value: self._checked[rule] for rule in Rule},
            totals=totals,
        )


def _text(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
