"""Measurements as ratios against a limit: one flat object, name -> value, unit, limit, ratio."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gridledger.app.bench_auction import measure_auction
from gridledger.app.bench_gas import measure_gas
from gridledger.app.bench_intake import measure_intake
from gridledger.app.bench_metering import measure_metering_gas
from gridledger.app.bench_readings import measure_readings, measure_tree_s
from gridledger.errors import InvalidInput

__all__ = ["BenchUnknown", "run_bench"]

GAS_ANCHOR_LIMIT, GAS_PROOF_LIMIT, GAS_DISPUTE_LIMIT = 35_000, 45_000, 80_000
GAS_CLEARING_LIMIT, GAS_LIFECYCLE_LIMIT = 30_000, 60_000  # gas per trade at 100 trades
INTAKE_SHARE = 0.15  # of the single-thread signature-recovery rate of the same run
READING_SHARE = 0.5  # of the single-thread P-256 verification rate of the same run
TREE_100K_LIMIT_S = 0.5
AUCTION_PER_SORT_LIMIT, AUCTION_1M_LIMIT_S = 30, 5.0


@dataclass(kw_only=True, eq=False)
class BenchUnknown(InvalidInput):
    """There is no benchmark of that name."""

    name: str
    known: str


def run_bench(only: str | None) -> dict[str, dict[str, Any]]:
    """Run all benchmarks, a group, or one by name. Raises BenchUnknown, BenchFailed."""
    groups: dict[str, tuple[tuple[str, ...], Callable[[], dict[str, dict[str, Any]]]]] = {
        "auction": (("auction_10k_vs_sort", "auction_1m_s"), _auction),
        "gas": (("gas_clearing_per_trade_100", "gas_lifecycle_per_trade_100", "gas_plain_per_trade"), _gas),
        "metering": (("gas_anchor_10k", "gas_proof", "gas_dispute"), _metering_gas),
        "intake": (("order_intake_vs_recover",), _intake),
        "readings": (("readings_vs_p256",), _readings),
        "tree": (("tree_100k_s",), _tree),
    }
    results: dict[str, dict[str, Any]] = {}
    for group, (names, measure) in groups.items():
        if only is None or only == group or only in names:
            measured = measure()
            results |= {name: measured[name] for name in names if only in (None, group, name)}
    if not results:
        known = sorted({*groups, *(name for names, _ in groups.values() for name in names)})
        raise BenchUnknown(name=str(only), known=", ".join(known))
    return results


def _auction() -> dict[str, dict[str, Any]]:
    auction = measure_auction()
    return {
        "auction_10k_vs_sort": _entry(auction.auction_10k_s, "s", AUCTION_PER_SORT_LIMIT * auction.sort_10k_s),
        "auction_1m_s": _entry(auction.auction_1m_s, "s", AUCTION_1M_LIMIT_S),
    }


def _gas() -> dict[str, dict[str, Any]]:
    gas = measure_gas()
    return {
        "gas_clearing_per_trade_100": _entry(gas.clearing, "gas per trade", GAS_CLEARING_LIMIT),
        "gas_lifecycle_per_trade_100": _entry(gas.lifecycle, "gas per trade", GAS_LIFECYCLE_LIMIT),
        "gas_plain_per_trade": _entry(gas.plain, "gas per trade", gas.lifecycle),
    }


def _metering_gas() -> dict[str, dict[str, Any]]:
    gas = measure_metering_gas()
    return {
        "gas_anchor_10k": _entry(gas.anchor, "gas", GAS_ANCHOR_LIMIT),
        "gas_proof": _entry(gas.proof, "gas", GAS_PROOF_LIMIT),
        "gas_dispute": _entry(gas.dispute_per_text, "gas per signed text", GAS_DISPUTE_LIMIT),
    }


def _intake() -> dict[str, dict[str, Any]]:
    """The limit is the least rate: a ratio above one is good here."""
    rates = measure_intake()
    return {"order_intake_vs_recover": _entry(rates.accepted_per_s, "orders/s", INTAKE_SHARE * rates.recovered_per_s)}


def _readings() -> dict[str, dict[str, Any]]:
    """The limit is the least rate, as of orders."""
    rates = measure_readings()
    return {"readings_vs_p256": _entry(rates.accepted_per_s, "readings/s", READING_SHARE * rates.verified_per_s)}


def _tree() -> dict[str, dict[str, Any]]:
    return {"tree_100k_s": _entry(measure_tree_s(), "s", TREE_100K_LIMIT_S)}


def _entry(value: float, unit: str, limit: float) -> dict[str, Any]:
    return {"value": round(value, 6), "unit": unit, "limit": round(limit, 6), "ratio": round(value / limit, 3)}
