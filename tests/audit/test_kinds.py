"""Every exported value has exactly one text: what is written is read back, and nothing else reads as the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.audit import kinds
from gridledger.audit.formats import ROW_FILES, csv_line, csv_values
from gridledger.audit.kinds import Kind
from gridledger.audit.model import TradeKind
from gridledger.market.model import Side

PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).filter(str.isprintable)
SAMPLES: list[tuple[Kind, st.SearchStrategy[Any]]] = [
    (kinds.WHOLE, st.integers(0, 10**38)),
    (kinds.INTEGER, st.integers(-(10**38), 10**38)),
    (kinds.OPTIONAL_WHOLE, st.none() | st.integers(0, 10**38)),
    (kinds.OPTIONAL_INTEGER, st.none() | st.integers(-(10**38), 10**38)),
    (kinds.BYTES32, st.binary(min_size=32, max_size=32)),
    (kinds.SIGNATURE, st.binary(min_size=65, max_size=65)),
    (kinds.TEXT, PRINTABLE),
    (kinds.OPTIONAL_TEXT, st.none() | PRINTABLE),
    (kinds.FLAG, st.booleans()),
    (kinds.MOMENT, st.integers(0, 253_402_300_799)),
    (kinds.SIDE, st.sampled_from(Side)),
    (kinds.TRADE_KIND, st.sampled_from(TradeKind)),
]


@pytest.mark.parametrize(("kind", "values"), SAMPLES, ids=[kind.name for kind, _ in SAMPLES])
def test_what_is_written_is_read_back(kind: Kind, values: st.SearchStrategy[Any]) -> None:
    @given(values)
    def check(value: Any) -> None:
        assert kind.read(kind.write(value)) == value

    check()


@given(st.text(max_size=8))
def test_a_text_that_reads_as_a_number_is_the_one_text_of_that_number(text: str) -> None:
    for kind in (kinds.WHOLE, kinds.INTEGER):
        try:
            value = kind.read(text)
        except ValueError:
            continue
        assert kind.write(value) == text


@pytest.mark.parametrize("text", ["2016-06-13T00:00:00+00:00", "2016-06-13 00:00:00Z", "20160613T000000Z", "", "x"])
def test_a_moment_has_one_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        kinds.MOMENT.read(text)


@given(st.lists(PRINTABLE | st.just(""), min_size=2, max_size=6))
def test_a_line_reads_back_as_its_values(values: list[str]) -> None:
    assert csv_values(csv_line(values).removesuffix("\n")) == values


def test_the_columns_of_every_file_are_the_fields_of_its_rows() -> None:
    for file in ROW_FILES:
        row_type = type(file.make([None] * len(file.columns)))
        assert tuple(file.columns) == getattr(row_type, "_fields", None), file.name
