"""Demand response in the engine: measures what is due, a few meters of one event at a time."""

from gridledger.api.context import Services
from gridledger.dispatch.baseline import MeasuringTerms
from gridledger.metering.estimation import Calendar
from gridledger.store.transaction import Transaction

__all__ = ["calendar_of", "measure_demand_response"]


def calendar_of(terms: MeasuringTerms) -> Calendar:
    """The calendar that the terms of an event name. Raises CivilTimeUnknown."""
    return Calendar.named(terms.civil_time, terms.holidays)


def measure_demand_response(_tx: Transaction, services: Services) -> bool:
    """Measure the next participants of ended events; whether there were any."""
    return services.measurement.measure_due()
