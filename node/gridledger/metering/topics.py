"""Where meters and the node meet at a broker: one topic per meter for its readings, one for what became of them."""

import re

from gridledger.metering.errors import TopicRefused
from gridledger.units import UINT32_MAX

__all__ = ["NODE_NAME", "READINGS_OF_ALL", "meter_of_topic", "outcomes_topic", "readings_topic"]

NODE_NAME = "gridledger-node"
READINGS_OF_ALL = "meters/+/readings"
_READINGS = re.compile(r"meters/([1-9][0-9]{0,9})/readings")
_MAX_SHOWN_CHARACTERS = 80


def readings_topic(meter: int) -> str:
    """Where a meter, by its number in the registry, publishes its readings."""
    return f"meters/{meter}/readings"


def outcomes_topic(meter: int) -> str:
    """Where the node publishes what became of a meter's readings."""
    return f"meters/{meter}/outcomes"


def meter_of_topic(topic: str) -> int:
    """The meter whose readings a topic carries. Raises TopicRefused."""
    found = _READINGS.fullmatch(topic)
    if found is None or int(found[1]) > UINT32_MAX:
        raise TopicRefused(topic=ascii(topic)[:_MAX_SHOWN_CHARACTERS])
    return int(found[1])
