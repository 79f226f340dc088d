"""The artifacts file is right, renewed exactly when it has to be, and never made from code the compiler warns about."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gridledger.chain.compiler import (
    EVM_VERSION,
    OPTIMIZER_RUNS,
    Artifacts,
    CompilationFailed,
    DuplicateContract,
    UnknownContract,
    load_artifacts,
)
from gridledger.chain.toolchain import SOLC_VERSION, contracts_root, solc_binary

HEADER = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.30;\n"
PUSH32 = 0x7F
METER = HEADER + (
    'import {IMeter} from "./interfaces/IMeter.sol";\n'
    "contract Meter is IMeter {\n"
    "    uint64 public immutable ENERGY_WH;\n"
    "    uint32 public zone;\n"
    "    uint32 public feeder;\n"
    "    constructor(uint64 energyWh) { ENERGY_WH = energyWh; }\n"
    "    function read() external view returns (uint64) { return ENERGY_WH; }\n"
    "}\n"
)
INTERFACE = HEADER + "interface IMeter { function read() external view returns (uint64); }\n"
TOKEN = HEADER + (
    'import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";\n'
    'contract Token is ERC20 { constructor() ERC20("Token", "T") {} }\n'
)


def write_sources(folder: Path) -> Path:
    (folder / "interfaces").mkdir(parents=True)
    (folder / "Meter.sol").write_text(METER)
    (folder / "interfaces" / "IMeter.sol").write_text(INTERFACE)
    return folder


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A source folder with one contract and its interface."""
    return write_sources(tmp_path / "src")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """One compilation of a contract, its interface and a token from OpenZeppelin, for tests that only look."""
    folder = tmp_path_factory.mktemp("compiled")
    (write_sources(folder / "src") / "Token.sol").write_text(TOKEN)
    return load_artifacts(folder / "src", folder / "build")


def test_the_artifacts_hold_own_contracts_only(artifacts: Artifacts) -> None:
    assert set(artifacts.contracts) == {"Meter", "IMeter", "Token"}
    assert artifacts.contract("IMeter").source_path == "src/interfaces/IMeter.sol"


def test_abi_and_selectors_include_what_a_contract_inherits(artifacts: Artifacts) -> None:
    token = artifacts.contract("Token")
    assert token.selectors["transfer(address,uint256)"].hex() == "a9059cbb"
    assert {"transfer", "Transfer"} <= {str(item.get("name")) for item in token.abi}


def test_an_interface_has_no_bytecode_and_a_contract_has(artifacts: Artifacts) -> None:
    assert artifacts.contract("IMeter").creation_bytecode == b""
    meter = artifacts.contract("Meter")
    assert meter.deployed_bytecode in meter.creation_bytecode


def test_immutables_are_located_in_the_deployed_bytecode(artifacts: Artifacts) -> None:
    meter = artifacts.contract("Meter")
    (ranges,) = meter.immutable_references.values()
    assert ranges
    for part in ranges:
        assert meter.deployed_bytecode[part.start - 1] == PUSH32
        assert meter.deployed_bytecode[part.start : part.start + part.length] == bytes(32)


def test_the_storage_layout_tells_slot_and_offset(artifacts: Artifacts) -> None:
    layout = {variable.label: variable for variable in artifacts.contract("Meter").storage_layout}
    assert layout["zone"].slot == layout["feeder"].slot
    assert layout["feeder"].offset_bytes == layout["zone"].offset_bytes + 4
    assert layout["zone"].type_name == "t_uint32"


def test_compiler_and_settings_that_decide_the_bytecode_are_recorded(artifacts: Artifacts) -> None:
    assert artifacts.compiler_version.startswith("0.8.30+commit.")
    assert artifacts.settings["evmVersion"] == EVM_VERSION
    assert artifacts.settings["viaIR"] is True
    assert artifacts.settings["optimizer"] == {"enabled": True, "runs": OPTIMIZER_RUNS}
    assert artifacts.settings["metadata"] == {"bytecodeHash": "none"}


def test_ape_compiles_with_the_same_settings() -> None:
    config = yaml.safe_load((contracts_root().parent / "ape-config.yaml").read_text())["solidity"]
    assert config["version"] == SOLC_VERSION
    assert (config["optimize"], config["optimization_runs"]) == (True, OPTIMIZER_RUNS)
    assert (config["via_ir"], config["evm_version"]) == (True, EVM_VERSION)


def test_unchanged_sources_are_not_compiled_again(sources: Path, tmp_path: Path) -> None:
    first = load_artifacts(sources, tmp_path / "build")
    path = tmp_path / "build" / "artifacts.json"
    marked = json.loads(path.read_text()) | {"compiler_version": "read from the file"}
    path.write_text(json.dumps(marked))
    second = load_artifacts(sources, tmp_path / "build")
    assert second.compiler_version == "read from the file"
    assert second.contracts == first.contracts


def test_a_changed_source_is_compiled_again(sources: Path, tmp_path: Path) -> None:
    first = load_artifacts(sources, tmp_path / "build")
    (sources / "Meter.sol").write_text(METER.replace("uint32 public feeder", "uint64 public feeder"))
    second = load_artifacts(sources, tmp_path / "build")
    assert second.input_sha256 != first.input_sha256
    assert second.contract("Meter").source_sha256 != first.contract("Meter").source_sha256
    assert second.contract("IMeter").source_sha256 == first.contract("IMeter").source_sha256


def test_a_torn_artifacts_file_is_replaced(sources: Path, tmp_path: Path) -> None:
    first = load_artifacts(sources, tmp_path / "build")
    path = tmp_path / "build" / "artifacts.json"
    path.write_text(path.read_text()[:200])
    assert load_artifacts(sources, tmp_path / "build") == first


def test_copies_of_packages_in_hidden_folders_are_not_sources(sources: Path, tmp_path: Path) -> None:
    (sources / ".cache").mkdir()
    (sources / ".cache" / "Broken.sol").write_text("not Solidity")
    assert set(load_artifacts(sources, tmp_path / "build").contracts) == {"Meter", "IMeter"}


def test_an_error_is_reported_with_file_and_line_and_leaves_no_artifacts(sources: Path, tmp_path: Path) -> None:
    (sources / "Broken.sol").write_text(HEADER + "contract Broken { uint64 wrong = -1; }\n")
    with pytest.raises(CompilationFailed) as raised:
        load_artifacts(sources, tmp_path / "build")
    assert "src/Broken.sol:3" in raised.value.messages[0]
    assert not (tmp_path / "build" / "artifacts.json").exists()


def test_a_warning_fails_the_compilation(sources: Path, tmp_path: Path) -> None:
    idle = "contract Idle { function f(uint64 unused) external pure returns (uint64) { return 1; } }\n"
    (sources / "Idle.sol").write_text(HEADER + idle)
    with pytest.raises(CompilationFailed) as raised:
        load_artifacts(sources, tmp_path / "build")
    assert "Unused function parameter" in raised.value.messages[0]
    assert not (tmp_path / "build" / "artifacts.json").exists()


def test_two_contracts_of_one_name_are_refused(sources: Path, tmp_path: Path) -> None:
    (sources / "Second.sol").write_text(HEADER + "contract Meter {}\n")
    with pytest.raises(DuplicateContract) as raised:
        load_artifacts(sources, tmp_path / "build")
    assert raised.value.source_paths == ("src/Meter.sol", "src/Second.sol")


def test_an_unknown_contract_is_a_typed_error(artifacts: Artifacts) -> None:
    with pytest.raises(UnknownContract) as raised:
        artifacts.contract("Nobody")
    assert raised.value.name == "Nobody"


@pytest.fixture
def watched_solc(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a solc that notes each call before it passes it on, and the file with its notes."""
    folder, notes = tmp_path / "programs", tmp_path / "notes"
    folder.mkdir()
    (folder / "solc").write_text(f'#!/bin/sh\necho "$1" >> {notes}\nexec {solc_binary()} "$@"\n')
    (folder / "solc").chmod(0o755)
    return folder, notes


def test_processes_started_together_compile_once_and_agree(
    sources: Path, tmp_path: Path, watched_solc: tuple[Path, Path]
) -> None:
    folder, notes = watched_solc
    question = (
        "import sys; from pathlib import Path; from gridledger.chain.compiler import load_artifacts;"
        "print(load_artifacts(Path(sys.argv[1]), Path(sys.argv[2])).contract('Meter').creation_bytecode.hex())"
    )
    words = [sys.executable, "-c", question, str(sources), str(tmp_path / "build")]
    env = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) for _ in range(3)]
    answers = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert answers == {load_artifacts(sources, tmp_path / "build").contract("Meter").creation_bytecode.hex()}
    assert notes.read_text().split().count("--standard-json") == 1
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["artifacts.json", "artifacts.lock"]
