"""The meters' devices: each holds its own P-256 key and signs what it measured. Pure."""

from gridledger.metering.model import DeviceKey, Reading
from gridledger.metering.signed_reading import key_from_seed, public_key, sign
from gridledger.simulation.community import NumberedMeter
from gridledger.simulation.inputs import MeterReading

__all__ = ["MeterDevice"]


class MeterDevice:
    """Signs the readings of one meter; the same reading gives the same text."""

    def __init__(self, meter: NumberedMeter, mtu_length_s: int) -> None:
        self._meter = meter
        self._mtu_length_s = mtu_length_s
        self._key = key_from_seed(meter.device_secret)

    @property
    def public_key(self) -> DeviceKey:
        """What the registry keeps of the device."""
        return public_key(self._key)

    def sign(self, measured: MeterReading) -> str:
        """The signed text of a reading in Wh; the device's counter is the number of the MTU since 1970."""
        reading = Reading(
            meter=self._meter.number,
            meter_id=self._meter.spec.meter_id,
            mtu_start=measured.mtu_start,
            interval_s=self._mtu_length_s,
            import_wh=measured.import_wh,
            export_wh=measured.export_wh,
            counter=measured.mtu_start // self._mtu_length_s,
        )
        return sign(reading, self._key)
