"""Topics name a meter in one way."""

import pytest

from gridledger.metering.errors import TopicRefused
from gridledger.metering.topics import meter_of_topic, outcomes_topic, readings_topic


@pytest.mark.parametrize("meter", [1, 17, 2**32 - 1])
def test_a_meter_s_topic_leads_back_to_it(meter: int) -> None:
    assert meter_of_topic(readings_topic(meter)) == meter


@pytest.mark.parametrize(
    "topic",
    [
        outcomes_topic(1),
        "meters/0/readings",
        "meters/01/readings",
        "meters/-1/readings",
        "meters/4294967296/readings",
        "meters/1/readings/x",
        "meters/1/readings\n",
        "meters/१/readings",
        "meters/gridledger-node/readings",
        "",
    ],
)
def test_any_other_topic_is_refused(topic: str) -> None:
    with pytest.raises(TopicRefused):
        meter_of_topic(topic)
