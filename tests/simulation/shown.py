"""What a node in memory shows of a schedule and of signing in, in the words of its API."""

from collections.abc import Iterable, Mapping
from typing import Any

from gridledger.dispatch.setpoints import SetpointRow, schedule_hash, setpoints_root

RESULT_HASH = "0x" + "ab" * 32
SUN, OTHER_SOURCE = (1, 41_000), (0, None)


def setpoint(
    meter: int, contracted_wh: int, residual_wh: int = 0, source: int = 0, factor: int | None = None
) -> dict[str, Any]:
    """A setpoint as the grid operator is shown it; its salt follows from the meter."""
    return {
        "meter": meter,
        "contracted_wh": contracted_wh,
        "residual_wh": residual_wh,
        "setpoint_wh": contracted_wh + residual_wh,
        "source": source,
        "factor_mgco2_per_kwh": factor,
        "salt": "0x" + bytes((meter,) * 32).hex(),
    }


def committed_hash(setpoints: Iterable[Mapping[str, Any]]) -> str:
    """The schedule's hash that covers setpoints."""
    rows = [
        SetpointRow(meter=one["meter"], contracted_wh=one["contracted_wh"], residual_wh=one["residual_wh"])
        for one in setpoints
    ]
    salts = {row.meter: bytes((row.meter,) * 32) for row in rows}
    return schedule_hash(RESULT_HASH, setpoints_root(rows, salts))


def challenge(chain_id: int) -> dict[str, Any]:
    """What a message to sign in with has to say."""
    return {
        "nonce": "a1b2c3d4e5",
        "domain": "node.test",
        "uri": "http://node.test",
        "version": "1",
        "chain_id": chain_id,
        "issued_at": "2024-05-01T10:00:00Z",
        "expires_at": "2024-05-01T10:05:00Z",
    }
