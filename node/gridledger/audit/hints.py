"""How each mismatch can be checked by hand, without this program."""

from collections.abc import Mapping

from gridledger.audit.model import Rule

__all__ = ["HINTS"]

HINTS: Mapping[Rule, str] = {
    Rule.MANIFEST: "compare `sha256sum FILE` and the number of rows with manifest.json",
    Rule.FORMAT: "open the file at that line: plain decimals, lower-case 0x hex, times as in the other rows",
    Rule.CHAIN: "ask two holders of order receipts for block hashes and compare them with blocks.jsonl",
    Rule.BLOCK: "compare eth_getBlockByNumber of that block with the line in blocks.jsonl",
    Rule.MARKET: "compare market.json and deployment.json with the events of the deployment block",
    Rule.CODE: "compile the contracts and compare eth_getCode, leaving out the immutable ranges",
    Rule.ROLE: "list RoleGranted and RoleRevoked of the access manager and compare with market.json",
    Rule.METER: "compare the row with MeterRegistered and DeviceKeyReplaced of the participant registry",
    Rule.ORDER_UID: "call EnergyTrading.orderUid with the row's fields",
    Rule.ORDER_SIGNATURE: "recover the signer of the order's EIP-712 digest with any wallet library",
    Rule.ORDER_OWNER: "compare with MeterRegistered and ParticipantAdmitted of the participant registry",
    Rule.ORDER_STATE: "follow the order through cancellations.csv, books.csv, EnergyTraded and PositionSettled",
    Rule.RECEIPT: "recover the signer of the receipt's EIP-712 digest; look the block up by its hash",
    Rule.RECEIPT_SEQUENCE: "sort orders.csv by running_number: 1, 2, 3 ... without gap or repetition",
    Rule.CANCELLATION: "recover the signer of the EIP-712 struct Cancel(bytes32 orderUid)",
    Rule.BOOK: "keccak256 of (8 bytes running number, 32 bytes uid) per listed order; compare with BookCommitted",
    Rule.ELIGIBILITY: "compare the owner's balance, credit and suspension before the book with its orders' worst case",
    Rule.REFERENCE_PRICE: "add up eligible supply and demand and apply SupplyDemandRatio.price",
    Rule.CLEARING: "run `gridledger clear` over the book's eligible orders and compare with MarketCleared",
    Rule.TRADE_LIMIT: "compare the signed limits, quantity and times with the price and EnergyTraded events",
    Rule.TRADE: "compare the row with the EnergyTraded events of that zone and MTU, in their order",
    Rule.LOCK: "price x energy (+ fee); for sellers (max(0,-price)+max(0,shortage-price)) x energy",
    Rule.POSITION: "compare the row with PositionOpened, PositionSettled and PositionRefunded",
    Rule.DISPATCH: "keccak256(abi.encode(positions, trades)); compare with DispatchScheduled and DispatchAnswered",
    Rule.READING_SIGNATURE: "verify the JWS with the device key in MeterRegistered or DeviceKeyReplaced",
    Rule.READING_COLUMN: "decode the JWS payload and compare it with the row",
    Rule.ANCHOR: "rebuild the Merkle tree of the batch and compare its root with ReadingsAnchored",
    Rule.SETTLEMENT: "metered = export - import; trade = contracted x price; imbalance at surplus or shortage price",
    Rule.COMPLETENESS: "look for PositionSettled or PositionRefunded of every PositionOpened",
    Rule.ENERGY: "add up contractedWh of PositionOpened: sold = bought = tradedWh",
    Rule.CASH: "replay Deposited, Withdrawn, CreditSet, Position* and Debt* events; compare with accountOf",
    Rule.SETTLEMENT_TOKEN: "add up the settlement token's Transfer events; compare with balanceOf and totalSupply",
    Rule.REWARD: "served Wh x (grid factor - source factor), split by the policy's share, against RewardGranted",
    Rule.LOW_CARBON_TOKEN: "add up the low-carbon token's Transfer events; compare with RewardGranted and totalSupply",
}
