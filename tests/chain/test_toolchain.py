"""The toolchain finds exactly the pinned programs, names what is missing and never falls back in silence."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gridledger.chain.toolchain import (
    ANVIL_VERSION,
    SOLC_VERSION,
    AnvilMismatch,
    AnvilMissing,
    NodeMissing,
    SolcMissing,
    contracts_root,
    find_anvil,
    find_node,
    prepare_toolchain,
    solc_binary,
    toolchain_root,
    wheel_npm,
)

Programs = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path) -> Programs:
    """Write a program into a folder of its own that answers `--version` with the given text."""

    def write(name: str, answer: str) -> Path:
        path = tmp_path / "programs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A contracts folder of its own that shares the installed npm packages."""
    folder = tmp_path / "elsewhere" / "contracts"
    folder.mkdir(parents=True)
    (folder / "node_modules").symlink_to(contracts_root() / "node_modules")
    return folder


def run_solc(words: list[str], given: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(solc_binary()), *words], input=given, capture_output=True, text=True, check=False, timeout=120, cwd=folder
    )


def test_a_system_node_of_version_20_is_used(program: Programs) -> None:
    node = program("node", "v20.0.0")
    assert find_node({"PATH": str(node.parent)}) == node


def test_an_older_system_node_is_not_used(program: Programs) -> None:
    old = program("node", "v18.19.0")
    if wheel_npm() is None:
        with pytest.raises(NodeMissing) as raised:
            find_node({"PATH": str(old.parent)})
        assert raised.value.found == "18.19.0"
    else:
        assert find_node({"PATH": str(old.parent)}) != old


def test_anvil_is_the_native_program_and_not_the_wrapper() -> None:
    anvil = find_anvil()
    assert not anvil.read_bytes().startswith(b"#!")
    answer = subprocess.run([str(anvil), "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    assert f"anvil Version: {ANVIL_VERSION}" in answer


def test_an_anvil_named_in_the_environment_wins(program: Programs) -> None:
    named = program("other-anvil", f"anvil Version: {ANVIL_VERSION}")
    assert find_anvil({"GRIDLEDGER_ANVIL": str(named)}) == named


def test_an_anvil_of_another_version_is_refused_with_both_versions(program: Programs) -> None:
    named = program("other-anvil", "anvil Version: 1.6.0")
    with pytest.raises(AnvilMismatch) as raised:
        find_anvil({"GRIDLEDGER_ANVIL": str(named)})
    assert (raised.value.found, raised.value.required) == ("1.6.0", ANVIL_VERSION)


def test_a_development_build_of_anvil_is_not_taken_for_the_release(program: Programs) -> None:
    named = program("other-anvil", f"anvil Version: {ANVIL_VERSION}-nightly")
    with pytest.raises(AnvilMismatch):
        find_anvil({"GRIDLEDGER_ANVIL": str(named)})


def test_a_missing_anvil_is_named_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(AnvilMissing) as raised:
        find_anvil({"GRIDLEDGER_CONTRACTS_DIR": str(tmp_path)})
    assert str(tmp_path) in raised.value.path


def test_a_native_solc_of_the_pinned_version_is_preferred(program: Programs) -> None:
    native = program("solc", f"solc, the compiler\nVersion: {SOLC_VERSION}+commit.73712a01.Linux.g++")
    assert solc_binary({"PATH": str(native.parent)}) == native


def test_a_native_solc_of_another_version_is_passed_over(program: Programs, contracts: Path) -> None:
    native = program("solc", "solc, the compiler\nVersion: 0.8.29+commit.ab55807c.Linux.g++")
    env = {"PATH": f"{native.parent}{os.pathsep}{os.environ['PATH']}", "GRIDLEDGER_CONTRACTS_DIR": str(contracts)}
    assert solc_binary(env) == contracts.parent / ".toolchain" / f"solc-v{SOLC_VERSION}"


def test_without_npm_packages_solc_is_reported_missing(tmp_path: Path) -> None:
    with pytest.raises(SolcMissing) as raised:
        solc_binary({"PATH": "", "GRIDLEDGER_CONTRACTS_DIR": str(tmp_path)})
    assert raised.value.required == SOLC_VERSION


def test_an_npm_solc_of_another_version_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "solc"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"name": "solc", "version": "0.8.29"}))
    with pytest.raises(SolcMissing) as raised:
        solc_binary({"PATH": "", "GRIDLEDGER_CONTRACTS_DIR": str(tmp_path)})
    assert raised.value.found == "0.8.29"


def test_the_prepared_folder_makes_all_three_programs_reachable_without_any_path(contracts: Path) -> None:
    root = prepare_toolchain({"PATH": os.environ["PATH"], "GRIDLEDGER_CONTRACTS_DIR": str(contracts)})
    answers = {
        name: subprocess.run([str(root / name), "--version"], capture_output=True, text=True, check=True, env={}).stdout
        for name in ("node", "anvil", f"solc-v{SOLC_VERSION}")
    }
    assert root == contracts.parent / ".toolchain"
    assert answers["node"].startswith("v")
    assert f"anvil Version: {ANVIL_VERSION}" in answers["anvil"]
    assert f"Version: {SOLC_VERSION}+commit." in answers[f"solc-v{SOLC_VERSION}"]


def test_py_solc_x_takes_the_prepared_folder_for_an_installed_compiler() -> None:
    env = {**os.environ, "SOLCX_BINARY_PATH": str(prepare_toolchain())}
    question = "import solcx; print([str(version) for version in solcx.get_installed_solc_versions()])"
    words = [sys.executable, "-c", question]
    answer = subprocess.run(words, capture_output=True, text=True, check=True, env=env, timeout=60).stdout
    assert answer.strip() == f"['{SOLC_VERSION}']"
    assert toolchain_root() == Path(env["SOLCX_BINARY_PATH"])


def test_the_compiler_answers_a_large_request_completely() -> None:
    functions = "".join(f"function f{number}() external pure {{}}\n" for number in range(2_000))
    source = f"// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.30;\ncontract C {{ {functions} }}"
    request = {
        "language": "Solidity",
        "sources": {"C.sol": {"content": source}},
        "settings": {"outputSelection": {"*": {"*": ["abi", "evm.methodIdentifiers"], "": ["ast"]}}},
    }
    done = run_solc(["--standard-json"], json.dumps(request))
    assert done.returncode == 0
    assert len(done.stdout) > 1_000_000
    assert len(json.loads(done.stdout)["contracts"]["C.sol"]["C"]["abi"]) == 2_000


def test_findings_of_the_compiler_are_part_of_the_answer_and_not_an_exit_code() -> None:
    done = run_solc(["--standard-json"], "{}")
    assert done.returncode == 0
    assert json.loads(done.stdout)["errors"][0]["severity"] == "error"


def test_an_unknown_option_is_refused_as_native_solc_refuses_it() -> None:
    done = run_solc(["--frobnicate"])
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("unrecognised option '--frobnicate'")


def test_an_import_is_read_below_the_base_path_but_not_outside_of_it(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    text = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.30;\ninterface Far {}"
    (base / "Near.sol").write_text(text)
    (tmp_path / "Far.sol").write_text(text)
    (base / "Link.sol").symlink_to(tmp_path / "Far.sol")

    def messages_when_importing(name: str) -> list[str]:
        source = f'// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.30;\nimport "{name}";'
        request = {"language": "Solidity", "sources": {"Main.sol": {"content": source}}, "settings": {}}
        done = run_solc(["--standard-json", "--base-path", str(base)], json.dumps(request))
        return [finding["message"] for finding in json.loads(done.stdout).get("errors", [])]

    assert messages_when_importing("Near.sol") == []
    assert "File outside of allowed directories" in messages_when_importing("Link.sol")[0]
    assert "File outside of allowed directories" in messages_when_importing(str(tmp_path / "Far.sol"))[0]
    assert "File not found" in messages_when_importing("Missing.sol")[0]
