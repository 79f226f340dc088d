"""From what the node tells of a dispatch to OpenADR events: exact numbers, and nobody sees more than is theirs."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.dispatch.limits import LimitBasis, MeterLimit
from gridledger.openadr.dispatch_events import DispatchEvents, dispatch_program, meter_program
from gridledger.openadr.dispatch_facts import DispatchFacts, DispatchNews, DispatchState, facts_of
from gridledger.openadr.quantities import euros_per_kwh, grams_per_kwh, kilowatts
from gridledger.openadr.tariff_events import MtuTariff, tariff_event, tariff_program
from gridledger.units import NotExact

MTU_START, MTU_LENGTH_S, CHAIN_ID = 1_465_776_000, 900, 31_337
HASH, ANSWER_HASH, SCHEDULE = "0x" + "11" * 32, "0x" + "22" * 32, "0x" + "33" * 32


def scheduled(**changes: Any) -> DispatchNews:
    """Meter 3 sells 600 Wh to meter 4."""
    payload: dict[str, Any] = {
        "schedule_hash": SCHEDULE,
        "traded_wh": 600,
        "answer_deadline": MTU_START - 60,
        "transaction_hash": HASH,
        "block_number": 17,
        "setpoints": [{"meter": 3, "contracted_wh": 600}, {"meter": 4, "contracted_wh": -600}],
    }
    return DispatchNews(kind="scheduled", payload=payload | changes)


def answer(kind: str, **payload: Any) -> DispatchNews:
    return DispatchNews(kind=kind, payload={"reason": 0, "transaction_hash": ANSWER_HASH} | payload)


def known(*news: DispatchNews) -> DispatchFacts:
    facts = facts_of(1, MTU_START, news)
    assert facts is not None
    return facts


def events(facts: DispatchFacts) -> DispatchEvents:
    return DispatchEvents(facts, mtu_length_s=MTU_LENGTH_S, chain_id=CHAIN_ID)


def payloads(event: dict[str, Any], interval: int) -> dict[str, Any]:
    (found,) = [one for one in event["intervals"] if one["id"] == interval]
    return {payload["type"]: payload["values"][0] for payload in found["payloads"]}


def private(facts: DispatchFacts, **limits: MeterLimit) -> DispatchFacts:
    """With residuals of both meters, and limits by the names `meter3` and `meter4`."""
    return facts.with_meters({3: 150, 4: -50}, {int(name[5:]): limit for name, limit in limits.items()})


def capped(export_wh: int | None = None, import_wh: int | None = None) -> MeterLimit:
    return MeterLimit(basis=LimitBasis.CAP, export_wh=export_wh, import_wh=import_wh)


def test_the_zone_s_event_has_each_meter_s_contract_as_net_consumption_in_kw() -> None:
    event = events(known(scheduled())).of_zone("the-program")
    assert "targets" not in event
    assert event["programID"] == "the-program"
    assert payloads(event, 3) == {"DISPATCH_SETPOINT": -2.4}
    assert payloads(event, 4) == {"DISPATCH_SETPOINT": 2.4}
    period = {"start": "2016-06-13T00:00:00Z", "duration": "PT15M"}
    assert event["intervalPeriod"] == period
    assert [interval["intervalPeriod"] for interval in event["intervals"]] == [period] * 3


def test_the_zone_s_interval_leads_to_the_chain() -> None:
    told = payloads(events(known(scheduled())).of_zone("p"), 0)
    assert told == {
        "DISPATCH_SETPOINT": 0,
        "GRIDLEDGER_CHAIN_ID": CHAIN_ID,
        "GRIDLEDGER_ZONE": 1,
        "GRIDLEDGER_STATE": "scheduled",
        "GRIDLEDGER_SCHEDULE_HASH": SCHEDULE,
        "GRIDLEDGER_TRANSACTION_HASH": HASH,
        "GRIDLEDGER_BLOCK_NUMBER": 17,
        "GRIDLEDGER_ANSWER_DEADLINE": "2016-06-12T23:59:00Z",
    }


def test_an_answer_changes_state_and_reason_and_names_its_own_transaction() -> None:
    curtailed = answer("curtailed", reason=1, direction="export", emergency=False)
    told = payloads(events(known(scheduled(), curtailed)).of_zone("p"), 0)
    assert told["GRIDLEDGER_STATE"] == "curtailed"
    assert told["GRIDLEDGER_REASON"] == 1
    assert (told["GRIDLEDGER_DIRECTION"], told["GRIDLEDGER_EMERGENCY"]) == ("export", False)
    assert told["GRIDLEDGER_TRANSACTION_HASH"] == HASH
    assert told["GRIDLEDGER_ANSWER_TRANSACTION_HASH"] == ANSWER_HASH


def test_the_operator_sees_residuals_and_limits_under_its_target() -> None:
    event = events(private(known(scheduled()), meter3=capped(500), meter9=capped(0))).of_operator("p")
    assert event["targets"] == ["grid-operator-zone-1"]
    assert payloads(event, 3) == {"DISPATCH_SETPOINT": -3, "EXPORT_CAPACITY_LIMIT": 2}
    assert payloads(event, 4) == {"DISPATCH_SETPOINT": 2.6}
    assert payloads(event, 9) == {"DISPATCH_SETPOINT": 0, "EXPORT_CAPACITY_LIMIT": 0}
    assert payloads(event, 0)["DISPATCH_SETPOINT"] == -0.4


def test_nothing_but_contracts_is_public() -> None:
    """The public event of a dispatch with residuals and limits is that of one without."""
    plain = known(scheduled(), answer("curtailed"))
    rich = events(private(plain, meter3=capped(500), meter9=capped(0))).of_zone("p")
    assert rich == events(plain).of_zone("p")


def test_a_meter_s_gateway_sees_its_own_meter_alone() -> None:
    event = events(private(known(scheduled()), meter4=capped(import_wh=300))).of_meter("p", 4)
    assert event["targets"] == ["meter-4"]
    told = payloads(event, 0)
    assert (told["DISPATCH_SETPOINT"], told["IMPORT_CAPACITY_LIMIT"]) == (2.6, 1.2)
    assert "EXPORT_CAPACITY_LIMIT" not in told
    assert told["GRIDLEDGER_TRANSACTION_HASH"] == HASH
    assert len(event["intervals"]) == 1


def test_a_stop_alerts_everybody_and_leaves_each_meter_nothing_either_way() -> None:
    facts = private(known(scheduled(), answer("stopped", reason=4)))
    event = events(facts).of_meter("p", 3)
    told = payloads(event, 0)
    assert (told["EXPORT_CAPACITY_LIMIT"], told["IMPORT_CAPACITY_LIMIT"]) == (0, 0)
    alert = "zone 1 is stopped: all meters at 0 kW (emergency)"
    assert told["ALERT_GRID_EMERGENCY"] == payloads(events(facts).of_zone("p"), 0)["ALERT_GRID_EMERGENCY"] == alert
    assert event["priority"] == 0


def test_a_stop_before_the_schedule_is_told_and_stays() -> None:
    early = known(answer("stopped", reason=4))
    assert (early.schedule_hash, early.state) == (None, DispatchState.STOPPED)
    assert payloads(events(early).of_meter("p", 9), 0)["EXPORT_CAPACITY_LIMIT"] == 0
    for later in (scheduled(), answer("acknowledged")):
        assert known(answer("stopped"), later).state is DispatchState.STOPPED


def test_nothing_is_told_of_a_slot_without_news() -> None:
    assert facts_of(1, MTU_START, []) is None


@pytest.mark.parametrize(("length_s", "watts_per_wh"), [(300, 12), (900, 4), (1800, 2), (3600, 1)])
def test_kilowatts_are_exact_for_every_mtu_length(length_s: int, watts_per_wh: int) -> None:
    assert json.dumps(kilowatts(333, length_s)) == f"{333 * watts_per_wh / 1000:g}"


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_the_text_of_a_number_is_the_exact_decimal(units: int) -> None:
    sign, size = ("-" if units < 0 else ""), abs(units)
    text = json.loads(json.dumps(euros_per_kwh(units)), parse_float=str, parse_int=str)
    plain = f"{float(text):.5f}" if "e" in text else text
    whole, _, fraction = plain.partition(".")
    assert whole.lstrip("-") + fraction.ljust(5, "0") == f"{size // 10**5}{size % 10**5:05d}"
    assert text.startswith("-") == (sign == "-")


def test_a_number_that_a_reader_would_round_is_refused() -> None:
    with pytest.raises(NotExact):
        grams_per_kwh(12_345_678_901_234_567_891)


def test_a_tariff_has_an_interval_for_each_mtu_in_eur_and_grams() -> None:
    tariffs = [
        MtuTariff(retail_cents_per_mwh=32_001, feed_in_cents_per_mwh=-8_000, grid_factor_mgco2_per_kwh=363_500),
        MtuTariff(retail_cents_per_mwh=32_000, feed_in_cents_per_mwh=8_000, grid_factor_mgco2_per_kwh=0),
    ]
    event = tariff_event("p", zone=2, first_mtu_start=MTU_START, mtu_length_s=MTU_LENGTH_S, tariffs=tariffs)
    assert event["intervalPeriod"] == {"start": "2016-06-13T00:00:00Z", "duration": "PT15M"}
    assert [interval["id"] for interval in event["intervals"]] == [0, 1]
    assert payloads(event, 0) == {"PRICE": 0.32001, "EXPORT_PRICE": -0.08, "GHG": 363.5}
    assert payloads(event, 1) == {"PRICE": 0.32, "EXPORT_PRICE": 0.08, "GHG": 0}


def test_programs_are_named_by_their_zone_and_say_their_units() -> None:
    names = [program(7)["programName"] for program in (dispatch_program, meter_program, tariff_program)]
    assert names == ["grid-dispatch-zone-7", "meter-dispatch-zone-7", "tariff-zone-7"]
    units = {one["payloadType"]: one["units"] for one in tariff_program(7)["payloadDescriptors"]}
    assert units == {"PRICE": "KWH", "EXPORT_PRICE": "KWH", "GHG": "GHG"}
