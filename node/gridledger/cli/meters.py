"""`gridledger meter`: a device's key, and its signed texts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gridledger.cli.broker import add_broker_commands
from gridledger.cli.evidence import add_evidence_command
from gridledger.cli.gateways import add_gateway_commands
from gridledger.cli.key_files import OutputExists, load_key, write_key, write_once
from gridledger.cli.operations import FleetRequest, Operations
from gridledger.cli.output import progress, write_json
from gridledger.errors import InvalidInput
from gridledger.metering.certificates import certificate_request
from gridledger.metering.imports.rows import IntervalRow
from gridledger.metering.imports.standard import read_standard
from gridledger.metering.imports.tables import RefusedRow
from gridledger.metering.ocmf import sign_registers
from gridledger.metering.registers import RegisterReading
from gridledger.metering.signed_reading import public_key
from gridledger.text_files import open_lines
from gridledger.units import parse_decimal, parse_utc

__all__ = ["NoRowsOfMeter", "RequestNeedsMeter", "RowNotSigned", "add_meter_commands"]

_DECIMALS = 3  # kWh to Wh
KeyFile = Annotated[Path, typer.Option("--key", exists=True, dir_okay=False, help="The device's private key, PEM.")]
Number = Annotated[int, typer.Option("--meter", min=1, help="The meter's number in the registry.")]
Serial = Annotated[str, typer.Option("--serial", help="The device's serial.")]


@dataclass(kw_only=True, eq=False)
class NoRowsOfMeter(InvalidInput):
    """The file of readings has no row of this meter."""

    meter_id: str


@dataclass(kw_only=True, eq=False)
class RowNotSigned(InvalidInput):
    """A row of the file is refused, and registers that skip it would be wrong from there on."""

    line: int
    reason: str
    problem: str


@dataclass(kw_only=True, eq=False)
class RequestNeedsMeter(InvalidInput):
    """A request for a certificate names a meter, and a meter is named for a request only."""

    meter: int | None


def add_meter_commands(cli: typer.Typer, operations: Operations) -> None:
    """`keygen`, `public`, `sign`, `sign-file`, `simulate`, `evidence`, those of gateways and of `broker`."""
    _add_key_commands(cli)
    _add_sign_commands(cli)
    _add_simulate_command(cli, operations)
    add_gateway_commands(cli, operations)
    add_evidence_command(cli)
    add_broker_commands(cli)


def _add_key_commands(cli: typer.Typer) -> None:

    @cli.command()
    def keygen(
        out: Annotated[Path, typer.Option("--out", dir_okay=False, help="Where the key is written.")],
        request: Annotated[
            Path | None, typer.Option("--request", dir_okay=False, help="Where to write what `certify` reads.")
        ] = None,
        meter: Annotated[int | None, typer.Option("--meter", min=1, help="The number in the registry.")] = None,
    ) -> None:
        """Make a device's P-256 key; prints what the grid operator registers (x and y) and verifiers want (DER)."""
        if (request is None) != (meter is None):
            raise RequestNeedsMeter(meter=meter)
        if request is not None and request.exists():
            raise OutputExists(path=request.name)
        key = generate_private_key(SECP256R1())
        write_key(out, key)
        if request is not None and meter is not None:
            write_once(request, certificate_request(meter, key).public_bytes(Encoding.PEM))
        _print_public(key)

    @cli.command()
    def public(key: KeyFile) -> None:
        """Print the public half of a device's key."""
        _print_public(load_key(key))


def _add_sign_commands(cli: typer.Typer) -> None:
    @cli.command()
    def sign(
        key: KeyFile,
        meter: Number,
        serial: Serial,
        at: Annotated[str, typer.Option("--at", help="When the registers were read, e.g. 2016-06-13T00:15:00Z.")],
        import_kwh: Annotated[str, typer.Option("--import-kwh", help="Register 1-0:1.8.0.")],
        export_kwh: Annotated[str, typer.Option("--export-kwh", help="Register 1-0:2.8.0.")],
        counter: Annotated[int, typer.Option("--counter", min=0, help="The device's pagination.")],
    ) -> None:
        """Sign one register reading as OCMF 1.4."""
        reading = RegisterReading(
            meter=meter,
            meter_id=serial,
            taken_at=parse_utc("at", at),
            import_register_wh=parse_decimal("import_kwh", import_kwh, _DECIMALS),
            export_register_wh=parse_decimal("export_kwh", export_kwh, _DECIMALS),
            counter=counter,
        )
        typer.echo(sign_registers(reading, load_key(key)))

    @cli.command(name="sign-file")
    def sign_file(
        key: KeyFile,
        meter: Number,
        serial: Serial,
        readings: Annotated[Path, typer.Option("--readings", exists=True, dir_okay=False)],
        meter_id: Annotated[str, typer.Option("--meter-id", help="The rows of this meter; default: the serial.")] = "",
    ) -> None:
        """Sign the registers that interval readings of a file (CSV, also gzip) add up to, one OCMF text a line."""
        device = load_key(key)
        for reading in _registers(readings, meter_id or serial, meter, serial):
            typer.echo(sign_registers(reading, device))


def _add_simulate_command(cli: typer.Typer, operations: Operations) -> None:
    @cli.command()
    def simulate(
        readings: Annotated[
            Path, typer.Option("--readings", exists=True, dir_okay=False, help="Intervals, CSV or gzip.")
        ],
        fleet: Annotated[
            Path, typer.Option("--fleet", exists=True, dir_okay=False, help="CSV of meter_id, meter, key (PEM file).")
        ],
        url: Annotated[str, typer.Option("--url", help="The node's API.")] = "http://127.0.0.1:8000",
        speed: Annotated[float, typer.Option("--speed", min=0, help="Multiple of real time; 0 without waiting.")] = 0,
        fault: Annotated[
            list[str] | None, typer.Option("--fault", help="drop, delay, duplicate, reorder, corrupt, skew, reset = p")
        ] = None,
        seed: Annotated[int, typer.Option("--seed", min=0, help="Which faults happen when.")] = 1,
        json_path: Annotated[Path | None, typer.Option("--json", help="Write the result here.")] = None,
    ) -> None:
        """Play a file as the meters of a fleet would: OCMF texts to a node, with faults."""
        request = FleetRequest(readings=readings, fleet=fleet, url=url, speed=speed, faults=fault or [], seed=seed)
        with progress("fleet") as on_progress:
            result = operations.simulate(request, on_progress)
        write_json(json_path, result)


def _registers(path: Path, meter_id: str, meter: int, serial: str) -> Iterator[RegisterReading]:
    """Registers that start at zero, wherever an interval begins or ends."""
    imported = exported = counter = 0
    last: int | None = None
    for row in _rows(path, meter_id):
        ends = ((row.mtu_start, 0, 0), (row.mtu_start + row.interval_s, row.import_wh, row.export_wh))
        for moment, taken, given in ends:
            imported, exported = imported + taken, exported + given
            if moment == last:
                continue
            last, counter = moment, counter + 1
            yield RegisterReading(
                meter=meter,
                meter_id=serial,
                taken_at=moment,
                import_register_wh=imported,
                export_register_wh=exported,
                counter=counter,
            )


def _rows(path: Path, meter_id: str) -> Iterator[IntervalRow]:
    """Intervals of one meter in the file's order. Raises RowNotSigned, NoRowsOfMeter, as `read_standard`."""
    found = False
    with open_lines(path) as opened:
        for row in read_standard(str(path), opened.lines).rows:
            if isinstance(row, RefusedRow):
                raise RowNotSigned(line=row.line_number, reason=row.reason_code, problem=row.text)
            if isinstance(row, IntervalRow) and row.meter_id == meter_id:
                found = True
                yield row
    if not found:
        raise NoRowsOfMeter(meter_id=meter_id)


def _print_public(key: EllipticCurvePrivateKey) -> None:
    device = public_key(key)
    typer.echo(f"x    0x{device.x.hex()}")
    typer.echo(f"y    0x{device.y.hex()}")
    typer.echo(f"der  {key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()}")
