"""Where a node keeps its things."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["NodeFolder"]


@dataclass(frozen=True)
class NodeFolder:
    """Where a node keeps its things."""

    path: Path

    @property
    def market(self) -> Path:
        """The market's fixed facts."""
        return self.path / "market.json"

    @property
    def deployment(self) -> Path:
        """Record of the deployed contracts."""
        return self.path / "deployment.json"

    @property
    def database(self) -> Path:
        """The node's database."""
        return self.path / "node.db"

    @property
    def chain(self) -> Path:
        """The embedded chain's journal."""
        return self.path / "chain"

    @property
    def keys(self) -> Path:
        """Encrypted keystore files."""
        return self.path / "keys"

    @property
    def webhook_key(self) -> Path:
        """The key that seals webhook secrets in the database."""
        return self.keys / "webhooks.key"

    @property
    def clock_socket(self) -> Path:
        """Private socket that moves a simulated clock."""
        return self.path / "clock.sock"

    @property
    def log(self) -> Path:
        """What the node process prints."""
        return self.path / "node.log"
