"""The contracts' libraries opened to the tests, and cases of every magnitude to compare them with the node's rules."""

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

from pyrevm import EVM
from tests.contracts.evm import compiled, revert_bytes
from tests.contracts.words import SPEC_ID, TESTS_ROOT

from gridledger.chain.codec import ContractCodec, decode_revert
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.toolchain import contracts_root

__all__ = [
    "BATCH",
    "CALLER",
    "CASES",
    "INT64",
    "UINT64",
    "Rules",
    "batches",
    "cases_of",
    "differences",
    "drawn",
    "near",
]

CASES = 5_000
BATCH = 500
INT64 = (-(2**63), 2**63 - 1)
UINT64 = (0, 2**64 - 1)
CALLER = "0x" + "aa" * 20


class Rules:
    """The test-only contract around the libraries, deployed in an EVM of its own."""

    def __init__(self) -> None:
        # The libraries are read from beside the project's contracts; their hash names the folder, so none is stale.
        build = contracts_root() / "build" / "rules-harness" / compiled().input_sha256[:16]
        self._artifacts = load_artifacts(source_dir=TESTS_ROOT / "sources", build_dir=build)
        self._codec = ContractCodec(self._artifacts.contract("RulesHarness"))
        self._evm = EVM(spec_id=SPEC_ID)
        self._address = self._evm.deploy(deployer=CALLER, code=self._codec.creation_data())

    def __call__(self, function: str, *arguments: object) -> Any:
        """One call with one result; raises ContractReverted."""
        (values,) = self.all(function, *arguments)
        return values

    def all(self, function: str, *arguments: object) -> tuple[Any, ...]:
        """One call with all its results; raises ContractReverted."""
        data = self._codec.call_data(function, *arguments)
        try:
            answer = self._evm.message_call(caller=CALLER, to=self._address, calldata=data, is_static=True)
        except RuntimeError as error:
            raise decode_revert(self._artifacts, revert_bytes(error)) from None
        return self._codec.result(function, bytes(answer))

    def many(self, function: str, cases: Sequence[tuple[int, ...]]) -> list[Any]:
        """The results of all cases, in batches."""
        results: list[Any] = []
        for start in range(0, len(cases), BATCH):
            columns = [list(column) for column in zip(*cases[start : start + BATCH], strict=True)]
            results += self(function, *columns)
        return results


def near(bounds: tuple[int, int]) -> list[int]:
    """The extremes of a type and the values around zero that lie inside it."""
    low, high = bounds
    return sorted({low, low + 1, high - 1, high, *(value for value in (-2, -1, 0, 1, 2) if low <= value <= high)})


def drawn(source: random.Random, bounds: tuple[int, int]) -> int:
    """A value of any magnitude inside the bounds, so that small and large ones are equally likely."""
    low, high = bounds
    magnitude = source.getrandbits(source.randint(1, high.bit_length()))
    return max(low, min(high, magnitude if low == 0 or source.random() < 0.5 else -magnitude))


def cases_of(seed: int, *bounds: tuple[int, int]) -> list[tuple[int, ...]]:
    """Every combination of extremes, then random cases, at least CASES in all."""
    source = random.Random(seed)
    extremes = list(product(*(near(one) for one in bounds)))
    return extremes + [tuple(drawn(source, one) for one in bounds) for _ in range(CASES)]


def differences(
    cases: Sequence[tuple[int, ...]], results: Sequence[Any], expected: Callable[..., Any]
) -> list[tuple[Any, ...]]:
    """Cases on which the two disagree, with both results."""
    assert len(cases) == len(results) >= CASES
    return [
        (case, result, expected(*case))
        for case, result in zip(cases, results, strict=True)
        if result != expected(*case)
    ]


def batches(items: Sequence[Any], size: int = BATCH) -> Iterable[Sequence[Any]]:
    """Pieces of a list."""
    return (items[start : start + size] for start in range(0, len(items), size))
