"""Signs a client in at the node by EIP-4361, with the message a wallet would show."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # siwe 4.4 redefines core rules of the grammar, to the same
    from siwe import SiweMessage

__all__ = ["signed_in"]


Post = Callable[[str, Mapping[str, object] | None], Any]


def signed_in(post: Post, key: LocalAccount, statement: str) -> dict[str, str]:
    """The header of a new session of the key's account; `post` posts a body to a path and returns the answer."""
    challenge = post("/v1/sessions/nonce", None)
    message = SiweMessage(
        domain=challenge["domain"],
        address=key.address,
        statement=statement,
        uri=challenge["uri"],
        version=challenge["version"],
        chain_id=challenge["chain_id"],
        nonce=challenge["nonce"],
        issued_at=challenge["issued_at"],
        expiration_time=challenge["expires_at"],
    ).prepare_message()
    signature = "0x" + bytes(key.sign_message(encode_defunct(text=message)).signature).hex()
    answer = post("/v1/sessions", {"message": message, "signature": signature})
    return {"Authorization": f"Bearer {answer['token']}"}
