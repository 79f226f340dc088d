"""Compare slither's findings in contracts/src with the exceptions in contracts/slither.md.

Every finding without an exception is printed, and so is every exception nothing needs any more; both fail. Findings
that lie in other people's packages alone are left out.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

SOURCES = Path("contracts/src").resolve()

# `restricted()` or `_keep(a,b)`: slither lists such a step beside the external call inside it.
INTERNAL_CALL = re.compile(r"\w+\([^.]*\)")


@dataclass(frozen=True)
class Exemption:
    """A row of the table: patterns of detector and Contract.function, and a part of the code; empty means any."""

    detector: str
    where: str
    code: str

    def covers(self, place: "Exemption") -> bool:
        """Whether the row speaks of this place."""
        fits = fnmatchcase(place.detector, self.detector) and fnmatchcase(place.where, self.where)
        return fits and self.code in place.code

    def __str__(self) -> str:
        return f"{self.detector} at {self.where}" + (f": {self.code}" if self.code else "")


def read_exemptions(path: Path) -> list[Exemption]:
    """Return the rows of the table whose first cell is code, each with a reason."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `"):
            continue
        detector, where, code, why = (cell.strip() for cell in line.strip("|").split("|"))
        if not why:
            sys.exit(f"{path}: no reason given: {line}")
        rows.append(Exemption(detector.strip("`"), where.strip("`"), code.strip("`")))
    return rows


def own_findings(report: Path) -> list[dict[str, Any]]:
    """Return the findings of which some part lies in our sources."""
    answer = json.loads(report.read_text(encoding="utf-8"))
    if not answer["success"]:
        sys.exit(f"slither failed: {answer['error']}")
    return [one for one in answer["results"].get("detectors", []) if any(is_own(part) for part in one["elements"])]


def is_own(part: dict[str, Any]) -> bool:
    return Path(part["source_mapping"]["filename_absolute"]).resolve().is_relative_to(SOURCES)


def name_of(part: dict[str, Any]) -> str:
    """Return Contract.function, Contract.variable or the contract."""
    names = []
    while part and part["type"] in {"contract", "function", "variable", "struct", "event"}:
        names.append(part["name"])
        part = part.get("type_specific_fields", {}).get("parent")
    return ".".join(reversed(names))


def places_of(finding: dict[str, Any]) -> Iterator[Exemption]:
    """Yield what must be excepted: each piece of code named; of a reentrancy finding each external call."""
    first, *others = finding["elements"]
    where = name_of(first)
    codes = sorted({one["name"] for one in others if one["type"] == "node"})
    if finding["check"].startswith("reentrancy"):
        kinds = [(one["name"], one.get("additional_fields", {}).get("underlying_type", "")) for one in others]
        calls = {name for name, kind in kinds if kind.startswith("external_calls")}
        codes = sorted(call for call in calls if not INTERNAL_CALL.fullmatch(call))
    for code in codes or [""]:
        yield Exemption(finding["check"], where, code)


def main(report: str, table: str) -> None:
    """Print what is not settled and exit with 1, or say how many findings are excepted."""
    exemptions = read_exemptions(Path(table))
    findings = own_findings(Path(report))
    needed: set[Exemption] = set()
    open_count = 0
    for finding in findings:
        left = []
        for place in places_of(finding):
            rows = [row for row in exemptions if row.covers(place)]
            needed.update(rows)
            if not rows:
                left.append(place)
        if left:
            open_count += 1
            print(f"{finding['impact']}: " + "; ".join(map(str, left)) + f"\n{finding['description']}")
    stale = [row for row in exemptions if row not in needed]
    for row in stale:
        print(f"{table}: nothing needs the exception {row}")
    for name, count in sorted(Counter(finding["check"] for finding in findings).items()):
        print(f"{count:4} {name}")
    print(f"{len(findings)} findings in {SOURCES.parent.name}, {open_count} without an exception")
    sys.exit(1 if open_count or stale else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
