// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ICarbonLedger} from "./interfaces/ICarbonLedger.sol";
import {IEnergyDispatching} from "./interfaces/IEnergyDispatching.sol";
import {IEnergySettlement} from "./interfaces/IEnergySettlement.sol";
import {IEnergyTrading} from "./interfaces/IEnergyTrading.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IMeterLedger} from "./interfaces/IMeterLedger.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {Closings} from "./libraries/Closings.sol";
import {Lists} from "./libraries/Lists.sol";
import {Pairing} from "./libraries/Pairing.sol";
import {Payments} from "./libraries/Payments.sol";
import {Positions} from "./libraries/Positions.sol";
import {Rewards} from "./libraries/Rewards.sol";
import {SettlementRules} from "./libraries/SettlementRules.sol";

/// @title EnergySettlement
/// @dev Holds no money and keeps no state: it computes outcomes from positions presented again, and the trading
/// contract carries them out. The market operator can settle late, or with readings that are not the anchored ones;
/// the anchors prove it. It cannot change a position, a price or a lock. What the escrow pays a position is never
/// negative: the lock covers price and fee. The imbalance is between a participant and its supplier alone.
contract EnergySettlement is IEnergySettlement, AccessManaged {
    using Lists for uint256[];
    using Positions for uint256[];

    /// @dev The contracts around this one.
    struct Neighbours {
        IGridPolicy policy;
        IParticipantRegistry registry;
        IEnergyDispatching dispatching;
        IMeterLedger meterLedger;
        ICarbonLedger carbonLedger;
        IEnergyTrading trading;
    }

    /// @dev One settlement in the making; `payments` counts the words of `outcome.payments`.
    struct Settlement {
        uint256[] positions;
        IEnergyTrading.Outcome outcome;
        uint256 payments;
        int64 anyPrice;
        int64 lowCarbonPrice;
        IGridPolicy.Prices prices;
        uint16 supplierNumber;
        address supplier;
    }

    uint256 private constant SECONDS_PER_HOUR = 3600;

    IGridPolicy private immutable _policy;
    IParticipantRegistry private immutable _registry;
    IEnergyDispatching private immutable _dispatching;
    IMeterLedger private immutable _meterLedger;
    ICarbonLedger private immutable _carbonLedger;
    IEnergyTrading private immutable _trading;
    uint32 private immutable _mtuLengthS;

    constructor(address accessManager, Neighbours memory neighbours) AccessManaged(accessManager) {
        _policy = neighbours.policy;
        _registry = neighbours.registry;
        _dispatching = neighbours.dispatching;
        _meterLedger = neighbours.meterLedger;
        _carbonLedger = neighbours.carbonLedger;
        _trading = neighbours.trading;
        _mtuLengthS = neighbours.policy.mtuLengthS();
    }

    /// @inheritdoc IEnergySettlement
    function settle(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        uint16[] calldata indexes,
        int64[] calldata meteredWh
    ) external restricted {
        if (indexes.length != meteredWh.length) revert ListsDiffer(indexes.length, meteredWh.length);
        Settlement memory settlement = _begin(zone, mtuStart, chunk, positions, deals, indexes.length);
        _requireProceeds(settlement);
        (uint64 anchoredAt, uint32 provenCount) = _meterLedger.settlementState(zone, mtuStart);
        if (anchoredAt < mtuStart + _mtuLengthS) revert ReadingsNotAnchored(zone, mtuStart);
        _readPrices(settlement);
        _requireInTime(mtuStart, uint64(block.timestamp));
        bool corrects = false;
        for (uint256 i = 0; i < indexes.length; ++i) {
            if (provenCount > 0) _requireAsProven(settlement, indexes[i], meteredWh[i]);
            if (_settlePosition(settlement, indexes[i], meteredWh[i])) corrects = true;
        }
        _finish(settlement, deals);
        _reward(mtuStart, settlement.positions, positions, deals, corrects);
    }

    /// @inheritdoc IEnergySettlement
    function settleProven(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        uint16[] calldata indexes
    ) external {
        Settlement memory settlement = _begin(zone, mtuStart, chunk, positions, deals, indexes.length);
        _requireProceeds(settlement);
        // Until then the grid operator may still stop or curtail the MTU, whatever a device has signed ahead of time.
        uint64 earliest = mtuStart + _mtuLengthS;
        if (block.timestamp < earliest) revert SettlementTooEarly(mtuStart, earliest, uint64(block.timestamp));
        _readPrices(settlement);
        bool corrects = false;
        for (uint256 i = 0; i < indexes.length; ++i) {
            IMeterLedger.Proven memory proven = _provenOf(settlement, indexes[i]);
            if (proven.provenAt == 0) revert ReadingNotProven(settlement.positions.meter(indexes[i]), mtuStart);
            // What was proven in time stays open, however late somebody carries it out.
            _requireInTime(mtuStart, proven.provenAt);
            if (_settlePosition(settlement, indexes[i], proven.netWh)) corrects = true;
        }
        _finish(settlement, deals);
        _reward(mtuStart, settlement.positions, positions, deals, corrects);
    }

    /// @inheritdoc IEnergySettlement
    function settleSubstitutes(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        uint16[] calldata indexes
    ) external {
        Settlement memory settlement = _begin(zone, mtuStart, chunk, positions, deals, indexes.length);
        _requireProceeds(settlement);
        (IGridPolicy.Policy memory policy,) = _policy.policyAt(mtuStart);
        uint64 earliest = mtuStart + _mtuLengthS + policy.substituteAfterS;
        if (block.timestamp < earliest) revert SubstituteTooEarly(mtuStart, earliest, uint64(block.timestamp));
        _readPrices(settlement);
        uint256[] memory kept = settlement.positions;
        for (uint256 i = 0; i < indexes.length; ++i) {
            uint16 index = indexes[i];
            _requireUnsettled(kept, index);
            // Delivered as contracted, together with what earlier chunks contracted for the meter.
            int256 energyWh = int256(kept.contractedWh(index) + kept.priorWh(index));
            int64 substituteWh = int64(kept.sells(index) ? energyWh : -energyWh);
            int256 imbalance = _payFirst(settlement, index, substituteWh);
            kept.settle(index, substituteWh, true);
            emit PositionSubstituted(Closings.pack(mtuStart, kept.meter(index), 0, substituteWh, imbalance));
        }
        _finish(settlement, deals);
    }

    /// @inheritdoc IEnergySettlement
    function refund(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        uint16[] calldata indexes
    ) external {
        Settlement memory settlement = _begin(zone, mtuStart, chunk, positions, deals, indexes.length);
        _requireVoid(zone, mtuStart);
        uint256[] memory kept = settlement.positions;
        for (uint256 i = 0; i < indexes.length; ++i) {
            uint16 index = indexes[i];
            _requireUnsettled(kept, index);
            uint256 locked = kept.lockedMicrocents(index);
            _pay(settlement, index, int256(locked), 0);
            ++settlement.outcome.closedPositions;
            kept.settle(index, 0, true);
            emit PositionRefunded(Closings.pack(mtuStart, kept.meter(index), 0, 0, int256(locked)));
        }
        _finish(settlement, deals);
    }

    function _begin(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        uint256 payments
    ) private view returns (Settlement memory settlement) {
        if (payments == 0) revert NothingToSettle(zone, mtuStart);
        bytes32 kept = _trading.stateHashOf(zone, mtuStart, chunk);
        if (kept == 0) revert IEnergyTrading.NotCleared(zone, mtuStart);
        settlement.positions = Lists.copy(positions);
        bytes32 presented = Positions.stateHash(settlement.positions, deals);
        if (presented != kept) revert IEnergyTrading.StateMismatch(kept, presented);
        IEnergyTrading.Outcome memory outcome = settlement.outcome;
        (outcome.zone, outcome.mtuStart, outcome.chunk, outcome.keptHash) = (zone, mtuStart, chunk, kept);
        outcome.payments = new uint256[](payments * Payments.WORDS);
    }

    /// @dev Caps must have been applied to the positions, wherever there are any.
    function _requireProceeds(Settlement memory settlement) private view {
        (uint32 zone, uint64 mtuStart) = (settlement.outcome.zone, settlement.outcome.mtuStart);
        IEnergyDispatching.Outcome outcome = _requireAnswered(zone, mtuStart);
        if (outcome == IEnergyDispatching.Outcome.Void) revert DispatchIsVoid(zone, mtuStart);
        if (outcome == IEnergyDispatching.Outcome.Curtailed && !settlement.positions.isCurtailed(0)) {
            revert CapsNotApplied(zone, mtuStart);
        }
    }

    /// @dev What became of the dispatch. Reverts while it may still be answered.
    function _requireAnswered(uint32 zone, uint64 mtuStart) private view returns (IEnergyDispatching.Outcome outcome) {
        outcome = _dispatching.outcomeOf(zone, mtuStart);
        if (outcome == IEnergyDispatching.Outcome.Pending || outcome == IEnergyDispatching.Outcome.NotScheduled) {
            revert DispatchUnanswered(zone, mtuStart);
        }
    }

    /// @dev Void by the grid operator's stop, by the policy's default, or because the clearing was not finished.
    function _requireVoid(uint32 zone, uint64 mtuStart) private view {
        if (_trading.clearingOf(zone, mtuStart).status == IEnergyTrading.Status.Partial) {
            if (block.timestamp <= _policy.clearingDeadlineAt(mtuStart)) revert ClearingUnfinished(zone, mtuStart);
        } else if (_requireAnswered(zone, mtuStart) != IEnergyDispatching.Outcome.Void) {
            revert DispatchProceeds(zone, mtuStart);
        }
    }

    function _readPrices(Settlement memory settlement) private view {
        IEnergyTrading.ClearingView memory cleared =
            _trading.clearingOf(settlement.outcome.zone, settlement.outcome.mtuStart);
        (settlement.anyPrice, settlement.lowCarbonPrice) = (cleared.anyPrice, cleared.lowCarbonPrice);
        settlement.prices = _policy.pricesAt(settlement.outcome.mtuStart);
    }

    /// @dev A first reading, the reading that replaces a substitute, or a correction.
    /// @return corrects whether it takes the place of a reading
    function _settlePosition(Settlement memory settlement, uint16 index, int64 metered)
        private
        returns (bool corrects)
    {
        uint256[] memory kept = settlement.positions;
        if (index >= kept.count()) revert PositionUnknown(index);
        uint64 mtuStart = settlement.outcome.mtuStart;
        // A meter cannot have measured more than its connection carries.
        int256 mostWh = int256(_capacityRoundedUpWh(kept.capacityW(index)));
        unchecked {
            if (metered > mostWh || metered < -mostWh) revert MeteredOutOfRange(kept.meter(index), metered);
        }
        if (!kept.isSettled(index)) {
            int256 imbalance = _payFirst(settlement, index, metered);
            kept.settle(index, metered, false);
            emit PositionSettled(Closings.pack(mtuStart, kept.meter(index), 0, metered, imbalance));
            return false;
        }
        _requireCorrection(kept, index, metered);
        corrects = kept.isRead(index);
        int256 delta = _imbalance(settlement, index, metered) - _imbalance(settlement, index, kept.meteredWh(index));
        _pay(settlement, index, 0, delta);
        kept.settle(index, metered, false);
        emit PositionResettled(Closings.pack(mtuStart, kept.meter(index), kept.version(index), metered, delta));
    }

    /// @dev Releases the lock, pays the trade and the fee out of the escrow, then settles the imbalance.
    function _payFirst(Settlement memory settlement, uint256 index, int64 metered)
        private
        view
        returns (int256 imbalanceMicrocents)
    {
        uint256[] memory kept = settlement.positions;
        int256 trade = SettlementRules.tradeCash(kept, index, settlement.anyPrice, settlement.lowCarbonPrice);
        uint256 fee = kept.feeMicrocents(index);
        imbalanceMicrocents = _imbalance(settlement, index, metered);
        IEnergyTrading.Outcome memory outcome = settlement.outcome;
        // At most 2^16 positions with amounts of less than 2^89.
        unchecked {
            _pay(settlement, index, int256(kept.lockedMicrocents(index)) + trade - int256(fee), imbalanceMicrocents);
            outcome.feesMicrocents += fee;
            ++outcome.closedPositions;
        }
    }

    function _imbalance(Settlement memory settlement, uint256 index, int256 metered) private pure returns (int256) {
        return SettlementRules.imbalanceCash(
            settlement.positions, index, metered, settlement.prices.surplus, settlement.prices.shortage
        );
    }

    function _pay(Settlement memory settlement, uint256 index, int256 released, int256 imbalance) private view {
        uint16 number = settlement.positions.supplier(index);
        if (number != settlement.supplierNumber) {
            (settlement.supplierNumber, settlement.supplier) = (number, _registry.supplierAt(number));
        }
        uint256[] memory payments = settlement.outcome.payments;
        uint256 next = settlement.payments;
        unchecked {
            payments.put(next, Payments.pack(settlement.positions.owner(index), released));
            payments.put(next + 1, Payments.pack(settlement.supplier, imbalance));
            settlement.payments = next + Payments.WORDS;
        }
    }

    function _finish(Settlement memory settlement, uint256[] calldata deals) private {
        IEnergyTrading.Outcome memory outcome = settlement.outcome;
        outcome.feeReceiver = _registry.gridOperatorOf(outcome.zone);
        outcome.stateHash = Positions.stateHash(settlement.positions, deals);
        uint32 left = _trading.applyOutcome(outcome);
        emit SettlementProgressed(outcome.zone, outcome.mtuStart, outcome.chunk, left);
    }

    /// @dev Rewards each low-carbon trade for the energy delivered and consumed once both its sides are read; a
    /// correction pays or takes back the difference.
    /// @param before the positions as they were presented
    function _reward(
        uint64 mtuStart,
        uint256[] memory kept,
        uint256[] calldata before,
        uint256[] calldata deals,
        bool corrects
    ) private {
        uint256[] memory trades = _tradesOf(kept, deals);
        uint256[] memory served = SettlementRules.servedWh(kept, trades);
        uint256[] memory servedBefore;
        // Without a correction a trade whose sides had both been read is worth what it was.
        if (corrects) servedBefore = SettlementRules.servedWh(Lists.copy(before), trades);
        uint256[] memory rewards = new uint256[](Rewards.WORDS * trades.length);
        uint256 count = 0;
        for (uint256 i = 0; i < trades.length; ++i) {
            uint256 trade = trades.at(i);
            (uint256 sell, uint256 buy, uint256 energyWh) = (Pairing.sell(trade), Pairing.buy(trade), served.at(i));
            if (kept.source(sell) == 0 || !kept.isRead(sell) || !kept.isRead(buy)) continue;
            uint256 rewardedWh = 0;
            if (before.wasRead(sell) && before.wasRead(buy)) rewardedWh = corrects ? servedBefore.at(i) : energyWh;
            if (energyWh == rewardedWh) continue;
            // Two words for each of the trades at most.
            unchecked {
                rewards.put(count, Rewards.packSeller(kept.owner(sell), energyWh, kept.source(sell)));
                rewards.put(count + 1, Rewards.packBuyer(kept.owner(buy), rewardedWh));
                count += Rewards.WORDS;
            }
        }
        if (count == 0) return;
        // Shortens the array to the rewards used; the length word is the only thing written.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(rewards, count)
        }
        if (corrects) _carbonLedger.correctRewards(mtuStart, rewards);
        else _carbonLedger.grantRewards(mtuStart, rewards);
    }

    /// @dev Direct deals first, then the derived trades of the auction.
    function _tradesOf(uint256[] memory kept, uint256[] calldata deals) private pure returns (uint256[] memory trades) {
        uint256[] memory derived = Pairing.derive(kept);
        if (deals.length == 0) return derived;
        trades = new uint256[](deals.length + derived.length);
        for (uint256 i = 0; i < trades.length; ++i) {
            trades[i] = i < deals.length ? deals[i] : derived[i - deals.length];
        }
    }

    function _requireInTime(uint64 mtuStart, uint64 moment) private view {
        (IGridPolicy.Policy memory policy,) = _policy.policyAt(mtuStart);
        uint64 deadline = mtuStart + _mtuLengthS + policy.correctionS;
        if (moment > deadline) revert CorrectionsEnded(mtuStart, deadline, moment);
    }

    /// @dev A reading that was proven from its signed texts stands above what the market operator says.
    function _requireAsProven(Settlement memory settlement, uint16 index, int64 metered) private view {
        IMeterLedger.Proven memory proven = _provenOf(settlement, index);
        if (proven.provenAt != 0 && proven.netWh != metered) {
            revert ProvenOtherwise(settlement.positions.meter(index), metered, proven.netWh);
        }
    }

    function _provenOf(Settlement memory settlement, uint16 index) private view returns (IMeterLedger.Proven memory) {
        if (index >= settlement.positions.count()) revert PositionUnknown(index);
        return _meterLedger.provenOf(settlement.positions.meter(index), settlement.outcome.mtuStart);
    }

    /// @dev Every correction changes the kept hash, so that none can be presented again.
    function _requireCorrection(uint256[] memory kept, uint16 index, int64 metered) private pure {
        if (kept.isRead(index) && kept.meteredWh(index) == metered) revert NothingToCorrect(kept.meter(index));
        if (kept.version(index) == Positions.LAST_VERSION) revert VersionsUsedUp(kept.meter(index));
    }

    function _requireUnsettled(uint256[] memory kept, uint16 index) private pure {
        if (index >= kept.count()) revert PositionUnknown(index);
        if (kept.isSettled(index)) revert PositionAlreadySettled(kept.meter(index));
    }

    function _capacityRoundedUpWh(uint256 capacityW) private view returns (uint256) {
        // 24 and 32 bits.
        unchecked {
            return (capacityW * _mtuLengthS + SECONDS_PER_HOUR - 1) / SECONDS_PER_HOUR;
        }
    }
}
