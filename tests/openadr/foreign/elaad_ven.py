"""A ven by ElaadNL's openadr3-client: run by its own interpreter, which has nothing of ours. Says JSON lines."""

import json
import queue
import sys
import time
from typing import Any

from openadr3_client._models.common.interval import Interval
from openadr3_client.oadr310._vtn.mqtt.client import MQTTClient
from openadr3_client.oadr310.models.event.event import ExistingEvent
from openadr3_client.oadr310.models.report.report import NewReport, ReportResource
from openadr3_client.oadr310.models.report.report_payload import ReportPayload, ReportPayloadType
from openadr3_client.oadr310.models.ven.ven import NewVenVenRequest
from openadr3_client.ven.http_factory import VirtualEndNodeHttpClientFactory
from openadr3_client.version import OADRVersion

PATIENCE_S = 30.0


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def described(event: ExistingEvent, arrived: float) -> dict[str, Any]:
    period = event.intervals[0].interval_period
    return {
        "time": arrived,
        "event_id": event.id,
        "window": [period.start.timestamp(), (period.start + period.duration).timestamp()],
        "payloads": {one.id: {payload.type: payload.values[0] for payload in one.payloads} for one in event.intervals},
    }


def main(url: str, client_id: str, secret: str, program: str) -> None:
    ven = VirtualEndNodeHttpClientFactory.create_http_ven_client(
        vtn_base_url=url,
        client_id=client_id,
        client_secret=secret,
        token_url=None,
        scopes=None,
        allow_insecure_http=True,
        version=OADRVersion.OADR_310,
    )
    registered = ven.vens.create_ven(NewVenVenRequest(ven_name="elaad-listener"))
    found = next(one for one in ven.programs.get_programs(target=None, pagination=None) if one.program_name == program)
    topics = ven.notifiers.get_event_topics_for_program(found.id).topics
    binding = ven.notifiers.get_notifiers().mqtt
    heard: queue.Queue[tuple[dict[str, Any], float]] = queue.Queue()
    listener = MQTTClient(binding)
    listener.on_message = lambda _client, _data, message: heard.put((json.loads(message.payload), time.time()))
    broker = binding.uris[0]
    listener.connect(broker.host, broker.port)
    listener.subscribe(topics.all, qos=1)
    listener.loop_start()
    say(step="ready", ven_id=registered.id, topics=[topics.all])
    event_id = ""
    for operation in ("CREATE", "UPDATE"):
        told, arrived = heard.get(timeout=PATIENCE_S)
        assert (told["objectType"], told["operation"]) == ("EVENT", operation), told
        event = ExistingEvent.model_validate(told["object"])
        event_id = event.id
        say(step=operation, mqtt=described(event, arrived))
    listener.loop_stop()
    polled = ven.events.get_events(program_id=found.id, target=None, pagination=None)
    say(step="polled", event_ids=[one.id for one in polled])
    state = ReportPayload(type=ReportPayloadType.OPERATING_STATE, values=("NORMAL",))
    resource = ReportResource(resource_name="transformer", intervals=(Interval(id=0, payloads=(state,)),))
    made = ven.reports.create_report(NewReport(eventID=event_id, client_name="elaad-listener", resources=(resource,)))
    say(step="reported", report_id=made.id, client_id=made.client_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
