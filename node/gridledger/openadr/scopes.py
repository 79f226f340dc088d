"""Who may do what: the standard's scopes, which of them a client's role has, and what each route asks for."""

from dataclasses import dataclass

from gridledger.errors import Forbidden
from gridledger.store.openadr_clients import ClientRole
from gridledger.store.openadr_model import ObjectKind

__all__ = [
    "BROKER_SCOPES",
    "BUSINESS_SCOPES",
    "READ_SCOPES",
    "ROLE_SCOPES",
    "WRITE_SCOPES",
    "Caller",
    "ScopeMissing",
]

_READS_ALL = frozenset({"read_all"})
_WRITES_OWN = frozenset({"write_subscriptions", "write_vens"})
ROLE_SCOPES = {
    ClientRole.BL: _READS_ALL
    | {"read_bl", "read_targets", "read_ven_objects", "write_programs", "write_events"}
    | _WRITES_OWN,
    ClientRole.VEN: frozenset({"read_targets", "read_ven_objects", "write_reports"}) | _WRITES_OWN,
}
_TARGETED = frozenset({"read_targets"}) | _READS_ALL
_OWN = frozenset({"read_ven_objects"}) | _READS_ALL
READ_SCOPES = {
    ObjectKind.PROGRAM: _TARGETED,
    ObjectKind.EVENT: _TARGETED,
    ObjectKind.REPORT: _OWN,
    ObjectKind.SUBSCRIPTION: _OWN,
    ObjectKind.VEN: _OWN,
    ObjectKind.RESOURCE: _OWN,
}
WRITE_SCOPES = {
    ObjectKind.PROGRAM: frozenset({"write_programs"}),
    ObjectKind.EVENT: frozenset({"write_events"}),
    ObjectKind.REPORT: frozenset({"write_reports"}),
    ObjectKind.SUBSCRIPTION: frozenset({"write_subscriptions"}),
    ObjectKind.VEN: frozenset({"write_vens"}),
    ObjectKind.RESOURCE: frozenset({"write_vens"}),
}
BROKER_SCOPES = _TARGETED | _OWN  # everybody who may read something; the YAML has no refusal for these routes
BUSINESS_SCOPES = frozenset({"read_bl"}) | _READS_ALL


@dataclass(kw_only=True, eq=False)
class ScopeMissing(Forbidden):
    """The token lacks the scope for this: one of these is needed."""

    scopes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whose token a request carries and what it is good for."""

    client_id: str
    role: ClientRole
    scopes: frozenset[str]

    @property
    def reads_all(self) -> bool:
        """Whether every object is visible, whatever its targets and whoever it belongs to."""
        return not self.scopes.isdisjoint(_READS_ALL)

    def need(self, scopes: frozenset[str]) -> None:
        """Raises ScopeMissing unless the token has one of the scopes."""
        if self.scopes.isdisjoint(scopes):
            raise ScopeMissing(scopes=tuple(sorted(scopes)))
