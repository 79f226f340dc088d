"""A ven by python-oa3-client: run by its own interpreter, which has nothing of ours. Says JSON lines."""

import json
import sys
import time
from typing import Any

from openadr3_client import VenClient

TOKEN, PATIENCE_S = "the callback's own token", 30.0


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def is_of(message: Any, program_id: str, operation: str) -> Any:
    told = message.payload
    return (told.object_type, told.operation, told.object.program_id) == ("EVENT", operation, program_id)


def awaited(channel: Any, program_id: str, operation: str) -> Any:
    """The first message about this, whenever it came."""
    deadline = time.time() + PATIENCE_S
    while time.time() < deadline:
        for message in channel.messages:
            if is_of(message, program_id, operation):
                return message
        time.sleep(0.01)
    raise TimeoutError(operation)


def describe(message: Any) -> dict[str, Any]:
    event = message.payload.object
    intervals = event.resolved_intervals()
    start, end = intervals[0].interval_period.period
    return {
        "time": message.time,
        "event_id": event.id,
        "window": [start.int_timestamp, end.int_timestamp],
        "payloads": {one.id: {payload.type: payload.values[0] for payload in one.payloads} for one in intervals},
    }


def main(url: str, client_id: str, secret: str, program: str) -> None:
    with VenClient(url=url, client_id=client_id, client_secret=secret) as ven:
        ven.register("dso-listener")
        callback = ven.add_webhook(host="127.0.0.1", bearer_token=TOKEN)
        callback.start()
        broker = ven.add_mqtt(ven.get_mqtt_broker_uris()[0])
        broker.start()
        wanted = {"program_names": [program], "objects": ["EVENT"], "operations": ["CREATE", "UPDATE"]}
        ven.subscribe(channel=callback, **wanted)
        topics = ven.subscribe(channel=broker, **wanted)
        program_id = ven.resolve_program_id(program)
        say(step="ready", ven_id=ven.ven_id, topics=topics, subscriptions=len(ven.subscriptions(programID=program_id)))
        for operation in ("CREATE", "UPDATE"):
            told = {
                "webhook": describe(awaited(callback, program_id, operation)),
                "mqtt": describe(awaited(broker, program_id, operation)),
            }
            say(step=operation, **told)
        events = ven.poll_events(program)
        say(step="polled", event_ids=[event.id for event in events])
        made = ven.create_report(
            {
                "eventID": events[0].id,
                "clientName": "dso-listener",
                "reportName": "how it went",
                "payloadDescriptors": [
                    {"objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": "USAGE", "units": "KWH"}
                ],
                "resources": [
                    {
                        "resourceName": "transformer",
                        "intervals": [
                            {
                                "id": 0,
                                "payloads": [
                                    {"type": "OPERATING_STATE", "values": ["NORMAL"]},
                                    {"type": "USAGE", "values": [0.05]},
                                ],
                            }
                        ],
                    }
                ],
            }
        )
        made.raise_for_status()
        report = ven.reports(eventID=events[0].id)[0]
        say(step="reported", report_id=report.id, client_id=report.client_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
