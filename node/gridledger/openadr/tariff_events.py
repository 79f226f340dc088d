"""The tariff of a zone as OpenADR 3.1.0 tells it: one event per day in UTC, one interval per MTU.

`PRICE` is what the supplier takes for a kWh, `EXPORT_PRICE` what it pays for one, both in EUR; `GHG` is the grid's
emission factor in g/kWh. Source: OpenADR 3.1.0 Definition, enumerations of events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gridledger.openadr.quantities import euros_per_kwh, grams_per_kwh
from gridledger.units import format_utc

__all__ = ["MtuTariff", "tariff_event", "tariff_program", "tariff_program_name"]

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class MtuTariff:
    """Prices (cents per MWh) and emission factor (mg CO2 per kWh) of one MTU."""

    retail_cents_per_mwh: int
    feed_in_cents_per_mwh: int
    grid_factor_mgco2_per_kwh: int


def tariff_program_name(zone: int) -> str:
    """Where a zone's tariff is told."""
    return f"tariff-zone-{zone}"


def tariff_program(zone: int) -> Document:
    """The program of a zone's tariff."""
    return {"programName": tariff_program_name(zone), "payloadDescriptors": _descriptors()}


def tariff_event(
    program_id: str, *, zone: int, first_mtu_start: int, mtu_length_s: int, tariffs: Sequence[MtuTariff]
) -> Document:
    """The tariffs of MTUs that follow each other, from the first on. Raises NotExact."""
    return {
        "programID": program_id,
        "eventName": f"tariff zone {zone} {format_utc(first_mtu_start)}",
        "intervalPeriod": {"start": format_utc(first_mtu_start), "duration": f"PT{mtu_length_s // 60}M"},
        "payloadDescriptors": _descriptors(),
        "intervals": [{"id": number, "payloads": _payloads(tariff)} for number, tariff in enumerate(tariffs)],
    }


def _payloads(tariff: MtuTariff) -> list[Document]:
    values = {
        "PRICE": euros_per_kwh(tariff.retail_cents_per_mwh),
        "EXPORT_PRICE": euros_per_kwh(tariff.feed_in_cents_per_mwh),
        "GHG": grams_per_kwh(tariff.grid_factor_mgco2_per_kwh),
    }
    return [{"type": name, "values": [value]} for name, value in values.items()]


def _descriptors() -> list[Document]:
    priced = [
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": name, "units": "KWH", "currency": "EUR"}
        for name in ("PRICE", "EXPORT_PRICE")
    ]
    return [*priced, {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "GHG", "units": "GHG"}]
