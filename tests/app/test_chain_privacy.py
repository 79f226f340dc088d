"""After a day on a real chain nothing of what meters said is in its data, but what the design allows.

Allowed are contracted, delivered and imbalance energy and money per account and MTU, and salted commitments. The day
has an interval and registers, both energies of each meter above zero, a dispute, a free text, and a settlement.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.api.running import (
    BUY_METER,
    BUYER,
    MTU_LENGTH_S,
    MTU_START,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
)
from tests.app.chain_scan import Finding, Place, Secrets, chain_places, scan
from tests.metering.fakes import Device, a_reading, a_register_reading

from gridledger.market.model import Side
from gridledger.metering.merkle import leaf

MTU_END = MTU_START + MTU_LENGTH_S
SERIAL, OTHER_SERIAL = "EMH-7731-ALPHA", "Iskra 4420 beta"
NAME = "the kitchen of Mrs Example"
IMPORT_REGISTER_WH, EXPORT_REGISTER_WH = 412_345_678_901, 398_765_432_107
SELLER_IMPORT_WH, SELLER_EXPORT_WH = 733, 1_361
BUYER_IMPORT_WH, BUYER_EXPORT_WH = 877, 281


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


REGISTERS = {
    "import register at the start": IMPORT_REGISTER_WH,
    "export register at the start": EXPORT_REGISTER_WH,
    "import register at the end": IMPORT_REGISTER_WH + SELLER_IMPORT_WH,
    "export register at the end": EXPORT_REGISTER_WH + SELLER_EXPORT_WH,
}
SPLIT = {
    "import of the seller": SELLER_IMPORT_WH,
    "export of the seller": SELLER_EXPORT_WH,
    "import of the buyer": BUYER_IMPORT_WH,
    "export of the buyer": BUYER_EXPORT_WH,
}
TEXTS = {
    "registers at the start": registers(MTU_START, IMPORT_REGISTER_WH, EXPORT_REGISTER_WH),
    "registers at the end": registers(
        MTU_END, IMPORT_REGISTER_WH + SELLER_IMPORT_WH, EXPORT_REGISTER_WH + SELLER_EXPORT_WH
    ),
    "interval": Device(BUY_METER).sign(
        a_reading(
            meter=BUY_METER, meter_id=OTHER_SERIAL, import_wh=BUYER_IMPORT_WH, export_wh=BUYER_EXPORT_WH, counter=9
        )
    ),
    "disputed interval": Device(BUY_METER).sign(
        a_reading(meter=BUY_METER, meter_id=OTHER_SERIAL, import_wh=BUYER_IMPORT_WH, export_wh=1, counter=9)
    ),
}
NAMES = {"serial of the seller": SERIAL, "serial of the buyer": OTHER_SERIAL, "name": NAME}


@dataclass
class Scanned:
    """A running market after the day, and what must not be found."""

    market: RunningNode
    secrets: Secrets
    salts: dict[str, bytes]

    def places(self) -> list[Place]:
        return list(chain_places(self.market.node.chain_url))


@pytest.fixture(scope="module")
def scanned(onboarded: Onboarded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanned]:
    with onboarded.served(tmp_path_factory.mktemp("scan") / "data") as market:
        market.accept(market.order(Side.SELL), client_id=NAME)
        market.accept(market.order(Side.BUY))
        market.advance(MTU_START - 300)
        market.answer()
        market.advance(MTU_END)
        results = market.post("/v1/readings", {"readings": list(TEXTS.values())}).json()["results"]
        assert [one["status"] for one in results] == ["accepted"] * 3 + ["disputed"]
        market.work()
        assert market.mtu()["phase"] == "settled"
        salts = {f"salt of meter {row[0]}": row[9] for row in market.memory()["meter_reading"]}
        assert len(salts) == 2
        kept = {name: salt for name, salt in salts.items() if isinstance(salt, bytes)}
        yield Scanned(market, secrets_of(kept), kept)


def secrets_of(salts: dict[str, bytes]) -> Secrets:
    secrets = Secrets()
    for name, text in (TEXTS | NAMES).items():
        secrets.add_text(name, text)
    for name, salt in salts.items():
        secrets.add_bytes(name, salt)
    for name, value in (REGISTERS | SPLIT).items():
        secrets.add_number(name, value)
    return secrets


def test_nothing_a_meter_said_is_in_the_chain(scanned: Scanned) -> None:
    assert scan(scanned.places(), scanned.secrets) == set()


def test_the_scan_sees_all_of_the_chain(scanned: Scanned) -> None:
    """What is allowed is found: delivered energy in call data, the commitment in an event and in storage."""
    allowed = Secrets()
    net_wh = SELLER_EXPORT_WH - SELLER_IMPORT_WH
    allowed.needles[net_wh.to_bytes(8)] = "delivered"
    root = bytes(scanned.market.view("MeterLedger", "rootOf", 0)[0])
    allowed.needles[root] = "root"
    key = Device(SELL_METER).key
    allowed.needles[key.x] = "device key"
    found = scan(scanned.places(), allowed)
    kinds = {(finding.secret, finding.place.partition(" in block")[0].partition(" of 0x")[0]) for finding in found}
    assert ("delivered", "call data") in kinds
    assert {("root", "call data"), ("root", "event data"), ("root", "storage")} <= kinds
    assert {("device key", "storage"), ("device key", "event data")} <= kinds
    assert any(place.name.startswith("code of") and len(place.content) > 10_000 for place in scanned.places())


def test_a_commitment_tells_nothing_to_who_does_not_know_the_salt(scanned: Scanned) -> None:
    """The leaf of the true energies under another salt is another one."""
    proof = scanned.market.get(f"/v1/proofs/readings/{SELL_METER}/{MTU_START}")
    salt = scanned.salts[f"salt of meter {SELL_METER}"]
    energies = (SELL_METER, MTU_START, SELLER_IMPORT_WH, SELLER_EXPORT_WH)
    assert proof["leaf"] == "0x" + leaf(*energies, salt).hex()
    assert proof["leaf"] != "0x" + leaf(*energies, bytes(32)).hex()


# ---- planted secrets are found


def word(value: int) -> bytes:
    return value.to_bytes(32)


PLANTED: dict[str, tuple[bytes, str]] = {
    "a serial": (SERIAL.encode(), "serial of the seller"),
    "a name": (NAME.encode()[3:20], "name"),
    "part of a signed text": (TEXTS["registers at the start"].encode()[301:317], "registers at the start"),
    "part of a payload": (b'"import_wh":877,"export_wh":281', "interval"),
    "a text in hex": (TEXTS["registers at the end"].encode().hex().encode()[900:916], "registers at the end"),
    "a register as a word": (word(IMPORT_REGISTER_WH), "import register at the start"),
    "a register in digits": (b"412345678901", "import register at the start"),
    "a register in kWh": (b"398765432.107", "export register at the start"),
    "a split as words": (word(SELLER_IMPORT_WH) + word(SELLER_EXPORT_WH), "import of the seller"),
    "a split as packed fields": (
        BUYER_IMPORT_WH.to_bytes(8) + BUYER_EXPORT_WH.to_bytes(8),
        "export of the buyer",
    ),
}


@pytest.mark.parametrize("offset", [0, 1, 33])
@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_secret_is_found_wherever_it_stands(kind: str, offset: int, scanned: Scanned) -> None:
    content, name = PLANTED[kind]
    place = Place("planted", b"\xee" * offset + content + b"\xee" * 7)
    assert Finding(name, "planted") in scan([place], scanned.secrets)


def test_any_sixteen_bytes_of_a_salt_or_a_text_are_found(scanned: Scanned) -> None:
    salt = scanned.salts[f"salt of meter {BUY_METER}"]
    assert all(scan([Place("planted", salt[start : start + 16])], scanned.secrets) for start in range(17))
    text = TEXTS["interval"].encode()
    parts = [text[start : start + 16] for start in range(len(text) - 15)]
    assert all(scan([Place("planted", part)], scanned.secrets) for part in parts)


def test_a_secret_that_somebody_puts_on_the_chain_is_found_in_it(onboarded: Onboarded, tmp_path: Path) -> None:
    """A member cancels an order whose uid is the salt of a reading, and one that is part of a signed text."""
    salt, part = bytes(range(100, 132)), TEXTS["interval"].encode()[40:72]
    with onboarded.served(tmp_path / "data") as market:
        secrets = secrets_of({"salt": salt})
        assert scan(chain_places(market.node.chain_url), secrets) == set()
        market.send(SELLER, "EnergyTrading", "cancel", salt)
        market.send(BUYER, "EnergyTrading", "cancel", part)
        market.work()
        found = scan(chain_places(market.node.chain_url), secrets)
    assert {finding.secret for finding in found} == {"salt", "interval"}
    kinds = {finding.place.partition(" in block")[0] for finding in found}
    assert "call data" in kinds
    assert any(kind.startswith("event") for kind in kinds)
