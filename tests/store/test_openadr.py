"""OpenADR objects: names, parents, targets, ends, and a notification with every change."""

import pytest

from gridledger.store.database import Database
from gridledger.store.openadr import OpenAdr
from gridledger.store.openadr_clients import (
    AdrClient,
    AdrClientExists,
    AdrClientUnknown,
    ClientRole,
    SecretHash,
)
from gridledger.store.openadr_model import (
    ObjectKind,
    ObjectMissing,
    ObjectNameTaken,
    ObjectQuery,
    Operation,
    ParentMissing,
    TooManyObjects,
)
from gridledger.store.transaction import Transaction

NOW = 1_465_776_000  # 2016-06-13T00:00:00Z
PROGRAM, EVENT, VEN, RESOURCE = ObjectKind.PROGRAM, ObjectKind.EVENT, ObjectKind.VEN, ObjectKind.RESOURCE


def add_program(tx: Transaction, name: str = "dispatch") -> str:
    return tx.openadr.add(PROGRAM, {"programName": name}, now=NOW).id


def add_ven(tx: Transaction, client_id: str, *targets: str) -> str:
    return tx.openadr.add(VEN, {"venName": client_id, "targets": list(targets)}, now=NOW, client_id=client_id).id


def test_an_object_is_found_by_id_and_by_name(database: Database) -> None:
    with database.write() as tx:
        program = tx.openadr.add(PROGRAM, {"programName": "dispatch", "targets": ["a", "a"]}, now=NOW)
        ven_id = add_ven(tx, "ven1")
        resource = tx.openadr.add(RESOURCE, {"resourceName": "pv", "venID": ven_id}, now=NOW, client_id="ven1")
    with database.read() as tx:
        assert tx.openadr.find(PROGRAM, program.id) == program
        assert tx.openadr.find(EVENT, program.id) is None
        assert tx.openadr.find_by_name(PROGRAM, "dispatch") == program
        assert tx.openadr.find_by_name(RESOURCE, "pv", ven_id) == resource
        assert tx.openadr.find_by_name(RESOURCE, "pv", "another") is None
    assert program.document() == {
        "programName": "dispatch",
        "targets": ["a", "a"],
        "id": program.id,
        "createdDateTime": "2016-06-13T00:00:00Z",
        "modificationDateTime": "2016-06-13T00:00:00Z",
        "objectType": "PROGRAM",
    }


def test_names_are_unique_where_the_standard_says_so(database: Database) -> None:
    with database.write() as tx:
        first, second = add_program(tx), add_program(tx, "prices")
        with pytest.raises(ObjectNameTaken):
            add_program(tx)
        with pytest.raises(ObjectNameTaken):
            tx.openadr.replace(PROGRAM, second, {"programName": "dispatch"}, now=NOW)
        tx.openadr.replace(PROGRAM, first, {"programName": "dispatch"}, now=NOW)
        one, two = add_ven(tx, "ven1"), add_ven(tx, "ven2")
        for ven_id in (one, two):
            tx.openadr.add(RESOURCE, {"resourceName": "pv", "venID": ven_id}, now=NOW)
        with pytest.raises(ObjectNameTaken):
            tx.openadr.add(RESOURCE, {"resourceName": "pv", "venID": two}, now=NOW)
        for _ in range(2):
            tx.openadr.add(EVENT, {"programID": first, "eventName": "same"}, now=NOW)


def test_what_an_object_refers_to_must_exist(database: Database) -> None:
    with database.write() as tx:
        program_id = add_program(tx)
        event = tx.openadr.add(EVENT, {"programID": program_id}, now=NOW)
        report = tx.openadr.add(ObjectKind.REPORT, {"eventID": event.id, "clientName": "c"}, now=NOW, client_id="ven1")
        of_program = ObjectQuery(kind=ObjectKind.REPORT, program_id=program_id)
        assert tx.openadr.list(of_program) == (report,)
        for kind, content in (
            (EVENT, {"programID": event.id}),
            (ObjectKind.REPORT, {"eventID": program_id, "clientName": "c"}),
            (RESOURCE, {"resourceName": "pv", "venID": "none"}),
            (ObjectKind.SUBSCRIPTION, {"clientName": "c", "programID": "none", "objectOperations": []}),
        ):
            with pytest.raises(ParentMissing):
                tx.openadr.add(kind, content, now=NOW)
        with pytest.raises(ObjectMissing):
            tx.openadr.replace(EVENT, program_id, {"programID": program_id}, now=NOW)
        with pytest.raises(ObjectMissing):
            tx.openadr.remove(VEN, program_id, now=NOW)


def test_every_change_leaves_a_notification(database: Database) -> None:
    with database.write() as tx:
        program_id = add_program(tx)
        event = tx.openadr.add(EVENT, {"programID": program_id, "targets": ["a"]}, now=NOW, client_id="bl")
        tx.openadr.replace(EVENT, event.id, {"programID": program_id, "targets": ["b"]}, now=NOW + 5)
        report = tx.openadr.add(ObjectKind.REPORT, {"eventID": event.id, "clientName": "c"}, now=NOW, client_id="ven1")
        tx.openadr.remove(PROGRAM, program_id, now=NOW + 9)
    with database.read() as tx:
        told = tx.openadr.notifications_after(0, 100)
        assert [(one.kind, one.operation, one.program_id, one.targets, one.created_at) for one in told] == [
            (PROGRAM, Operation.CREATE, program_id, (), NOW),
            (EVENT, Operation.CREATE, program_id, ("a",), NOW),
            (EVENT, Operation.UPDATE, program_id, ("b",), NOW + 5),
            (ObjectKind.REPORT, Operation.CREATE, program_id, (), NOW),
            (EVENT, Operation.DELETE, program_id, ("b",), NOW + 9),
            (PROGRAM, Operation.DELETE, program_id, (), NOW + 9),
        ]
        assert (told[3].client_id, told[3].object["clientID"]) == ("ven1", "ven1")
        assert told[2].object["modificationDateTime"] == "2016-06-13T00:00:05Z"
        assert tx.openadr.find(ObjectKind.REPORT, report.id) == report, "a report stays with whoever made it"
        assert tx.openadr.last_notification_id() == told[-1].id
    with database.write() as tx:
        assert tx.openadr.forget_notifications(told[-1].id) == len(told)
        add_program(tx)
        assert tx.openadr.notifications_after(0, 100)[0].id > told[-1].id, "an id was used again"


def test_a_change_that_is_rolled_back_tells_nothing(database: Database) -> None:
    def add_both() -> None:
        with database.write() as tx:
            add_program(tx)
            add_program(tx)

    with pytest.raises(ObjectNameTaken):
        add_both()
    with database.read() as tx:
        assert tx.openadr.notifications_after(0, 100) == ()


def test_a_reader_finds_what_has_no_targets_or_one_of_its_own(database: Database) -> None:
    with database.write() as tx:
        program_id = add_program(tx)
        ven_id = add_ven(tx, "ven1", "a")
        tx.openadr.add(RESOURCE, {"resourceName": "pv", "venID": ven_id, "targets": ["b"]}, now=NOW)
        add_ven(tx, "ven2", "c")
        events = {
            targets: tx.openadr.add(EVENT, {"programID": program_id, "targets": list(targets)}, now=NOW).id
            for targets in ("", "a", "b", "c", "cb")
        }
        granted = tx.openadr.targets_of("ven1")
        assert granted == {"a", "b"}
        assert tx.openadr.targets_of("nobody") == frozenset()

        def found(**conditions: object) -> list[str]:
            query = ObjectQuery(kind=EVENT, **conditions)  # type: ignore[arg-type]
            names = {event_id: targets for targets, event_id in events.items()}
            return [names[event.id] for event in tx.openadr.list(query)]

        assert found() == ["", "a", "b", "c", "cb"]
        assert found(granted=granted) == ["", "a", "b", "cb"]
        assert found(granted=frozenset()) == [""]
        assert found(granted=granted, targets=("c",)) == ["cb"]
        assert found(targets=("b",)) == ["b", "cb"]
        assert found(targets=("b", "c")) == ["cb"]
        assert tx.openadr.vens_with(("b", "x")) == (("ven1", ven_id),)
        assert [client_id for client_id, _ in tx.openadr.vens_with(("a", "c"))] == ["ven1", "ven2"]
        hidden = tx.openadr.find(EVENT, events["cb"])
        assert hidden is not None
        assert hidden.document(granted)["targets"] == ["b"]
        assert hidden.document()["targets"] == ["c", "b"]
        assert found(skip=1, limit=2) == ["a", "b"]
        assert found(limit=0) == []
        tx.openadr.replace(EVENT, events["c"], {"programID": program_id, "targets": ["a"]}, now=NOW)
        assert found(granted=frozenset("c")) == ["", "cb"]


@pytest.mark.parametrize(
    ("content", "ends_after_s"),
    [
        ({}, None),
        ({"intervalPeriod": {"start": "2016-06-13T00:00:00Z", "duration": "PT1H"}}, 3_600),
        ({"intervalPeriod": {"start": "2016-06-13T00:00:00Z", "duration": "PT1H", "randomizeStart": "PT5M"}}, 3_900),
        ({"intervalPeriod": {"start": "2016-06-13T02:00:00+02:00", "duration": "PT0.5S"}}, 1),
        ({"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT1H"}}, 3_600),
        ({"intervalPeriod": {"start": "0001-01-01", "duration": "PT1H"}}, 3_600),
        ({"intervalPeriod": {"start": "2016-06-13t00:00:00z", "duration": "PT1H"}}, 3_600),
        ({"intervalPeriod": {"start": "2016-06-13T00:00:60Z", "duration": "PT1H"}}, None),
        ({"intervalPeriod": {"start": "2016-06-13T00:00:00Z", "duration": "P9999Y"}}, None),
        ({"intervalPeriod": {"start": "2016-06-13T00:00:00Z", "duration": "-PT1H"}}, 0),
        ({"intervalPeriod": {"start": "2016-06-13T00:00:00Z", "duration": "P1M"}}, 30 * 86_400),
        ({"intervalPeriod": {"duration": "PT15M"}, "intervals": [{"id": 0}, {"id": 1}]}, 1_800),
        ({"duration": "P1D", "intervalPeriod": {"duration": "PT15M"}, "intervals": [{"id": 0}]}, 86_400),
        (
            {
                "intervals": [
                    {"id": 0, "intervalPeriod": {"start": "2016-06-13T05:00:00Z", "duration": "PT1H"}},
                    {"id": 1, "intervalPeriod": {"start": "2016-06-13T01:00:00Z", "duration": "PT1H"}},
                ]
            },
            6 * 3_600,
        ),
    ],
)
def test_an_event_is_active_until_its_last_interval_has_ended(
    database: Database, content: dict[str, object], ends_after_s: int | None
) -> None:
    with database.write() as tx:
        event = tx.openadr.add(EVENT, {"programID": add_program(tx), **content}, now=NOW)

        def active(moment: int) -> bool:
            return tx.openadr.list(ObjectQuery(kind=EVENT, active_at=moment)) == (event,)

        if ends_after_s is None:
            assert active(NOW + 10**9)
        else:
            assert active(NOW + ends_after_s - 1)
            assert not active(NOW + ends_after_s)


def test_ended_events_are_forgotten_untold(database: Database) -> None:
    with database.write() as tx:
        program_id = add_program(tx)
        hour = {"programID": program_id, "intervalPeriod": {"duration": "PT1H"}}
        tx.openadr.add(EVENT, hour, now=NOW)
        kept = [tx.openadr.add(EVENT, hour, now=NOW, client_id="bl"), tx.openadr.add(EVENT, hour, now=NOW + 60)]
        told = tx.openadr.last_notification_id()
        assert tx.openadr.forget_ended(None, NOW + 3_601) == 1
        assert list(tx.openadr.list(ObjectQuery(kind=EVENT))) == kept
        assert tx.openadr.last_notification_id() == told


def test_a_client_has_a_bounded_number_of_objects(database: Database) -> None:
    with database.write() as tx:
        bounded = OpenAdr(tx.connection, most_per_client={VEN: 2})
        for name in ("one", "two"):
            bounded.add(VEN, {"venName": name}, now=NOW, client_id="ven1")
        with pytest.raises(TooManyObjects):
            bounded.add(VEN, {"venName": "three"}, now=NOW, client_id="ven1")
        bounded.add(VEN, {"venName": "three"}, now=NOW, client_id="ven2")


def test_of_a_secret_only_a_salted_hash_is_kept(database: Database) -> None:
    secret = SecretHash.of("correct horse")
    client = AdrClient(client_id="operator", role=ClientRole.BL, secret=secret, created_at=NOW)
    with database.write() as tx:
        tx.openadr_clients.add(client)
        with pytest.raises(AdrClientExists):
            tx.openadr_clients.add(client)
        found = tx.openadr_clients.find("operator")
        assert found == client
        assert found.secret.matches("correct horse")
        assert not found.secret.matches("correct horsf")
        assert SecretHash.of("correct horse").scrypt != secret.scrypt
        assert tx.openadr_clients.all() == (("operator", ClientRole.BL, NOW),)
        tx.openadr_clients.remove("operator")
        assert tx.openadr_clients.find("operator") is None
        with pytest.raises(AdrClientUnknown):
            tx.openadr_clients.remove("operator")
