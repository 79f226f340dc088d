"""Compiles the contracts once and keeps ABI, bytecode, storage layout and settings in one artifacts file.

A hash over sources, settings, compiler and OpenZeppelin version decides whether the file is still right, so a warm
start needs no compiler. Warnings are errors. `python -m gridledger.chain.compiler` brings the file up to date.
"""

import fcntl
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from eth_typing import ABIElement
from solcx import compile_standard
from solcx.exceptions import SolcError
from solcx.wrapper import get_solc_version

from gridledger.chain.toolchain import SOLC_VERSION, contracts_root, solc_binary
from gridledger.errors import GridLedgerError, InvalidInput, NotFound, Unavailable

__all__ = [
    "EVM_VERSION",
    "OPTIMIZER_RUNS",
    "Artifacts",
    "CodeRange",
    "CompilationFailed",
    "Contract",
    "DependencyMissing",
    "DuplicateContract",
    "StorageVariable",
    "UnknownContract",
    "load_artifacts",
]

EVM_VERSION = "cancun"
OPTIMIZER_RUNS = 200
OPENZEPPELIN = "@openzeppelin/contracts"

_FORMAT_VERSION = 1
_OUTPUT = (
    "abi",
    "evm.bytecode.object",
    "evm.deployedBytecode.object",
    "evm.deployedBytecode.immutableReferences",
    "evm.methodIdentifiers",
    "storageLayout",
)


@dataclass(kw_only=True, eq=False)
class CompilationFailed(InvalidInput):
    """The contracts do not compile without errors and warnings."""

    messages: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((self.title(), *self.messages))


@dataclass(kw_only=True, eq=False)
class DuplicateContract(InvalidInput):
    """Two source files define a contract of the same name."""

    name: str
    source_paths: tuple[str, str]


@dataclass(kw_only=True, eq=False)
class DependencyMissing(Unavailable):
    """A package the contracts import is not installed; run `make setup`."""

    path: str


@dataclass(kw_only=True, eq=False)
class UnknownContract(NotFound):
    """No contract of this name was compiled."""

    name: str


@dataclass(frozen=True, kw_only=True)
class CodeRange:
    """Bytes `start` to `start + length` of the deployed bytecode, filled by the constructor with one immutable."""

    start: int
    length: int


@dataclass(frozen=True, kw_only=True)
class StorageVariable:
    """One state variable: its slot number and its offset inside the slot in bytes."""

    label: str
    slot: int
    offset_bytes: int
    type_name: str


@dataclass(frozen=True, kw_only=True)
class Contract:
    """One compiled contract, library or interface; an interface has empty bytecode."""

    name: str
    source_path: str
    source_sha256: str
    abi: tuple[ABIElement, ...]
    creation_bytecode: bytes
    deployed_bytecode: bytes
    immutable_references: Mapping[str, tuple[CodeRange, ...]]
    storage_layout: tuple[StorageVariable, ...]
    selectors: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """All contracts of one compilation by name, with what is needed to repeat it."""

    input_sha256: str
    compiler_version: str
    settings: Mapping[str, object]
    contracts: Mapping[str, Contract]

    def contract(self, name: str) -> Contract:
        """Return the contract called `name`. Raises UnknownContract."""
        try:
            return self.contracts[name]
        except KeyError:
            raise UnknownContract(name=name) from None


def load_artifacts(source_dir: Path | None = None, build_dir: Path | None = None) -> Artifacts:
    """Return the compiled contracts of `source_dir`, compiling only if something they depend on has changed.

    Defaults: `src` and `build` in the contracts folder. Two processes at once compile once. Raises CompilationFailed,
    DuplicateContract, DependencyMissing and the toolchain's errors.
    """
    sources = _read_sources(source_dir or contracts_root() / "src")
    artifacts_path = (build_dir or contracts_root() / "build") / "artifacts.json"
    input_sha256 = _input_sha256(sources)
    if (stored := _read_stored(artifacts_path, input_sha256)) is None:
        artifacts_path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(artifacts_path.with_suffix(".lock")):
            stored = _read_stored(artifacts_path, input_sha256)
            if stored is None:
                stored = _compile(sources, input_sha256)
                draft = artifacts_path.with_suffix(".tmp")
                draft.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", encoding="utf-8")
                draft.replace(artifacts_path)
    return _artifacts(stored)


def _settings() -> dict[str, Any]:
    return {
        "optimizer": {"enabled": True, "runs": OPTIMIZER_RUNS},
        "viaIR": True,
        "evmVersion": EVM_VERSION,
        "metadata": {"bytecodeHash": "none"},
        "remappings": ["@openzeppelin/=node_modules/@openzeppelin/"],
    }


def _read_sources(source_dir: Path) -> dict[str, str]:
    names = (path.relative_to(source_dir) for path in source_dir.rglob("*.sol"))
    own = sorted(name.as_posix() for name in names if not name.parts[0].startswith("."))  # ape's copies lie in .cache
    return {f"src/{name}": (source_dir / name).read_text(encoding="utf-8") for name in own}


def _openzeppelin_version() -> str:
    manifest = contracts_root() / "node_modules" / OPENZEPPELIN / "package.json"
    if not manifest.is_file():
        raise DependencyMissing(path=str(manifest.parent))
    return str(json.loads(manifest.read_text(encoding="utf-8"))["version"])


def _input_sha256(sources: Mapping[str, str]) -> str:
    parts = {
        "format": _FORMAT_VERSION,
        "sources": sources,
        "settings": _settings(),
        "output": _OUTPUT,
        "compiler": SOLC_VERSION,
        "openzeppelin": _openzeppelin_version(),
    }
    return _sha256(json.dumps(parts, sort_keys=True))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _compile(sources: Mapping[str, str], input_sha256: str) -> dict[str, Any]:
    request = {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in sources.items()},
        "settings": {**_settings(), "outputSelection": {path: {"*": list(_OUTPUT)} for path in sources}},
    }
    binary = solc_binary()
    try:
        answer = compile_standard(request, solc_binary=binary, base_path=contracts_root(), allow_empty=True)
    except SolcError as error:
        findings = cast(list[dict[str, str]], error.error_dict or [])
        raise CompilationFailed(messages=_messages(findings) or (str(error),)) from None
    if warnings := answer.get("errors"):
        raise CompilationFailed(messages=_messages(warnings))
    return {
        "input_sha256": input_sha256,
        "compiler_version": str(get_solc_version(binary, with_commit_hash=True)),
        "settings": _settings(),
        "contracts": _stored_contracts(answer.get("contracts", {}), sources),
    }


def _messages(findings: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(finding["formattedMessage"].rstrip() for finding in findings)


def _stored_contracts(compiled: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    contracts: dict[str, Any] = {}
    for source_path in sorted(compiled):
        for name, output in compiled[source_path].items():
            if name in contracts:
                raise DuplicateContract(name=name, source_paths=(contracts[name]["source_path"], source_path))
            contracts[name] = {
                "source_path": source_path,
                "source_sha256": _sha256(sources[source_path]),
                "abi": output["abi"],
                "creation_bytecode": output["evm"]["bytecode"]["object"],
                "deployed_bytecode": output["evm"]["deployedBytecode"]["object"],
                "immutable_references": output["evm"]["deployedBytecode"].get("immutableReferences", {}),
                "storage_layout": output.get("storageLayout", {}).get("storage", []),
                "method_identifiers": output["evm"]["methodIdentifiers"],
            }
    return contracts


def _artifacts(stored: Mapping[str, Any]) -> Artifacts:
    return Artifacts(
        input_sha256=stored["input_sha256"],
        compiler_version=stored["compiler_version"],
        settings=stored["settings"],
        contracts={name: _contract(name, fields) for name, fields in stored["contracts"].items()},
    )


def _contract(name: str, fields: Mapping[str, Any]) -> Contract:
    return Contract(
        name=name,
        source_path=fields["source_path"],
        source_sha256=fields["source_sha256"],
        abi=tuple(cast(list[ABIElement], fields["abi"])),
        creation_bytecode=bytes.fromhex(fields["creation_bytecode"]),
        deployed_bytecode=bytes.fromhex(fields["deployed_bytecode"]),
        immutable_references={
            identifier: tuple(CodeRange(start=one["start"], length=one["length"]) for one in ranges)
            for identifier, ranges in fields["immutable_references"].items()
        },
        storage_layout=tuple(
            StorageVariable(
                label=one["label"], slot=int(one["slot"]), offset_bytes=one["offset"], type_name=one["type"]
            )
            for one in fields["storage_layout"]
        ),
        selectors={signature: bytes.fromhex(text) for signature, text in fields["method_identifiers"].items()},
    )


def _read_stored(path: Path, input_sha256: str) -> dict[str, Any] | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if not isinstance(stored, dict) or stored.get("input_sha256") != input_sha256:
        return None
    return stored


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Bring the artifacts file up to date and say what is in it."""
    try:
        artifacts = load_artifacts()
    except GridLedgerError as error:
        sys.exit(str(error))
    deployable = sum(1 for contract in artifacts.contracts.values() if contract.creation_bytecode)
    print(f"{deployable} contracts compiled by solc {artifacts.compiler_version}, input {artifacts.input_sha256[:12]}")


if __name__ == "__main__":
    main()
