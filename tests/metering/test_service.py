"""Tasks of the metering room: one (meter, MTU) counts once, readings of a batch stand alone, anchors prove them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metering.fakes import (
    MTU_LENGTH_S,
    MTU_START,
    NOW,
    SALT_SEED,
    FakeDirectory,
    FakeStore,
    World,
    a_reading,
    a_world,
    payload_of,
    with_other_half,
)

from gridledger.metering.errors import BatchTooLarge, UnknownMeter
from gridledger.metering.model import ReadingStatus
from gridledger.metering.ports import MeterDirectory, ReadingStore
from gridledger.metering.salts import SeededSalts
from gridledger.metering.service import MAX_BATCH_READINGS
from gridledger.metering.validation import GREATEST_AGE_S

ACCEPTED, DUPLICATE, REFUSED = ReadingStatus.ACCEPTED, ReadingStatus.DUPLICATE, ReadingStatus.REFUSED


def statuses(world: World, texts: list[str]) -> list[ReadingStatus]:
    outcomes = world.service.accept(texts)
    assert [outcome.index for outcome in outcomes] == list(range(len(texts)))
    assert all((outcome.error is None) == (outcome.status in (ACCEPTED, DUPLICATE)) for outcome in outcomes)
    return [outcome.status for outcome in outcomes]


def text_of(world: World, meter: int, mtu_start: int = MTU_START) -> str:
    return world.devices[meter].sign(a_reading(meter=meter, mtu_start=mtu_start))


def test_an_accepted_reading_is_kept_with_its_text_zone_salt_and_time() -> None:
    world = a_world()
    text = text_of(world, 4)
    assert statuses(world, [text]) == [ACCEPTED]
    kept = world.store.find(4, MTU_START)
    assert kept is not None
    assert (kept.reading, kept.text, kept.zone) == (a_reading(meter=4), text, 2)
    assert (kept.received_at, kept.anchor_sequence) == (NOW, None)
    assert kept.salt == SeededSalts(SALT_SEED).salt_for(4, MTU_START)


def test_the_same_text_again_is_a_duplicate_within_a_batch_and_later() -> None:
    world = a_world()
    text = text_of(world, 1)
    assert statuses(world, [text, text]) == [ACCEPTED, DUPLICATE]
    assert statuses(world, [text]) == [DUPLICATE]
    assert len(world.store.kept) == 1


def test_the_same_values_under_another_signature_are_a_duplicate() -> None:
    world = a_world()
    first = world.devices[1].sign_by_chance(payload_of(a_reading()))
    second = world.devices[1].sign_by_chance(payload_of(a_reading()))
    assert first != second
    assert statuses(world, [first, second, with_other_half(first)]) == [ACCEPTED, DUPLICATE, DUPLICATE]


def test_a_duplicate_is_a_duplicate_however_late() -> None:
    world = a_world()
    text = text_of(world, 1)
    assert statuses(world, [text]) == [ACCEPTED]
    world.clock.move_to(NOW + 2 * GREATEST_AGE_S)
    assert statuses(world, [text, text_of(world, 2)]) == [DUPLICATE, REFUSED]


def test_the_same_reading_is_accepted_once_its_interval_has_ended() -> None:
    world = a_world(now=MTU_START)
    text = text_of(world, 1)
    assert statuses(world, [text]) == [REFUSED]
    world.clock.move_to(MTU_START + MTU_LENGTH_S)
    assert statuses(world, [text]) == [ACCEPTED]


@given(st.lists(st.sampled_from(["good", "bad"]), max_size=12))
def test_a_refused_reading_never_stops_the_others(kinds: list[str]) -> None:
    world = a_world()
    starts = [MTU_START - MTU_LENGTH_S * index for index in range(len(kinds))]
    signers = [world.devices[1 if kind == "good" else 2] for kind in kinds]
    texts = [signer.sign(a_reading(mtu_start=start)) for signer, start in zip(signers, starts, strict=True)]
    assert statuses(world, texts) == [ACCEPTED if kind == "good" else REFUSED for kind in kinds]
    assert [key[1] for key in world.store.kept] == [
        start for kind, start in zip(kinds, starts, strict=True) if kind == "good"
    ]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 2)), max_size=25))
def test_one_meter_and_mtu_counts_once_whatever_is_sent(sent: list[tuple[int, int, int]]) -> None:
    world = a_world()
    first: dict[tuple[int, int], int] = {}
    for meter, mtu, import_wh in sent:
        mtu_start = MTU_START + MTU_LENGTH_S * mtu
        text = world.devices[meter].sign(a_reading(meter=meter, mtu_start=mtu_start, import_wh=import_wh))
        earlier = first.setdefault((meter, mtu_start), import_wh)
        fresh = (meter, mtu_start) not in world.store.kept
        expected = ACCEPTED if fresh else DUPLICATE if earlier == import_wh else ReadingStatus.DISPUTED
        assert statuses(world, [text]) == [expected]
    assert {key: kept.reading.import_wh for key, kept in world.store.kept.items()} == first


def test_a_batch_of_the_greatest_size_is_read_and_a_larger_one_is_not() -> None:
    world = a_world()
    text = text_of(world, 1)
    assert len(world.service.accept([text] * MAX_BATCH_READINGS)) == 500
    with pytest.raises(BatchTooLarge):
        world.service.accept([text_of(world, 2)] * (MAX_BATCH_READINGS + 1))
    assert list(world.store.kept) == [(1, MTU_START)]


def test_an_empty_batch_has_no_outcomes() -> None:
    assert a_world().service.accept([]) == ()


def test_the_fakes_implement_the_ports() -> None:
    directory: MeterDirectory = FakeDirectory([])
    store: ReadingStore = FakeStore(FakeDirectory([]))
    assert directory.facts_of({1}) == {}
    assert store.find(1, MTU_START) is None


def test_an_unknown_meter_is_named() -> None:
    world = a_world()
    (outcome,) = world.service.accept([world.devices[1].sign(a_reading(meter=77))])
    assert isinstance(outcome.error, UnknownMeter)
    assert (outcome.error.code(), outcome.error.values()) == ("unknown-meter", {"meter": 77})
