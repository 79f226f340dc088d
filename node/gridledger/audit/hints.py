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
    Rule.ORDER_UID: "call EnergyTrading.orderUid with the packed terms, guard and owner of the row",
    Rule.ORDER_SIGNATURE: "recover the signer of the order's or acceptance's EIP-712 digest with any wallet library",
    Rule.ORDER_OWNER: "compare with MeterRegistered and ParticipantAdmitted of the participant registry",
    Rule.ACCEPTANCE: "compare with the accepted offer in orders.csv: a limit offer of somebody else, with energy left",
    Rule.RECEIPT: "recover the signer of the receipt's EIP-712 digest; look the block up by its hash",
    Rule.RECEIPT_SEQUENCE: "sort orders.csv and acceptances.csv together by running_number: 1, 2, 3 ... without gap",
    Rule.CANCELLATION: "recover the signer of Cancel(bytes32 orderUid) or CancelUpTo(address owner,uint64 salt)",
    Rule.BOOK: "keccak256 of (8 bytes running number, 32 bytes uid) per listed line; compare with BookCommitted",
    Rule.ELIGIBILITY: "compare the owner's balance, credit and suspension before the book with its orders' worst case",
    Rule.REFERENCE_PRICE: "add up eligible limit orders less what was dealt directly and apply SupplyDemandRatio.price",
    Rule.CLEARING: "run `gridledger clear` over the book's eligible orders; compare with the call data of `clear`",
    Rule.TRADE_LIMIT: "compare the signed limits, quantity and times with the call data of EnergyTrading.clear",
    Rule.FILL: "bits 200 to 239 of the order's terms in the call data of EnergyTrading.clear",
    Rule.TRADE: "derive the trades as Pairing does; compare with the EnergyTraded events, in their order",
    Rule.LOCK: "keccak256(abi.encode(positions, deals)); compare with stateHashOf and the call data of settle",
    Rule.POSITION: "compare the row with the call data of `clear`, then PositionSettled, PositionResettled and so on",
    Rule.DISPATCH: "hash the result as EnergyTrading does for DispatchScheduled; recover the signers of the answers",
    Rule.SETPOINT: "hash the rows as leaves of a Merkle tree; compare its root with setpointsRoot of DispatchScheduled",
    Rule.CURTAILMENT: "share the sum of the caps out again, cleanest first, then pro rata; compare TradeCurtailed",
    Rule.METER_EVENT: "recover the signer of the MeterEvent's EIP-712 digest; compare with ZoneRegistered",
    Rule.READING_SIGNATURE: "verify the JWS with the device key in MeterRegistered or DeviceKeyReplaced",
    Rule.READING_COLUMN: "decode the JWS payload and compare it with the row",
    Rule.READING_PROOF: "compare ReadingProven, TransformerSet, TokensOwed with provenOf, transformerOf, owedUgco2Of",
    Rule.ANCHOR: "rebuild the Merkle tree of the batch and compare its root with ReadingsAnchored",
    Rule.TOMBSTONE: "recover the signer of the EIP-712 `Erasure`; hash its leaves, by meter and MTU, 44 bytes each",
    Rule.DEMAND_RESPONSE: "recover the signer of the EIP-712 `DemandResponse`; average the named days of readings.csv",
    Rule.SETTLEMENT: "metered = export - import; trade = contracted x price; imbalance at surplus or shortage price",
    Rule.COMPLETENESS: "look for a PositionSettled, PositionSubstituted or PositionRefunded of each, or a CapsApplied",
    Rule.ENERGY: "add up the positions of the chunk: sold = bought = tradedWh of MarketCleared",
    Rule.CASH: "replay deposits, credits, locks, Position* and Debt* events; compare with accountOf and debtOf",
    Rule.SETTLEMENT_TOKEN: "add up the settlement token's Transfer events; compare with balanceOf and totalSupply",
    Rule.REWARD: "served Wh x (grid factor - source factor), split by policy; RewardsGranted and the mints after it",
    Rule.LOW_CARBON_TOKEN: "add up the low-carbon token's Transfer events; compare with RewardsGranted and totalSupply",
}
