"""A fleet of meters that plays recorded intervals as OCMF texts, with faults drawn from a seed. Pure.

Each meter's registers start at zero and count on; at every moment where intervals meet it signs what they show.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from gridledger.errors import InvalidInput
from gridledger.metering.ocmf import sign_registers
from gridledger.metering.registers import RegisterReading
from gridledger.simulation.inputs import MeterReading, ReadingsFile

__all__ = ["FAULTS", "FaultRefused", "Fleet", "FleetBatch", "FleetMeter", "parse_faults"]

FAULTS = ("drop", "delay", "duplicate", "reorder", "corrupt", "skew", "reset")
_MOST_MOMENTS_LATE = 5
_MOST_SKEW_S = 300


@dataclass(kw_only=True, eq=False)
class FaultRefused(InvalidInput):
    """A fault is one of the known ones with a probability, e.g. drop=0.01."""

    text: str
    known: tuple[str, ...] = FAULTS


@dataclass(frozen=True, kw_only=True)
class FleetMeter:
    """A device: its meter's number in the registry, its serial and its key."""

    number: int
    serial: str
    key: EllipticCurvePrivateKey


@dataclass(frozen=True, kw_only=True)
class FleetBatch:
    """What reaches the node at a moment (Unix seconds), and the faults that happened on the way."""

    moment: int
    texts: tuple[str, ...]
    faults: Mapping[str, int]


@dataclass(kw_only=True)
class _Registers:
    import_wh: int = 0
    export_wh: int = 0
    counter: int = 0


@dataclass(kw_only=True)
class Fleet:
    """Plays the meters of a file that are in `meters` (by the file's meter id). The same seed plays the same texts."""

    meters: Mapping[str, FleetMeter]
    faults: Mapping[str, float]
    seed: int
    _registers: dict[str, _Registers] = field(default_factory=dict)
    _late: dict[int, list[str]] = field(default_factory=dict)

    def play(self, readings: ReadingsFile) -> Iterator[FleetBatch]:
        """Batches in the order of time; what is delayed comes with a later one, at the latest with the last."""
        chance = random.Random(self.seed)  # noqa: S311 - a simulation, not a secret
        starts = readings.mtu_starts
        length_s = readings.mtu_length_s
        moments = sorted({*starts, *(start + length_s for start in starts)})
        for number, moment in enumerate(moments):
            happened: Counter[str] = Counter()
            texts = [text for due in sorted(self._late) if due <= number for text in self._late.pop(due)]
            ended = {one.meter_id: one for one in readings.at(moment - length_s)}
            begun = {one.meter_id for one in readings.at(moment)}
            for meter_id in sorted((ended.keys() | begun) & self.meters.keys()):
                shown = self._shown(meter_id, moment, ended.get(meter_id), chance, happened)
                texts.extend(self._sent(shown, number, chance, happened))
            if self._happens("reorder", chance, happened):
                chance.shuffle(texts)
            yield FleetBatch(moment=moment, texts=tuple(texts), faults=happened)
        if self._late:
            texts = [text for due in sorted(self._late) for text in self._late.pop(due)]
            yield FleetBatch(moment=moments[-1], texts=tuple(texts), faults={})

    def _shown(
        self, meter_id: str, moment: int, ended: MeterReading | None, chance: random.Random, happened: Counter[str]
    ) -> str:
        """What the meter's device signs at a moment."""
        meter, registers = self.meters[meter_id], self._registers.setdefault(meter_id, _Registers())
        if self._happens("reset", chance, happened):
            registers.import_wh = registers.export_wh = 0
        if ended is not None:
            registers.import_wh += ended.import_wh
            registers.export_wh += ended.export_wh
        registers.counter += 1
        reading = RegisterReading(
            meter=meter.number,
            meter_id=meter.serial,
            taken_at=moment,
            import_register_wh=registers.import_wh,
            export_register_wh=registers.export_wh,
            counter=registers.counter,
        )
        if self._happens("skew", chance, happened):
            reading = replace(reading, taken_at=moment + chance.randint(1, _MOST_SKEW_S))
        return sign_registers(reading, meter.key)

    def _sent(self, text: str, number: int, chance: random.Random, happened: Counter[str]) -> list[str]:
        """What of a text goes out now, as often as it does."""
        if self._happens("drop", chance, happened):
            return []
        if self._happens("corrupt", chance, happened):
            place = chance.randrange(len(text))
            text = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        if self._happens("delay", chance, happened):
            self._late.setdefault(number + chance.randint(1, _MOST_MOMENTS_LATE), []).append(text)
            return []
        return [text] * (2 if self._happens("duplicate", chance, happened) else 1)

    def _happens(self, fault: str, chance: random.Random, happened: Counter[str]) -> bool:
        occurs = chance.random() < self.faults.get(fault, 0.0)
        if occurs:
            happened[fault] += 1
        return occurs


def parse_faults(texts: list[str]) -> dict[str, float]:
    """Probabilities by fault from texts such as drop=0.01. Raises FaultRefused."""
    faults: dict[str, float] = {}
    for text in texts:
        name, _, probability = text.partition("=")
        try:
            value = float(probability)
        except ValueError:
            value = -1.0
        if name not in FAULTS or not 0 <= value <= 1:
            raise FaultRefused(text=text)
        faults[name] = value
    return faults
