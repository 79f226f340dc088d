"""Small changes to exported files, one record at a time."""

from dataclasses import dataclass

from tests.audit.fakes import MemoryFiles

from gridledger.audit.formats import ROW_FILES
from gridledger.audit.model import Slot, chunk_name, meter_name, slot_name

__all__ = ["CELLS", "EVERY_CELL", "ROWS", "Cell", "change_cell", "names_of"]

_OTHER_WORDS = {
    "true": "false",
    "false": "true",
    "buy": "sell",
    "sell": "buy",
    "any": "low_carbon",
    "low_carbon": "any",
    "limit": "pegged",
    "pegged": "limit",
    "deal": "auction",
    "auction": "deal",
    "replacement": "reset",
    "reduce": "increase",
    "not funded": "suspended",
    "suspended": "not funded",
    "cancelled on chain": "suspended",
}
_FILLED_IN = {"ineligible": "not funded"}
_COLUMNS = {file.name: list(file.columns) for file in ROW_FILES}
ROWS = {
    "orders.csv": 59,
    "acceptances.csv": 3,
    "cancellations.csv": 2,
    "bulk_cancellations.csv": 1,
    "books.csv": 64,
    "trades.csv": 31,
    "positions.csv": 48,
    "setpoints.csv": 51,
    "readings.csv": 45,
    "meter_events.csv": 1,
    "meters.csv": 7,
    "demand_events.csv": 1,
    "demand_participations.csv": 2,
    "demand_measurements.csv": 3,
    "demand_shifts.csv": 6,
}


@dataclass(frozen=True)
class Cell:
    """One value of one file; rows count from 1."""

    file: str
    row: int
    column: str

    def __str__(self) -> str:
        return f"{self.file}-{self.row}-{self.column}"


EVERY_CELL = [
    Cell(file, row, column) for file, rows in ROWS.items() for row in range(1, rows + 1) for column in _COLUMNS[file]
]
# one row per column, another one for each column, so that most rows have their turn
CELLS = [cell for cell in EVERY_CELL if cell.row == 1 + 5 * _COLUMNS[cell.file].index(cell.column) % ROWS[cell.file]]


def change_cell(files: MemoryFiles, cell: Cell) -> None:
    """Flip one digit or letter of a value, or replace a word by another one of its kind."""
    rows = files.table(cell.file)
    index = rows[0].index(cell.column)
    before = rows[cell.row][index]
    rows[cell.row][index] = _changed(cell.column, before)
    assert rows[cell.row][index] != before
    files.put_table(cell.file, rows)


def _changed(column: str, text: str) -> str:
    if text == "":
        return _FILLED_IN.get(column, "0")
    if text in _OTHER_WORDS:
        return _OTHER_WORDS[text]
    if column == "interval_start":
        return text.replace("00Z", "01Z")
    if column == "text":  # inside the payload
        middle = len(text) // 3
        return _with(text, middle, "A" if text[middle] != "A" else "B")
    place = len(text) - 1
    if column in ("owner", "supplier", "account"):
        place = next(at for at in reversed(range(len(text))) if text[at].isdigit())
    return _with(text, place, _other_character(text[place]))


def _other_character(character: str) -> str:
    if character.isdigit():
        return str((int(character) + 1) % 10) if character != "9" else "8"
    return "b" if character != "b" else "c"


def _with(text: str, place: int, character: str) -> str:
    return text[:place] + character + text[place + 1 :]


def names_of(files: MemoryFiles, file: str, row: int) -> tuple[str, ...]:
    """How a mismatch may name a row: by its record, or where it cannot be read by its line."""
    header, values = files.table(file)[0], files.table(file)[row]
    cell = dict(zip(header, values, strict=True))
    line = f"{file} line {row + 1}"
    if file == "bulk_cancellations.csv":
        return f"cancellation of {cell['owner']} up to salt", f"up to salt {cell['salt']}", line
    if "uid" in cell:
        return cell["uid"], f"(receipt {cell.get('running_number')})", line
    if file == "readings.csv":
        return f"meter {cell['meter']}, MTU {cell['interval_start']}", line
    if file.startswith(("demand_", "meter")):
        return cell.get("event_id", f"meter {cell.get('meter')}"), line
    slot = Slot(int(cell["zone"]), int(cell["mtu_start"]))
    meter, chunk = meter_name(int(cell.get("meter", 0)), slot.mtu_start), int(cell.get("chunk", 0))
    named = {
        "trades.csv": (f"{chunk_name(slot, chunk)}, trade {cell.get('position')}",),
        "setpoints.csv": (f"{meter}, setpoint", f"{slot_name(slot)}, root of the setpoints"),
        "positions.csv": (meter if chunk == 0 else f"{meter}, chunk {chunk}",),
    }
    return (*named[file], line)
