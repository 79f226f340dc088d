"""A minimal synchronous JSON-RPC 2.0 client over HTTP, for chains this process drives itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from gridledger.errors import Unavailable

__all__ = ["RpcAnswer", "RpcClient", "RpcFailed", "RpcUnreachable"]


@dataclass(kw_only=True, eq=False)
class RpcFailed(Unavailable):
    """The chain answered a call with an error."""

    method: str
    rpc_code: int
    message: str
    data: object


@dataclass(kw_only=True, eq=False)
class RpcUnreachable(Unavailable):
    """The chain's endpoint did not answer, or not in JSON-RPC."""

    url: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RpcAnswer:
    """What one call of a batch came to: `error` is None exactly when the call succeeded."""

    result: object
    error: RpcFailed | None


class RpcClient:
    """Calls one endpoint; safe to share between threads. Proxy settings of the environment are ignored."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._http = httpx.Client(timeout=timeout_s, trust_env=False, headers={"Content-Type": "application/json"})

    @property
    def url(self) -> str:
        """The endpoint."""
        return self._url

    def call(self, method: str, *params: object) -> object:
        """Result of one call. Raises RpcFailed, RpcUnreachable."""
        answer = self._answer(method, self._post(_request(0, method, params)))
        if answer.error is not None:
            raise answer.error
        return answer.result

    def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[RpcAnswer]:
        """Answers in the order of `calls`, sent in one request. Raises RpcUnreachable.

        Endpoints may execute the calls of a batch out of order (anvil does): only for calls that do not depend on
        each other.
        """
        if not calls:
            return []
        received = self._post([_request(index, method, params) for index, (method, params) in enumerate(calls)])
        if not isinstance(received, list):
            raise RpcUnreachable(url=self._url, reason="a batch was not answered by a list")
        by_id = {entry.get("id"): entry for entry in received if isinstance(entry, dict)}
        return [self._answer(method, by_id.get(index)) for index, (method, _) in enumerate(calls)]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(self, body: object) -> object:
        try:
            response = self._http.post(self._url, content=json.dumps(body))
        except httpx.HTTPError as error:
            raise RpcUnreachable(url=self._url, reason=f"{type(error).__name__}: {error}") from None
        if response.status_code != httpx.codes.OK:
            raise RpcUnreachable(url=self._url, reason=f"HTTP status {response.status_code}")
        try:
            answer: object = json.loads(response.content)
        except ValueError:
            raise RpcUnreachable(url=self._url, reason="the answer is not JSON") from None
        return answer

    def _answer(self, method: str, received: object) -> RpcAnswer:
        if not isinstance(received, Mapping) or not {"result", "error"} & received.keys():
            raise RpcUnreachable(url=self._url, reason=f"{method} was not answered in JSON-RPC")
        error = received.get("error")
        if error is None:
            return RpcAnswer(result=received.get("result"), error=None)
        return RpcAnswer(result=None, error=_failure(method, error))


def _request(request_id: int, method: str, params: Sequence[object]) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": list(params)}


def _failure(method: str, error: object) -> RpcFailed:
    if not isinstance(error, Mapping):
        return RpcFailed(method=method, rpc_code=0, message=str(error), data=None)
    code = error.get("code")
    return RpcFailed(
        method=method,
        rpc_code=code if isinstance(code, int) else 0,
        message=str(error.get("message", "")),
        data=error.get("data"),
    )
