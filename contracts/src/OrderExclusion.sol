// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {OrderEvidence} from "./OrderEvidence.sol";
import {IEnergyAccounts} from "./interfaces/IEnergyAccounts.sol";
import {IEnergyTrading} from "./interfaces/IEnergyTrading.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {ClearingEvidence} from "./libraries/ClearingEvidence.sol";
import {OrderTerms} from "./libraries/OrderTerms.sol";
import {SettlementRules} from "./libraries/SettlementRules.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title OrderExclusion
/// @dev Which listed orders cannot trade, by the rule the node lists them by, applied here to the state of the
/// moment. The operator presents orders; it cannot say which of them fail. Orders of an owner it does not present
/// stay eligible.
abstract contract OrderExclusion is OrderEvidence {
    using OrderTerms for uint256;

    /// @dev An owner's orders so far: what those that count would lock, and what each takes of its meter.
    struct Tally {
        address owner;
        bool sells;
        bool any;
        bool suspended;
        uint256 nextPlace;
        uint256 recordedBefore;
        uint256 recordedNow;
        int256 availableMicrocents;
        uint256 worstMicrocents;
        uint256 feePerMwh;
        uint32[] meters;
        uint256[] quantitiesWh;
    }

    uint256 private constant SECONDS_PER_HOUR = 3600;

    /// @dev How many orders of an owner are recorded.
    mapping(uint256 slotKey => mapping(address owner => uint256)) private _recordedOf;

    function _recordOwners(uint32 zone, uint64 mtuStart, bytes calldata book, ListedOrder[][] calldata owners)
        internal
    {
        Mtu memory mtu = _readMtu(zone, mtuStart);
        _requireBook(mtu, book);
        if (mtu.clearing.status != IEnergyTrading.Status.Open) revert ClearingBegun(zone, mtuStart);
        if (block.timestamp > mtu.clearingDeadline) {
            revert ClearingTimeOver(mtuStart, mtu.clearingDeadline, uint64(block.timestamp));
        }
        (IGridPolicy.Policy memory policy,) = _policy.policyAt(mtuStart);
        for (uint256 i = 0; i < owners.length; ++i) {
            if (owners[i].length > 0) _recordOwner(mtu, book, owners[i], policy.gridFeeCentsPerMwh);
        }
    }

    function _recordOwner(Mtu memory mtu, bytes calldata book, ListedOrder[] calldata listed, uint256 feePerMwh)
        private
    {
        Tally memory tally;
        tally.owner = _known(mtu, listed[0].order).meter.owner;
        tally.feePerMwh = feePerMwh;
        tally.suspended = IEnergyAccounts(address(_trading)).suspendedSince(tally.owner) != 0;
        tally.availableMicrocents = IEnergyAccounts(address(_trading)).availableFor(tally.owner, mtu.gateClosure);
        tally.meters = new uint32[](listed.length);
        tally.quantitiesWh = new uint256[](listed.length);
        for (uint256 i = 0; i < listed.length; ++i) {
            _recordOrder(mtu, book, listed[i], tally, i);
        }
        uint256 slotKey = SlotKey.pack(mtu.zone, mtu.mtuStart);
        uint256 recorded = _recordedOf[slotKey][tally.owner];
        if (tally.recordedBefore != recorded) revert RecordIncomplete(tally.owner, recorded, tally.recordedBefore);
        _recordedOf[slotKey][tally.owner] = tally.recordedNow;
    }

    function _recordOrder(
        Mtu memory mtu,
        bytes calldata book,
        ListedOrder calldata listed,
        Tally memory tally,
        uint256 index
    ) private {
        Known memory known = _knownSigned(mtu, listed.order);
        if (known.meter.owner != tally.owner) revert OwnersMixed(known.uid, tally.owner);
        (bool isListed, uint256 place,) = ClearingEvidence.find(book, known.uid);
        if (!isListed) revert IEnergyTrading.OrderNotListed(known.uid, place);
        if (place < tally.nextPlace) revert OrdersNotAscending(known.uid);
        tally.nextPlace = place + 1;
        Ineligibility reason = _weigh(mtu, book, listed, known, tally, index);
        if (_recordEligibility(mtu, known.uid, place, reason)) ++tally.recordedBefore;
        if (reason != Ineligibility.None) ++tally.recordedNow;
    }

    /// @dev Adds the order to the tally if it counts; else says why it does not.
    function _weigh(
        Mtu memory mtu,
        bytes calldata book,
        ListedOrder calldata listed,
        Known memory known,
        Tally memory tally,
        uint256 index
    ) private view returns (Ineligibility) {
        uint256 terms = listed.order.terms;
        bool accepts = terms.isAcceptance();
        int64 limit = (accepts ? listed.offer : listed.order).guard.limit();
        if (accepts) {
            Known memory offered = _requireStandingDeal(mtu, listed.order, known, listed.offer);
            (bool isListed, uint256 place,) = ClearingEvidence.find(book, offered.uid);
            if (!isListed) revert IEnergyTrading.OrderNotListed(offered.uid, place);
            if (isIneligible(mtu.zone, mtu.mtuStart, place)) return Ineligibility.OfferIneligible;
        } else {
            _requireStanding(mtu, listed.order, known);
        }
        if (tally.suspended) return Ineligibility.Suspended;
        bool sells = !accepts && terms.sells();
        if (tally.any && tally.sells != sells) return Ineligibility.OtherSide;
        uint256 capacityW = sells ? known.meter.exportCapacityW : known.meter.importCapacityW;
        if (_meterWh(tally, terms.meter(), index) + terms.quantityWh() > capacityW * _mtuLengthS / SECONDS_PER_HOUR) {
            return Ineligibility.OverCapacity;
        }
        uint256 worst = sells
            ? SettlementRules.sellerLock(terms.quantityWh(), limit, mtu.prices.shortage)
            : SettlementRules.buyerLock(terms.quantityWh(), limit) + terms.quantityWh() * tally.feePerMwh;
        // Both are sums of products of 40 and 64 bits.
        if (int256(tally.worstMicrocents + worst) > tally.availableMicrocents) return Ineligibility.Unfunded;
        tally.worstMicrocents += worst;
        (tally.any, tally.sells) = (true, sells);
        (tally.meters[index], tally.quantitiesWh[index]) = (terms.meter(), terms.quantityWh());
        return Ineligibility.None;
    }

    /// @dev Energy of the meter's orders that count so far.
    function _meterWh(Tally memory tally, uint32 meter, uint256 count) private pure returns (uint256 energyWh) {
        for (uint256 i = 0; i < count; ++i) {
            if (tally.meters[i] == meter) energyWh += tally.quantitiesWh[i];
        }
    }
}
