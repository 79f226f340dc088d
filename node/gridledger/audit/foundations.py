"""Checks what everything else stands on: blocks, contracts' code, roles, first settings and registered meters."""

from gridledger.audit.evidence import Evidence
from gridledger.audit.formats import BLOCKS, DEPLOYMENT, MARKET
from gridledger.audit.hashing import keccak256
from gridledger.audit.history import BlockFacts
from gridledger.audit.model import Rule
from gridledger.audit.ports import StateUnavailable
from gridledger.audit.rows import MeterRow

__all__ = ["check_blocks", "check_code", "check_meters", "check_roles", "check_settings"]

_WITHOUT_AUTHORITY = frozenset({"MarketAccessManager", "EnergyCurtailment"})  # restrict no function of their own


def check_blocks(evidence: Evidence) -> None:
    """Exported blocks are the chain's, from block 1 to the export's head, each with its transactions."""
    findings, run, chain_blocks = evidence.findings, evidence.run, evidence.history.blocks
    exported = {row.number: row for row in run.blocks}
    findings.compare(Rule.BLOCK, f"rows of {BLOCKS}", len(chain_blocks) - 1, len(run.blocks))
    for block in chain_blocks[1:]:
        row, record = exported.get(block.number), f"block {block.number}"
        if row is None:
            findings.report(Rule.BLOCK, record, block.block_hash, None)
            continue
        findings.compare(Rule.BLOCK, f"{record}, hash", block.block_hash, row.block_hash)
        findings.compare(Rule.BLOCK, f"{record}, time", block.time_s, row.time_s)
        if block.state_root is not None:
            findings.compare(Rule.BLOCK, f"{record}, state root", block.state_root, row.state_root)
        _check_transactions(evidence, block, record, row.raw_transactions)
    if run.head is not None:
        head = (evidence.history.head.number, evidence.history.head.block_hash)
        findings.compare(Rule.BLOCK, "head in manifest.json", head, (run.head.number, run.head.block_hash))


def _check_transactions(evidence: Evidence, block: BlockFacts, record: str, raw_transactions: tuple[str, ...]) -> None:
    """A block holds journalled transactions in their order; the journal may name some the chain left out."""
    journalled = ["0x" + keccak256(bytes.fromhex(raw[2:])).hex() for raw in raw_transactions]
    included = [transaction for transaction in journalled if transaction in block.transaction_hashes]
    evidence.findings.compare(Rule.BLOCK, f"{record}, transactions", list(block.transaction_hashes), included)


def check_code(evidence: Evidence) -> None:
    """Each contract runs the code its sources compile to, and the code the deployment was recorded with."""
    facts = evidence.facts
    for contract, compiled in facts.code.items():
        try:
            code = evidence.chain.code(contract)
        except StateUnavailable as error:
            evidence.findings.report(Rule.CODE, contract, "deployed code", error)
            continue
        code_hash = "0x" + keccak256(code).hex()
        expected = keccak256(compiled.without_constants(compiled.deployed)).hex()
        found = keccak256(compiled.without_constants(code)).hex()
        evidence.findings.compare(Rule.CODE, f"code of {contract}, constants left out", expected, found)
        evidence.findings.compare(
            Rule.CODE, f"{DEPLOYMENT}, code hash of {contract}", code_hash, facts.recorded_code_hashes.get(contract)
        )


def check_roles(evidence: Evidence) -> None:
    """Every role is held by whom market.json names and by nobody else; the deployer has renounced its own."""
    facts, history, findings = evidence.facts, evidence.history, evidence.findings
    for role in sorted(facts.roles.keys() | history.role_members.keys()):
        expected = dict(facts.roles.get(role, {}))
        findings.compare(Rule.ROLE, f"role {role}, members and delays", expected, history.role_members.get(role, {}))
    for target, selector in sorted(facts.function_roles.keys() | history.function_roles.keys()):
        key = (target, selector)
        record = f"function {selector} of {target}"
        findings.compare(Rule.ROLE, record, facts.function_roles.get(key), history.function_roles.get(key))
    findings.compare(Rule.ROLE, "other changes in the access manager", [], history.access_changes)
    manager = facts.addresses["MarketAccessManager"]
    for contract in sorted(facts.addresses.keys()):
        expected_authority = None if contract in _WITHOUT_AUTHORITY else manager
        findings.compare(Rule.ROLE, f"authority of {contract}", expected_authority, history.authorities.get(contract))


def check_settings(evidence: Evidence) -> None:
    """Chain, first policy, zones, suppliers and source factors are those of market.json and deployment.json."""
    facts, history, findings = evidence.facts, evidence.history, evidence.findings
    genesis = history.blocks[0]
    pairs: list[tuple[str, object, object]] = [
        ("chain id", evidence.chain.chain_id(), facts.chain_id),
        ("genesis hash", genesis.block_hash, facts.genesis_hash),
        ("genesis time", genesis.time_s, facts.genesis_time_s),
        ("deployer and block", history.first_admin, (facts.deployer, facts.deployment_block)),
        ("MTU length", _mtu_length_s(evidence), facts.mtu_length_s),
        ("first policy", _first_policy(evidence), (0, facts.policy)),
        ("zones and grid operators", history.members.grid_operators, dict(facts.grid_operators)),
        ("suppliers, by number", tuple(history.members.suppliers), facts.suppliers),
        ("source factors", history.rules.source_factors, dict(facts.source_factors)),
    ]
    for field, expected, found in pairs:
        findings.compare(Rule.MARKET, f"{MARKET} or {DEPLOYMENT}, {field}", expected, found)
    for field, (claim_expected, claim_found) in facts.claims.items():
        findings.compare(Rule.MARKET, f"{MARKET} or {DEPLOYMENT}, {field}", claim_expected, claim_found)
    for record, what in history.odd:
        findings.report(Rule.CHAIN, record, "an event that fits the state before it", what)


def _mtu_length_s(evidence: Evidence) -> object:
    try:
        return evidence.chain.mtu_length_s()
    except StateUnavailable as error:
        return error


def _first_policy(evidence: Evidence) -> tuple[int, tuple[object, ...]] | None:
    """First MTU and values of version 0."""
    first = next((version for version in evidence.history.rules.versions if version.version == 0), None)
    return None if first is None else (first.effective_mtu_start, tuple(first.values.values()))


def check_meters(evidence: Evidence) -> None:
    """Exported meters are the registered ones, with the device key now in force."""
    members, findings = evidence.history.members, evidence.findings
    exported = {row.meter: row for row in evidence.run.meters}
    findings.compare(Rule.METER, "rows of meters.csv", len(members.meters), len(evidence.run.meters))
    for meter in sorted(members.meters.keys() | exported.keys()):
        row, facts = exported.get(meter), members.meters.get(meter)
        expected = None
        if facts is not None:
            key = members.device_keys[meter][-1]
            expected = MeterRow(
                meter=meter,
                owner=facts.owner,
                supplier=facts.supplier,
                zone=facts.zone,
                import_capacity_w=facts.import_capacity_w,
                export_capacity_w=facts.export_capacity_w,
                source=facts.source,
                device_key_x=key.x,
                device_key_y=key.y,
            )
        findings.compare(Rule.METER, f"meter {meter}", expected, row)
