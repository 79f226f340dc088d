// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IEnergyCurtailment} from "./interfaces/IEnergyCurtailment.sol";
import {IEnergyDispatching} from "./interfaces/IEnergyDispatching.sol";
import {IEnergyTrading} from "./interfaces/IEnergyTrading.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {IntegerMath} from "./libraries/IntegerMath.sol";
import {Lists} from "./libraries/Lists.sol";
import {Pairing} from "./libraries/Pairing.sol";
import {Payments} from "./libraries/Payments.sol";
import {Positions} from "./libraries/Positions.sol";
import {SettlementRules} from "./libraries/SettlementRules.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title EnergyCurtailment
/// @dev Holds no money: it computes what caps leave of positions presented again, and the trading contract carries that
/// out. Nobody has a choice in it: caps, positions, deals and prices are all recorded before. The committed pairs stay
/// as they are, for a new pairing would move energy between members who were not curtailed.
contract EnergyCurtailment is IEnergyCurtailment {
    using Lists for uint256[];
    using Positions for uint256[];

    /// @dev The contracts around this one.
    struct Neighbours {
        IGridPolicy policy;
        IParticipantRegistry registry;
        IEnergyDispatching dispatching;
        IEnergyTrading trading;
    }

    /// @dev What trades cost in this MTU, cents per MWh.
    struct Terms {
        int64 anyPrice;
        int64 lowCarbonPrice;
        int64 shortage;
        uint256 fee;
        uint256 relief;
        IGridPolicy.Bearer bearer;
    }

    /// @dev One chunk in the making; the lists are by position, the trades by themselves.
    struct Shrinking {
        uint256[] positions;
        uint256[] trades;
        uint256[] allowedWh;
        uint256[] lockedBefore;
        uint256[] compensation;
        uint256 curtailedWh;
        uint256 lowCarbonWh;
    }

    IGridPolicy private immutable _policy;
    IParticipantRegistry private immutable _registry;
    IEnergyDispatching private immutable _dispatching;
    IEnergyTrading private immutable _trading;
    uint32 private immutable _mtuLengthS;

    mapping(uint256 slotKey => uint16) private _appliedChunks;
    /// @dev What caps have left of the energy of a meter that goes on in a later chunk, over the chunks so far.
    mapping(uint256 slotKey => mapping(uint32 meter => uint256)) private _leftWh;

    constructor(Neighbours memory neighbours) {
        _policy = neighbours.policy;
        _registry = neighbours.registry;
        _dispatching = neighbours.dispatching;
        _trading = neighbours.trading;
        _mtuLengthS = neighbours.policy.mtuLengthS();
    }

    /// @inheritdoc IEnergyCurtailment
    function applyCaps(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        IEnergyDispatching.Cap[] calldata caps
    ) external {
        IEnergyDispatching.CapsView memory recorded = _requireCurtailed(zone, mtuStart, caps);
        IEnergyTrading.Outcome memory outcome;
        (outcome.zone, outcome.mtuStart, outcome.chunk) = (zone, mtuStart, chunk);
        _requireKept(outcome, positions, deals);
        Shrinking memory shrinking;
        shrinking.positions = Lists.copy(positions);
        Terms memory terms = _termsOf(zone, mtuStart, recorded.reason);
        shrinking.trades = _tradesOf(shrinking.positions, deals, terms);
        _allow(shrinking, outcome, recorded.direction == IEnergyDispatching.Direction.Export, caps);
        _shrink(shrinking, terms);
        _carryOver(shrinking, outcome);
        outcome.stateHash = Positions.stateHash(shrinking.positions, shrinking.trades);
        _pay(shrinking, terms, outcome);
    }

    /// @inheritdoc IEnergyCurtailment
    function appliedChunksOf(uint32 zone, uint64 mtuStart) external view returns (uint16) {
        return _appliedChunks[SlotKey.pack(zone, mtuStart)];
    }

    /// @dev The recorded caps, presented again, when no others can come any more.
    function _requireCurtailed(uint32 zone, uint64 mtuStart, IEnergyDispatching.Cap[] calldata caps)
        private
        view
        returns (IEnergyDispatching.CapsView memory recorded)
    {
        if (_dispatching.outcomeOf(zone, mtuStart) != IEnergyDispatching.Outcome.Curtailed) {
            revert DispatchNotCurtailed(zone, mtuStart);
        }
        uint64 earliest = mtuStart + _mtuLengthS;
        if (block.timestamp < earliest) revert CurtailmentTooEarly(mtuStart, earliest, uint64(block.timestamp));
        recorded = _dispatching.capsOf(zone, mtuStart);
        bytes32 presented = _dispatching.hashCaps(caps);
        if (presented != recorded.capsHash) revert CapsDiffer(recorded.capsHash, presented);
    }

    /// @dev Checks what is presented against the kept hash, and counts the chunk as done.
    function _requireKept(
        IEnergyTrading.Outcome memory outcome,
        uint256[] calldata positions,
        uint256[] calldata deals
    ) private {
        (uint32 zone, uint64 mtuStart) = (outcome.zone, outcome.mtuStart);
        uint256 slotKey = SlotKey.pack(zone, mtuStart);
        uint16 expected = _appliedChunks[slotKey];
        if (outcome.chunk < expected) revert CapsAlreadyApplied(zone, mtuStart, outcome.chunk);
        if (outcome.chunk > expected) revert ChunksOutOfSequence(expected, outcome.chunk);
        _appliedChunks[slotKey] = expected + 1;
        bytes32 kept = _trading.stateHashOf(zone, mtuStart, outcome.chunk);
        if (kept == 0) revert IEnergyTrading.NotCleared(zone, mtuStart);
        bytes32 presented = Positions.stateHash(Lists.copy(positions), Lists.copy(deals));
        if (presented != kept) revert IEnergyTrading.StateMismatch(kept, presented);
        outcome.keptHash = kept;
    }

    function _termsOf(uint32 zone, uint64 mtuStart, uint16 reason) private view returns (Terms memory) {
        IEnergyTrading.ClearingView memory cleared = _trading.clearingOf(zone, mtuStart);
        (IGridPolicy.Policy memory policy,) = _policy.policyAt(mtuStart);
        return Terms({
            anyPrice: cleared.anyPrice,
            lowCarbonPrice: cleared.lowCarbonPrice,
            shortage: _policy.pricesAt(mtuStart).shortage,
            fee: policy.gridFeeCentsPerMwh,
            relief: policy.lowCarbonReliefCentsPerMwh,
            bearer: IGridPolicy.Bearer((policy.replacementBearers >> (2 * reason)) & 3)
        });
    }

    /// @dev Direct deals first, then the pairs of the auction with the price of their energy: where the two products'
    /// prices differ, low-carbon sources serve low-carbon bids only.
    function _tradesOf(uint256[] memory positions, uint256[] calldata deals, Terms memory terms)
        private
        pure
        returns (uint256[] memory trades)
    {
        uint256[] memory derived = Pairing.derive(positions);
        uint256 dealCount = deals.length;
        trades = new uint256[](dealCount + derived.length);
        for (uint256 i = 0; i < trades.length; ++i) {
            if (i < dealCount) {
                trades[i] = deals[i];
                continue;
            }
            uint256 trade = derived[i - dealCount];
            uint256 sell = Pairing.sell(trade);
            int64 price = positions.source(sell) == 0 ? terms.anyPrice : terms.lowCarbonPrice;
            trades[i] = Pairing.pack(sell, Pairing.buy(trade), Pairing.energyWh(trade), price);
        }
    }

    /// @dev How much of its contract each position may keep: all of it, or what a cap leaves of it after the earlier
    /// chunks. Positions and caps both stand by meter. Clears the positions for what they keep.
    function _allow(
        Shrinking memory shrinking,
        IEnergyTrading.Outcome memory outcome,
        bool exports,
        IEnergyDispatching.Cap[] calldata caps
    ) private view {
        uint256[] memory positions = shrinking.positions;
        uint256 count = positions.count();
        (shrinking.allowedWh, shrinking.lockedBefore) = (new uint256[](count), new uint256[](count));
        shrinking.compensation = new uint256[](count);
        uint256 slotKey = SlotKey.pack(outcome.zone, outcome.mtuStart);
        uint256 next = 0;
        for (uint256 i = 0; i < count; ++i) {
            uint32 meter = positions.meter(i);
            uint256 priorWh = positions.priorWh(i) == 0 ? 0 : _leftWh[slotKey][meter];
            while (next < caps.length && caps[next].meter < meter) ++next;
            uint256 allowedWh = positions.contractedWh(i);
            if (next < caps.length && caps[next].meter == meter && positions.sells(i) == exports) {
                uint256 capWh = caps[next].capWh;
                allowedWh = IntegerMath.min(allowedWh, capWh - IntegerMath.min(capWh, priorWh));
            }
            (shrinking.allowedWh[i], shrinking.lockedBefore[i]) = (allowedWh, positions.lockedMicrocents(i));
            positions.curtail(i, priorWh);
        }
    }

    /// @dev What a position may keep serves its trades in their order; a trade keeps the smaller of its two sides.
    function _shrink(Shrinking memory shrinking, Terms memory terms) private {
        (uint256[] memory positions, uint256[] memory trades) = (shrinking.positions, shrinking.trades);
        uint256[] memory allowedWh = shrinking.allowedWh;
        for (uint256 i = 0; i < trades.length; ++i) {
            (uint256 sell, uint256 buy) = (Pairing.sell(trades[i]), Pairing.buy(trades[i]));
            uint256 energyWh = Pairing.energyWh(trades[i]);
            uint256 soldWh = IntegerMath.min(energyWh, allowedWh[sell]);
            uint256 boughtWh = IntegerMath.min(energyWh, allowedWh[buy]);
            allowedWh[sell] -= soldWh;
            allowedWh[buy] -= boughtWh;
            uint256 leftWh = IntegerMath.min(soldWh, boughtWh);
            int64 price = Pairing.priceCentsPerMwh(trades[i]);
            trades[i] = Pairing.pack(sell, buy, leftWh, price);
            _book(positions, sell, buy, leftWh, price, terms);
            if (leftWh == energyWh) continue;
            uint256 curtailedWh = energyWh - leftWh;
            shrinking.curtailedWh += curtailedWh;
            if (positions.source(sell) != 0) shrinking.lowCarbonWh += curtailedWh;
            _compensate(shrinking, sell, buy, curtailedWh, price, terms);
            emit TradeCurtailed(positions.meter(sell) | (uint256(positions.meter(buy)) << 32) | (curtailedWh << 64));
        }
    }

    /// @dev Adds what is left of a trade to its two positions, with money and locks as a clearing makes them.
    function _book(
        uint256[] memory positions,
        uint256 sell,
        uint256 buy,
        uint256 energyWh,
        int64 price,
        Terms memory terms
    ) private pure {
        int256 cash = int256(energyWh) * price;
        uint256 fee = SettlementRules.gridFee(energyWh, terms.fee, terms.relief, positions.source(sell) != 0);
        positions.addDealt(sell, energyWh);
        positions.addDealt(buy, energyWh);
        positions.addDealCash(sell, cash);
        positions.addDealCash(buy, -cash);
        positions.addFee(buy, fee);
        positions.addLock(sell, SettlementRules.sellerLock(energyWh, price, terms.shortage));
        positions.addLock(buy, SettlementRules.buyerLock(energyWh, price) + fee);
    }

    /// @dev The buyer has to replace the energy at the shortage price. A seller pays out of what it had locked.
    function _compensate(
        Shrinking memory shrinking,
        uint256 sell,
        uint256 buy,
        uint256 curtailedWh,
        int64 price,
        Terms memory terms
    ) private pure {
        if (terms.bearer == IGridPolicy.Bearer.Buyer) return;
        uint256 cost = curtailedWh * IntegerMath.positivePart(int256(terms.shortage) - int256(price));
        shrinking.compensation[buy] += cost;
        if (terms.bearer == IGridPolicy.Bearer.Seller) shrinking.compensation[sell] += cost;
    }

    /// @dev Notes for the next chunk what its meters keep in this one and those before.
    function _carryOver(Shrinking memory shrinking, IEnergyTrading.Outcome memory outcome) private {
        uint256[] memory positions = shrinking.positions;
        uint256 slotKey = SlotKey.pack(outcome.zone, outcome.mtuStart);
        for (uint256 i = 0; i < positions.count(); ++i) {
            if (!positions.isContinued(i)) continue;
            _leftWh[slotKey][positions.meter(i)] = positions.priorWh(i) + positions.contractedWh(i);
        }
    }

    /// @dev Releases what is locked no longer, and pays compensations: a seller's out of its lock, the grid operator's
    /// out of its account, or as its debt.
    function _pay(Shrinking memory shrinking, Terms memory terms, IEnergyTrading.Outcome memory outcome) private {
        uint256[] memory positions = shrinking.positions;
        uint256 count = positions.count();
        outcome.payments = new uint256[](count * Payments.WORDS);
        address gridOperator = _registry.gridOperatorOf(outcome.zone);
        bool sellersPay = terms.bearer == IGridPolicy.Bearer.Seller;
        (uint256 refunded, uint256 compensated) = (0, 0);
        for (uint256 i = 0; i < count; ++i) {
            int256 released = int256(shrinking.lockedBefore[i] - positions.lockedMicrocents(i));
            int256 compensation = int256(shrinking.compensation[i]);
            if (!positions.sells(i)) compensated += uint256(compensation);
            if (sellersPay) {
                released += positions.sells(i) ? -compensation : compensation;
                compensation = 0;
            }
            refunded += uint256(released);
            outcome.payments.put(i * Payments.WORDS, Payments.pack(positions.owner(i), released));
            outcome.payments.put(i * Payments.WORDS + 1, Payments.pack(gridOperator, compensation));
        }
        _trading.applyOutcome(outcome);
        emit CapsApplied(
            outcome.zone,
            outcome.mtuStart,
            outcome.chunk,
            shrinking.curtailedWh,
            shrinking.lowCarbonWh,
            refunded,
            compensated
        );
    }
}
