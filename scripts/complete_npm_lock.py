"""Complete package-lock.json with optional platform packages that npm left out.

npm writes an optional dependency into the lock only if the registry it asks has it, and `npm ci` refuses a lock
without them ("Missing: ... from lock file"). Each missing one is added with its exact version and platform; its content
is checked after installation by scripts/install_npm.py.
"""

import json
import sys
from pathlib import Path

NODE_OS_BY_NAME = {"linux": "linux", "darwin": "darwin", "win32": "win32"}
NODE_CPU_BY_NAME = {"amd64": "x64", "arm64": "arm64"}


def platform_entry(name: str, version: str) -> dict[str, object]:
    """Return the lock entry of a package called `<anything>-<os>-<cpu>`. Raises ValueError for another name."""
    _, os_name, cpu_name = name.rsplit("-", 2)
    if os_name not in NODE_OS_BY_NAME or cpu_name not in NODE_CPU_BY_NAME:
        raise ValueError(f"{name}: no known platform in the package's name")
    return {
        "version": version,
        "cpu": [NODE_CPU_BY_NAME[cpu_name]],
        "optional": True,
        "os": [NODE_OS_BY_NAME[os_name]],
    }


def complete(lock: dict[str, dict[str, dict[str, object]]]) -> list[str]:
    """Add the missing optional platform packages to the parsed `lock` and return their names in order."""
    packages = lock["packages"]
    added = []
    for package in list(packages.values()):
        optional = package.get("optionalDependencies", {})
        if not isinstance(optional, dict):
            raise TypeError(f"optionalDependencies is {optional!r}, not an object")
        for name, version in optional.items():
            path = f"node_modules/{name}"
            if path not in packages:
                packages[path] = platform_entry(name, version)
                added.append(name)
    lock["packages"] = dict(sorted(packages.items()))
    return sorted(added)


def main() -> None:
    """Complete the lock file named on the command line in place."""
    path = Path(sys.argv[1])
    lock = json.loads(path.read_text())
    for name in complete(lock):
        print(f"{path}: added {name}")
    path.write_text(json.dumps(lock, indent=2) + "\n")


if __name__ == "__main__":
    main()
