"""The demo's closing words for a newcomer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gridledger.units import eur_text, kg_text, kwh_text

__all__ = ["print_summary"]


def print_summary(console: Console, result: Mapping[str, Any], data: Path) -> None:
    """Print what happened in a run and where to look next."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    rows = (
        ("meters", f"{result['meters']}"),
        ("quarter-hours played", f"{result['mtus']}, {result['settled_mtus']} of {result['cleared_mtus']} settled"),
        ("signed orders", f"{result['orders']:,}"),
        ("energy traded locally", f"{kwh_text(result['traded_wh'])} in {result['trades']:,} trades"),
        ("paid between neighbours", eur_text(result["trade_value_microcents"])),
        ("CO2 avoided, as tokens", f"{kg_text(result['tokens_minted_ugco2'])} (1 token = 1 kg)"),
        (
            "dispatch answers",
            f"{result['dispatch_acknowledged']} acknowledged, {result['dispatch_curtailed']} curtailed",
        ),
        ("sum of all cash movements", f"{result['cash_sum_microcents']} microcents"),
        ("audit", "ok, recomputed from chain and export" if result["audit_ok"] else "FAILED"),
        ("time", f"{result['wall_s']:.0f} s"),
    )
    for label, value in rows:
        table.add_row(label, value)
    console.print(table)
    console.print("Where to look next:")
    for line in (
        f"gridledger audit --export {data}/export        re-derive everything yourself",
        f"gridledger serve --data {data} --simulated-clock    the API of this run (docs at /docs)",
        f"gridledger network up --data {data}            its chain, for any Ethereum tool",
    ):
        console.print(f"  {line}", soft_wrap=True)
