"""Erasing a person: what must be signed by whom, what goes to the last byte, and what others still can prove."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from tests.api.running import (
    BUY_METER,
    BUYER,
    MTU_LENGTH_S,
    MTU_START,
    OUTSIDER,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
    served,
)
from tests.metering.fakes import Device, a_reading, a_register_reading
from typer.testing import CliRunner, Result

from gridledger.app import export
from gridledger.app.audit_run import audit
from gridledger.app.erase import (
    AccountMalformed,
    ErasureDiffers,
    ErasureFileUnreadable,
    NoMarketHere,
    NothingToErase,
    NotTheRegulator,
    RetentionNotOver,
    apply_erasure,
    prepare_erasure,
    sign_erasure,
)
from gridledger.app.main import _operations
from gridledger.app.node import NodeFolder
from gridledger.chain.journal import FolderInUse
from gridledger.cli.application import create_cli
from gridledger.market.model import Side
from gridledger.market.webhooks import Feed
from gridledger.merkle import verify
from gridledger.metering.erasure import TombstoneMalformed
from gridledger.simulation.operator_answers import SetpointsErased, committed_meters
from gridledger.store.database import Database, DatabaseBusy

REGULATOR = key("regulator")
MTU_END = MTU_START + MTU_LENGTH_S
CORRECTION_DAYS, RETENTION_DAYS = 60, 7
LATER = MTU_END + (CORRECTION_DAYS + 1) * 86_400
SERIAL, CLIENT_ID, REASON = "EMH-7731-ALPHA", "the kitchen of Mrs Example", "a complaint about Mrs Example"
IMPORT_REGISTER_WH, EXPORT_REGISTER_WH = 412_345_678_901, 398_765_432_107
HOOK = "https://hooks.example:8443/mrs-example"
PERSONAL = {
    "readings": 1,
    "registers": 2,
    "disputes": 2,
    "sessions": 1,
    "webhooks": 1,
    "client ids": 1,
    "partial readings": 0,
    "estimates": 0,
    "meter events": 0,
    "accesses": 1,
    "refused transactions": 1,
    "consents": 1,
    "participations": 0,
    "measurements": 0,
    "shifts": 0,
    "measuring states": 0,
    "setpoints": 1,
}


def registers(taken_at: int, imported: int, exported: int) -> str:
    """An OCMF text of the seller's device."""
    reading = a_register_reading(
        meter=SELL_METER,
        meter_id=SERIAL,
        taken_at=taken_at,
        import_register_wh=imported,
        export_register_wh=exported,
        counter=taken_at // MTU_LENGTH_S,
    )
    return Device(SELL_METER).sign_registers(reading)


START = registers(MTU_START, IMPORT_REGISTER_WH, EXPORT_REGISTER_WH)
END = registers(MTU_END, IMPORT_REGISTER_WH + 31, EXPORT_REGISTER_WH + 631)
DISPUTED = registers(MTU_END, IMPORT_REGISTER_WH + 32, EXPORT_REGISTER_WH + 631)
DISPUTED_INTERVAL = Device(SELL_METER).sign(a_reading(meter=SELL_METER, meter_id=SERIAL))
TEXTS = (START, END, DISPUTED, DISPUTED_INTERVAL)


@pytest.fixture(scope="module")
def lived(onboarded: Onboarded, tmp_path_factory: pytest.TempPathFactory) -> NodeFolder:
    """A stopped node in whose market the seller has left every kind of trace, long ago."""
    folder = NodeFolder(tmp_path_factory.mktemp("lived") / "data")
    with onboarded.served(folder.path) as market:
        market.accept(market.order(Side.SELL), client_id=CLIENT_ID)
        market.accept(market.order(Side.BUY), client_id="somebody else's")
        market.advance(MTU_START - 300)
        market.answer()
        market.advance(MTU_END)
        buyer = market.reading(BUY_METER, -590)
        results = market.post("/v1/readings", {"readings": [*TEXTS, buyer]}).json()["results"]
        assert [one["status"] for one in results] == ["accepted"] * 2 + ["disputed"] * 2 + ["accepted"]
        market.work()
        assert market.mtu()["phase"] == "settled"
        params: dict[str, str | int] = {"meter": SELL_METER, "reason": REASON}
        answer = market.http.get("/v1/readings", params=params, headers=market.sign_in(REGULATOR))
        assert answer.status_code == 200
        session = market.sign_in(SELLER)
        assert market.http.put(f"/v1/demand-response/consents/{SELL_METER}", headers=session).status_code == 204
        market.advance(LATER)
    _leave_more(folder)
    return folder


def _leave_more(folder: NodeFolder) -> None:
    """A webhook, which a running node would call, and a relayed transaction that never got onto the chain."""
    database = Database(folder.database)
    with database.write() as tx:
        key_of = tx.outbox.add(
            kind="RelayedTransaction",
            signer=SELLER.address,
            to_address=SELLER.address,
            data=b"a note of Mrs Example",
            zone=None,
            mtu_start=None,
            created_at=1,
        )
        tx.outbox.mark_rejected(key_of, "refused")
        tx.webhooks.put(SELLER.address, Feed.NOTICES, url=HOOK, sealed_secret=b"sealed", cursor=0, now=1)
    database.close()


@pytest.fixture
def data(lived: NodeFolder, tmp_path: Path) -> Path:
    """A copy of its folder."""
    shutil.copytree(lived.path, tmp_path / "data")
    return tmp_path / "data"


def request(data: Path, account: LocalAccount = SELLER) -> dict[str, Any]:
    return prepare_erasure(data, account.address, RETENTION_DAYS)


def signed(document: dict[str, Any], path: Path, signer: LocalAccount = REGULATOR) -> Path:
    """A tombstone, signed as a wallet does."""
    message = encode_typed_data(full_message=document["typed_data"])
    signature = "0x" + bytes(signer.sign_message(message).signature).hex()
    path.write_text(json.dumps(document | {"signature": signature}))
    return path


def rows_of(document: dict[str, Any]) -> dict[str, int]:
    return {row["kind"]: row["count"] for row in document["typed_data"]["message"]["rows"]}


def salt_of(data: Path) -> bytes:
    rows = RunningNode.memory_of(NodeFolder(data))["meter_reading"]
    (salt,) = [row[9] for row in rows if row[0] == SELL_METER]
    assert isinstance(salt, bytes)
    return salt


def needles(data: Path) -> dict[str, bytes]:
    """What must be gone, by name."""
    texts = {f"text {index}": text.encode()[40:90] for index, text in enumerate(TEXTS)}
    in_hex = {f"{name} in hex": text.hex().encode() for name, text in texts.items()}
    names = {"serial": SERIAL, "client id": CLIENT_ID, "reason": REASON, "note": "a note of Mrs", "webhook": HOOK}
    salts = {"salt": salt_of(data), "setpoint's salt": setpoint_of(data)[1].encode()}
    return {**texts, **in_hex, **{name: text.encode() for name, text in names.items()}, **salts}


def setpoint_of(data: Path, meter: int = SELL_METER) -> tuple[Any, Any, Any]:
    """Residual, salt and leaf of the meter's setpoint, as the database has them."""
    rows = RunningNode.memory_of(NodeFolder(data))["dispatch_setpoint"]
    (one,) = [row[4:] for row in rows if row[2] == meter]
    residual_wh, salt, leaf = one
    return residual_wh, salt, leaf


def found_in(data: Path, wanted: dict[str, bytes]) -> set[str]:
    """Which of them any file of the folder holds."""
    contents = [path.read_bytes() for path in data.rglob("*") if path.is_file()]
    return {name for name, needle in wanted.items() if any(needle in content for content in contents)}


def gridledger(*arguments: object) -> Result:
    """`gridledger erase` with the application behind it."""
    environment = {"GRIDLEDGER_RETENTION_DAYS": str(RETENTION_DAYS)}
    command = ["erase", *(str(one) for one in arguments)]
    return CliRunner().invoke(create_cli(_operations()), command, env=environment)


def test_the_commands_erase_a_person_to_the_last_byte_and_the_audit_stays_green(data: Path, tmp_path: Path) -> None:
    wanted = needles(data)
    kept_names = {"text 3 in hex"}  # an interval's text is kept as it came
    assert found_in(data, wanted) == wanted.keys() - kept_names
    results = []
    prepared, tombstone = tmp_path / "request.json", tmp_path / "tombstone.json"
    keystore = data / "keys" / "regulator.json"
    for arguments in (
        ("prepare", "--account", SELLER.address.lower(), "--data", data, "--out", prepared),
        ("sign", "--request", prepared, "--keystore", keystore, "--out", tombstone),
        ("apply", "--tombstone", tombstone, "--data", data),
    ):
        results.append(gridledger(*arguments))
        assert results[-1].exit_code == 0, results[-1].output
    result = json.loads(results[-1].stdout)
    assert {kind: count for kind, count in result["erased"].items() if kind != "notices"} == PERSONAL
    assert result["erased"]["notices"] >= 3
    assert found_in(data, wanted) == set()
    export.export_run(data, tmp_path / "export", lambda *_: None)
    report = audit(tmp_path / "export", None, lambda *_: None)
    assert report.mismatches == ()
    assert (report.totals["erased_readings"], report.totals["unverifiable_settlements"]) == (1, 1)
    assert report.totals["unverifiable_setpoints"] == 1


def test_of_a_setpoint_only_contract_and_leaf_are_left(data: Path, tmp_path: Path) -> None:
    of_slot = {"zone": 1, "mtu_start": MTU_START}
    (residual_wh, salt, leaf), others = setpoint_of(data), setpoint_of(data, BUY_METER)
    assert (residual_wh is None, salt is None, leaf) == (False, False, None)
    with served(NodeFolder(data)) as market:
        path, session = "/v1/dispatch/setpoints", market.sign_in(REGULATOR)
        before = market.http.get(path, params=of_slot, headers=session).json()
    apply_erasure(data, signed(request(data), tmp_path / "tombstone"), RETENTION_DAYS)
    (committed,) = [one for one in before["setpoints"] if one["meter"] == SELL_METER]
    assert setpoint_of(data) == (None, None, committed["leaf"])
    assert setpoint_of(data, BUY_METER) == others
    with served(NodeFolder(data)) as market:
        after = market.http.get(path, params=of_slot, headers=market.sign_in(REGULATOR)).json()
    lost = {"residual_wh": None, "setpoint_wh": None, "salt": None}
    shown = [one | (lost if one["meter"] == SELL_METER else {}) for one in before["setpoints"]]
    assert after == {**before, "exceeded": None, "setpoints": shown}
    with pytest.raises(SetpointsErased):
        committed_meters(after, **of_slot, committed_hash=after["schedule_hash"])


def test_others_keep_everything_and_can_still_prove_their_readings(data: Path, tmp_path: Path) -> None:
    before = RunningNode.memory_of(NodeFolder(data))
    apply_erasure(data, signed(request(data), tmp_path / "tombstone"), RETENTION_DAYS)
    after = RunningNode.memory_of(NodeFolder(data))
    emptied = {"market_order", "reading_access", "dispatch_setpoint"}
    gone = {name for name, rows in before.items() if len(after[name]) < len(rows)}
    assert gone == {
        "meter_reading",
        "register_reading",
        "reading_dispute",
        "notice",
        "sign_in_session",
        "demand_consent",
        "webhook",
        "outbox",
    }
    changed = {name for name, rows in before.items() if after[name] != rows} - gone
    assert changed == emptied | {"tombstone", "erased_reading"}
    assert [row for row in after["notice"] if row[1] == BUYER.address] == [
        row for row in before["notice"] if row[1] == BUYER.address
    ]
    assert "somebody else's" in repr(after["market_order"])
    with served(NodeFolder(data)) as market:
        proof = market.get(f"/v1/proofs/readings/{BUY_METER}/{MTU_START}")
        anchored = market.view("MeterLedger", "rootOf", 0)[0]
        path = [bytes.fromhex(one[2:]) for one in proof["proof"]]
        assert len(path) == 1
        assert verify(anchored, bytes.fromhex(proof["leaf"][2:]), path)
        gone_proof = market.http.get(f"/v1/proofs/readings/{SELL_METER}/{MTU_START}")
        assert_problem(gone_proof, 404, "reading-not-anchored")
        accesses = market.http.get("/v1/readings/accesses", headers=market.sign_in(REGULATOR)).json()["accesses"]
        assert [(one["reader"], one["meter"], one["reason"]) for one in accesses] == [(REGULATOR.address, None, None)]


def test_the_same_tombstone_again_changes_nothing_and_scrubs_again(data: Path, tmp_path: Path) -> None:
    tombstone = signed(request(data), tmp_path / "tombstone")
    assert not apply_erasure(data, tombstone, RETENTION_DAYS)["applied_before"]
    before = RunningNode.memory_of(NodeFolder(data))
    assert apply_erasure(data, tombstone, RETENTION_DAYS)["applied_before"]
    assert RunningNode.memory_of(NodeFolder(data)) == before
    with pytest.raises(NothingToErase):
        request(data)


# ---- refusals: nothing is erased


@pytest.fixture
def untouched(data: Path) -> Iterator[Path]:
    """The folder; its rows must be the same afterwards."""
    before = RunningNode.memory_of(NodeFolder(data))
    yield data
    assert RunningNode.memory_of(NodeFolder(data)) == before


@pytest.mark.parametrize("signer", ["grid_operator", "market_operator", "deployer", "the seller"])
def test_only_the_regulator_signs_erasures(signer: str, untouched: Path, tmp_path: Path) -> None:
    tombstone = signed(request(untouched), tmp_path / "tombstone", key(signer))
    with pytest.raises(NotTheRegulator) as refused:
        apply_erasure(untouched, tombstone, RETENTION_DAYS)
    assert refused.value.signer == key(signer).address


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account", BUYER.address),
        ("meters", [1, 2]),
        ("firstMtuStart", 0),
        ("lastMtuStart", MTU_END),
        ("leafCount", 2),
        ("leavesHash", "0x" + "ab" * 32),
        ("erasedAt", LATER + 1_000_000),
    ],
)
def test_what_is_not_so_is_not_erased_even_if_the_regulator_signs_it(
    field: str, value: object, untouched: Path, tmp_path: Path
) -> None:
    document = request(untouched)
    document["typed_data"]["message"][field] = value
    with pytest.raises(ErasureDiffers):
        apply_erasure(untouched, signed(document, tmp_path / "tombstone"), RETENTION_DAYS)


def test_a_message_changed_after_signing_is_signed_by_somebody_else(untouched: Path, tmp_path: Path) -> None:
    tombstone = signed(request(untouched), tmp_path / "tombstone")
    document = json.loads(tombstone.read_text())
    document["typed_data"]["message"]["rows"][0]["count"] += 1
    tombstone.write_text(json.dumps(document))
    with pytest.raises(NotTheRegulator):
        apply_erasure(untouched, tombstone, RETENTION_DAYS)


def test_a_signature_for_another_market_is_none_for_this(untouched: Path, tmp_path: Path) -> None:
    document = request(untouched)
    document["typed_data"]["domain"]["chainId"] += 1
    with pytest.raises(NotTheRegulator):
        apply_erasure(untouched, signed(document, tmp_path / "tombstone"), RETENTION_DAYS)


def test_what_the_law_wants_kept_stays(untouched: Path, tmp_path: Path) -> None:
    tombstone = signed(request(untouched), tmp_path / "tombstone")
    with pytest.raises(RetentionNotOver):
        apply_erasure(untouched, tombstone, 62)
    with pytest.raises(RetentionNotOver) as refused:
        prepare_erasure(untouched, SELLER.address, 62)
    assert refused.value.newest == "2016-06-13T00:30:00Z"  # disputed registers count as about the next MTU too


def test_what_can_still_be_corrected_stays(onboarded: Onboarded, tmp_path: Path) -> None:
    with onboarded.served(tmp_path / "data") as market:
        market.deliver({SELL_METER: 100})
        market.advance(MTU_END + (CORRECTION_DAYS - 1) * 86_400)
        with pytest.raises(RetentionNotOver):
            prepare_erasure(tmp_path / "data", SELLER.address, RETENTION_DAYS)


def test_nothing_is_erased_under_a_running_node(data: Path, tmp_path: Path) -> None:
    tombstone = signed(request(data), tmp_path / "tombstone")
    with served(NodeFolder(data)) as market:
        assert request(data)["typed_data"]["message"] == json.loads(tombstone.read_text())["typed_data"]["message"]
        with pytest.raises(FolderInUse):
            apply_erasure(data, tombstone, RETENTION_DAYS)
        assert market.memory()["tombstone"] == []


def test_a_reader_of_the_file_delays_the_scrubbing_and_is_told(data: Path, tmp_path: Path) -> None:
    tombstone, wanted = signed(request(data), tmp_path / "tombstone"), needles(data)
    reader = Database(data / "node.db")
    with reader.read() as tx:
        assert tx.readings.count() == 2
        with pytest.raises(DatabaseBusy):
            apply_erasure(data, tombstone, RETENTION_DAYS)
    reader.close()
    apply_erasure(data, tombstone, RETENTION_DAYS)
    assert found_in(data, wanted) == set()


def test_an_account_that_left_nothing_or_is_none_is_refused(untouched: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingToErase):
        request(untouched, OUTSIDER)
    with pytest.raises(AccountMalformed):
        prepare_erasure(untouched, "Mrs Example", RETENTION_DAYS)
    with pytest.raises(NoMarketHere):
        prepare_erasure(tmp_path / "nowhere", SELLER.address, RETENTION_DAYS)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"typed_data": 1}', '{"typed_data": {"domain": []}}']
)
def test_a_file_that_is_no_erasure_is_refused(content: str, untouched: Path, tmp_path: Path) -> None:
    path = tmp_path / "tombstone"
    path.write_text(content)
    with pytest.raises(ErasureFileUnreadable):
        apply_erasure(untouched, path, RETENTION_DAYS)
    with pytest.raises(ErasureFileUnreadable):
        sign_erasure(path, untouched / "keys" / "regulator.json", None)


@pytest.mark.parametrize("signature", [None, "0x", "0x" + "00" * 65, "0x" + "ff" * 65, "zz"])
def test_a_signature_of_nobody_is_refused(signature: str | None, untouched: Path, tmp_path: Path) -> None:
    path = tmp_path / "request"
    path.write_text(json.dumps(request(untouched)))
    with pytest.raises(TombstoneMalformed):
        sign_erasure(path, None, signature)
    path.write_text(json.dumps(request(untouched) | {"signature": signature}))
    with pytest.raises(TombstoneMalformed):
        apply_erasure(untouched, path, RETENTION_DAYS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account", SELLER.address.lower()),
        ("account", 7),
        ("meters", [2, 1]),
        ("meters", [1, 1]),
        ("meters", [True]),
        ("meters", [-1]),
        ("meters", "1"),
        ("rows", []),
        ("rows", [{"kind": "readings", "count": 1}]),
        ("leafCount", -1),
        ("leafCount", 1.0),
        ("leavesHash", "0xAB"),
        ("erasedAt", 2**32),
        ("reason", "one field more"),
    ],
)
def test_a_message_of_another_form_is_refused(field: str, value: object, untouched: Path, tmp_path: Path) -> None:
    document = request(untouched)
    document["typed_data"]["message"][field] = value
    path = tmp_path / "tombstone"
    path.write_text(json.dumps(document | {"signature": "0x" + "11" * 65}))
    with pytest.raises(TombstoneMalformed):
        apply_erasure(untouched, path, RETENTION_DAYS)


def test_a_wallet_s_signature_makes_the_same_tombstone(untouched: Path, tmp_path: Path) -> None:
    document = request(untouched)
    path = tmp_path / "request"
    path.write_text(json.dumps(document))
    by_keystore = sign_erasure(path, untouched / "keys" / "regulator.json", None)
    message = encode_typed_data(full_message=document["typed_data"])
    signature = "0x" + bytes(REGULATOR.sign_message(message).signature).hex().upper()
    assert sign_erasure(path, None, signature) == by_keystore
    assert by_keystore["signer"] == REGULATOR.address
    assert rows_of(by_keystore)["readings"] == 1
