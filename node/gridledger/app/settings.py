"""What an operator may set for a node beyond where it listens, by GRIDLEDGER_* variables of the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gridledger.webhooks.targets import AllowList

__all__ = ["NodeSettings"]


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """`public_url` is the origin that members sign in to, `webhook_allow` what webhooks may call beyond the public."""

    public_url: str = "http://127.0.0.1:8000"
    webhook_allow: AllowList = field(default_factory=AllowList)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, listens_at: str) -> "NodeSettings":
        """Settings of this environment; members sign in to where the node listens unless told otherwise.

        Raises WebhookAllowMalformed.
        """
        return cls(
            public_url=environment.get("GRIDLEDGER_PUBLIC_URL") or listens_at,
            webhook_allow=AllowList.parse(environment.get("GRIDLEDGER_WEBHOOK_ALLOW", "")),
        )
