"""Requested withdrawals and credit cuts, replayed from the chain's events; microcents, Unix seconds."""

from dataclasses import dataclass

from gridledger.audit.ports import Event

__all__ = ["WITHDRAWAL_DELAY_S", "Request", "Requests"]

# Half of the grid policy's longest gate closure, and the second of the gate closure itself.
WITHDRAWAL_DELAY_S = 86_401


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for (an amount, or a lower credit limit), and when; zeros where there is nothing."""

    microcents: int = 0
    requested_at: int = 0


class Requests:
    """What is requested of each account. `odd` collects what no honest contract does in that state."""

    def __init__(self, odd: list[tuple[str, str]]) -> None:
        self.withdrawals: dict[str, Request] = {}
        self.cuts: dict[str, Request] = {}
        self._odd = odd

    def withdrawal_requested(self, event: Event, time_s: int, free_microcents: int) -> None:
        """Free money is asked for, or with zero no longer."""
        values, amount = event.arguments, event.arguments["amountMicrocents"]
        if amount > max(0, free_microcents) or values["availableAt"] != time_s + WITHDRAWAL_DELAY_S:
            self._report(event, f"{amount} of {free_microcents}, from {values['availableAt']} on")
        self.withdrawals[values["account"]] = Request(microcents=amount, requested_at=time_s if amount else 0)

    def withdrawn(self, event: Event, time_s: int, free_microcents: int) -> None:
        """What was asked for is paid, as far as it is there."""
        request = self.withdrawals.pop(event.arguments["account"], Request())
        expected = min(request.microcents, max(0, free_microcents))
        if event.arguments["amountMicrocents"] != expected or not _due(request, time_s):
            self._report(event, f"{expected} were requested at {request.requested_at} and free")

    def cut_requested(self, event: Event, time_s: int, credit_microcents: int, supplier: str | None) -> None:
        """A supplier asks for less credit than there is."""
        values, lower = event.arguments, event.arguments["creditMicrocents"]
        stated = (values["supplier"], values["availableAt"])
        if lower >= credit_microcents or stated != (supplier, time_s + WITHDRAWAL_DELAY_S):
            self._report(event, f"{lower} instead of {credit_microcents}, supplier {supplier}, at {time_s}")
        self.cuts[values["account"]] = Request(microcents=lower, requested_at=time_s)

    def credit_set(self, event: Event, time_s: int, credit_microcents: int) -> None:
        """Credit rises at once; it falls to what was asked for long enough ago."""
        cut = self.cuts.pop(event.arguments["account"], Request())
        credit = event.arguments["creditMicrocents"]
        if credit < credit_microcents and (credit != cut.microcents or not _due(cut, time_s)):
            self._report(event, f"{cut.microcents} were requested at {cut.requested_at}")

    def _report(self, event: Event, what: str) -> None:
        self._odd.append((f"{event.name} in block {event.block_number}", what))


def _due(request: Request, time_s: int) -> bool:
    return request.requested_at != 0 and time_s >= request.requested_at + WITHDRAWAL_DELAY_S
