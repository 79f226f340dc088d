"""Runs a whole market over real readings: a fresh chain, a node process, a community of clients, then the audit."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from eth_account.signers.local import LocalAccount

from gridledger.app.audit_run import AuditReport, audit
from gridledger.app.export import export_run
from gridledger.app.limit_report import limit_report
from gridledger.app.market_folder import create_market
from gridledger.app.node_process import NodeProcess
from gridledger.app.run_folder import RunFolder, RunIdentity
from gridledger.audit.formats import MANIFEST
from gridledger.chain.keys import ACCOUNT_NAMES, account_from_seed
from gridledger.chain.plan import PolicyParameters
from gridledger.cli.operations import ReplayRequest
from gridledger.cli.output import OnProgress
from gridledger.simulation.inputs import (
    SIMBENCH_DAY_METERS,
    SIMBENCH_DAY_READINGS,
    ReadingsFile,
    inputs_fingerprint,
    load_carbon,
    load_meters,
    load_prices,
    load_readings,
    meter_specs,
)
from gridledger.simulation.player import Played, Player, ReplayPlan, genesis_time_s
from gridledger.units import parse_utc

__all__ = ["run_demo", "run_replay"]

DEMO_SEED = 1


@dataclass(frozen=True, kw_only=True)
class _Finished:
    played: Played
    summary: Mapping[str, Any]
    report: AuditReport
    limits: Mapping[str, Any]


def run_demo(data: Path, on_progress: OnProgress) -> dict[str, Any]:
    """Replay the real day the project carries; the folder keeps the node's data and the export.

    An interrupted day is continued, a finished one is started anew.
    """
    request = ReplayRequest(
        readings=SIMBENCH_DAY_READINGS,
        meters=SIMBENCH_DAY_METERS,
        prices=None,
        carbon=None,
        from_text=None,
        to_text=None,
        seed=DEMO_SEED,
        limit_kw=None,
        data=data,
        export=data / "export",
    )
    return _run(request, data, on_progress, restart_complete=True)


def run_replay(request: ReplayRequest, on_progress: OnProgress) -> dict[str, Any]:
    """Replay files in the given folder, or in one that is removed afterwards. Raises typed errors of every part."""
    with contextlib.ExitStack() as closing:
        data = request.data
        if data is None:
            data = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="gridledger-"))) / "data"
        return _run(request, data, on_progress, restart_complete=False)


def _run(request: ReplayRequest, data: Path, on_progress: OnProgress, *, restart_complete: bool) -> dict[str, Any]:
    started = time.monotonic()
    plan, readings = _plan(request)
    identity = RunIdentity(
        inputs_sha256=_fingerprint(request),
        from_text=request.from_text,
        to_text=request.to_text,
        seed=request.seed,
        limit_kw=request.limit_kw,
    )
    folder = RunFolder(data)
    if folder.claim(identity, restart_complete=restart_complete):
        _remove_own_export(request.export)
    create_market(
        data,
        mtu_length_s=readings.mtu_length_s,
        zones=tuple(sorted({spec.zone for spec in plan.meters})),
        genesis_time_s=genesis_time_s(readings.mtu_starts[0], PolicyParameters().gate_closure_s),
        seed=request.seed,
    )
    finished = _play(plan, data, request, on_progress)
    folder.complete(identity)
    return _result(readings, finished, time.monotonic() - started)


def _remove_own_export(export: Path | None) -> None:
    """A run interrupted after its export was written writes it again."""
    if export is not None and (export / MANIFEST).is_file():
        shutil.rmtree(export)


def _plan(request: ReplayRequest) -> tuple[ReplayPlan, ReadingsFile]:
    readings = load_readings(
        request.readings,
        from_s=None if request.from_text is None else parse_utc("from", request.from_text),
        to_s=None if request.to_text is None else parse_utc("to", request.to_text),
    )
    meters = None if request.meters is None else load_meters(request.meters)
    plan = ReplayPlan(
        readings=readings,
        meters=meter_specs(readings, meters),
        prices=None if request.prices is None else load_prices(request.prices),
        carbon=None if request.carbon is None else load_carbon(request.carbon),
        seed=request.seed,
        limit_kw=request.limit_kw,
        gate_closure_s=PolicyParameters().gate_closure_s,
    )
    return plan, readings


def _fingerprint(request: ReplayRequest) -> str:
    return inputs_fingerprint(
        {
            "readings": request.readings,
            "meters": request.meters,
            "prices": request.prices,
            "carbon": request.carbon,
        }
    )


def _play(plan: ReplayPlan, data: Path, request: ReplayRequest, on_progress: OnProgress) -> _Finished:
    keys: dict[str, LocalAccount] = {name: account_from_seed(request.seed, name) for name in ACCOUNT_NAMES}
    with contextlib.ExitStack() as closing:
        zones = sorted({spec.zone for spec in plan.meters})
        environment = dict(os.environ)
        if plan.limit_kw is not None:
            environment["GRIDLEDGER_ZONE_LIMITS_KW"] = ",".join(f"{zone}={plan.limit_kw}" for zone in zones)
        node = closing.enter_context(NodeProcess(data, environment))
        played = Player(plan, node, keys, on_progress).play()
        summary = httpx.get(f"{node.base_url}/v1/market/summary", timeout=60, trust_env=False).raise_for_status().json()
        export = request.export
        if export is None:
            export = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="gridledger-"))) / "export"
        export_run(data, export, on_progress)
        report = audit(export, node.chain_url, on_progress)
        limits = limit_report(plan.readings, plan.meters, export / "readings.csv", plan.limit_kw)
    return _Finished(played=played, summary=summary, report=report, limits=limits)


def _result(readings: ReadingsFile, finished: _Finished, wall_s: float) -> dict[str, Any]:
    summary, report = finished.summary, finished.report
    phases: Mapping[str, int] = summary["mtu_phases"]
    trades, gas_used = summary["trades"], summary["gas_used"]
    return {
        "meters": summary["meters"],
        "mtus": len(readings.mtu_starts),
        "orders": summary["orders"],
        "orders_refused": dict(finished.played.orders_refused),
        "trades": trades,
        "traded_wh": summary["traded_wh"],
        "trade_value_microcents": report.totals["trade_value_microcents"],
        "cleared_mtus": phases.get("cleared", 0) + phases.get("settled", 0),
        "settled_mtus": phases.get("settled", 0),
        "dispatch_acknowledged": summary["dispatch"].get("acknowledged", 0),
        "dispatch_curtailed": summary["dispatch"].get("curtailed", 0) + summary["dispatch"].get("stopped", 0),
        "curtailed_wh": summary["curtailed_wh"],
        "curtailed_low_carbon_wh": summary["curtailed_low_carbon_wh"],
        **finished.limits,
        "tokens_minted_ugco2": summary["tokens_minted_ugco2"],
        "cash_sum_microcents": report.totals["cash_sum_microcents"],
        "gas_used": gas_used,
        "gas_per_trade": gas_used // trades if trades else None,
        "audit_ok": report.ok,
        "audit_mismatches": len(report.mismatches),
        "rows_refused": len(readings.refused),
        "price_origins": dict(finished.played.price_origins),
        "carbon_origins": dict(finished.played.carbon_origins),
        "failed_transactions": len(summary["failed_transactions"]),
        "wall_s": round(wall_s, 1),
    }
