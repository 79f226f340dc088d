// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {EnergyAccounts} from "./EnergyAccounts.sol";
import {IEnergyPricing} from "./interfaces/IEnergyPricing.sol";
import {IEnergyTrading} from "./interfaces/IEnergyTrading.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {Lists} from "./libraries/Lists.sol";
import {Pricing, SignedOrder} from "./libraries/MarketTypes.sol";
import {MeterWord} from "./libraries/MeterWord.sol";
import {OrderHash} from "./libraries/OrderHash.sol";
import {OrderTerms} from "./libraries/OrderTerms.sol";
import {SaltMarks} from "./libraries/SaltMarks.sol";

/// @title OrderDesk
/// @dev What makes a presented order good: its owner's signature, its place in the committed book, and that it still
/// stood at gate closure. Nothing here moves money.
abstract contract OrderDesk is IEnergyTrading, EnergyAccounts, EIP712 {
    using Lists for bytes32[];
    using Lists for int64[];
    using Lists for uint256[];
    using OrderTerms for uint256;
    using SaltMarks for SaltMarks.Mark[];

    /// @dev The rules of one MTU, read once per clearing; `pegged` and `accepts` are
    /// set by the first pegged order and the first acceptance.
    struct Rules {
        IGridPolicy.ClearingRules policy;
        uint32 zone;
        uint64 mtuStart;
        bytes32 domain;
        bool pegged;
        bool accepts;
    }

    /// @dev The presented orders after checking, index by index: orders with energy first, then the named ends. `terms`
    /// are kept beside the call data, for reading nested call data costs ten times as much.
    struct Checked {
        uint256 filled;
        uint256[] terms;
        uint256[] meters;
        bytes32[] uids;
        int64[] limits;
        uint256[] dealtWh;
    }

    uint256 private constant NUMBER_BYTES = 8;
    uint256 private constant MOST_ENDS = 4;

    IGridPolicy internal immutable _policy;
    IEnergyPricing private immutable _pricing;
    mapping(address owner => mapping(bytes32 orderUid => uint64)) private _cancelledAt;
    /// @dev Bulk cancellations, oldest first.
    mapping(address owner => SaltMarks.Mark[]) private _saltMarks;

    constructor(IERC20 settlementToken, IParticipantRegistry registry, IGridPolicy policy, IEnergyPricing pricing)
        EnergyAccounts(settlementToken, registry, policy.longestClearingS())
        EIP712("gridledger", "1")
    {
        _policy = policy;
        _pricing = pricing;
    }

    /// @inheritdoc IEnergyTrading
    function cancel(bytes32 uid) external {
        // The first moment counts: repeating a cancellation cannot postpone it.
        if (_cancelledAt[msg.sender][uid] == 0) _cancelledAt[msg.sender][uid] = uint64(block.timestamp);
        _accounts[msg.sender].hasCancelled = true;
        emit OrderCancelled(msg.sender, uid);
    }

    /// @inheritdoc IEnergyTrading
    function cancelUpTo(uint64 salt) external {
        SaltMarks.Mark[] storage marks = _saltMarks[msg.sender];
        uint128 firstGood = uint128(salt) + 1;
        uint128 already = marks.latest();
        if (firstGood <= already) revert SaltNotAscending(salt, uint64(already - 1));
        marks.push(SaltMarks.Mark({time: uint64(block.timestamp), firstGood: firstGood}));
        _accounts[msg.sender].hasCancelled = true;
        emit OrdersCancelled(msg.sender, salt);
    }

    /// @inheritdoc IEnergyTrading
    function isCancelledAt(address owner, bytes32 uid, uint64 salt, uint64 gateClosure) public view returns (bool) {
        // After the gate a cancellation counts for later MTUs only: the committed book stands.
        uint64 cancelledAt = _cancelledAt[owner][uid];
        if (cancelledAt != 0 && cancelledAt < gateClosure) return true;
        return salt < _saltMarks[owner].before(gateClosure);
    }

    /// @inheritdoc IEnergyTrading
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @inheritdoc IEnergyTrading
    function orderUid(uint256 terms, uint256 guard, address owner) external view returns (bytes32) {
        return _uidOf(_domainSeparatorV4(), terms, guard, owner);
    }

    function _checkOrders(Clearing calldata clearing, Rules memory rules)
        internal
        view
        returns (Checked memory checked)
    {
        SignedOrder[] calldata orders = clearing.orders;
        SignedOrder[] calldata ends = clearing.ends;
        if (ends.length > MOST_ENDS) revert EndInvalid(uint16(orders.length));
        checked.filled = orders.length;
        checked.terms = _termsOf(orders, ends);
        checked.meters = _registry.meterWords(checked.terms);
        checked.uids = new bytes32[](checked.terms.length);
        checked.limits = new int64[](checked.terms.length);
        checked.dealtWh = new uint256[](checked.terms.length);
        (rules.zone, rules.mtuStart, rules.domain) = (clearing.zone, clearing.mtuStart, _domainSeparatorV4());
        uint256 previous = 0;
        for (uint256 i = 0; i < orders.length; ++i) {
            _checkOrder(checked, i, orders[i], rules);
            uint256 terms = checked.terms.at(i);
            if (i > 0) _requireAscending(previous, terms, i);
            if (terms.fillWh() == 0) revert OrderWithoutEnergy(checked.uids.at(i));
            previous = terms;
        }
        for (uint256 i = 0; i < ends.length; ++i) {
            _checkOrder(checked, orders.length + i, ends[i], rules);
            _requireNew(checked.uids, orders.length + i);
        }
        if (rules.accepts || clearing.acceptedOffers.length > 0) _addDeals(clearing, checked);
        if (rules.pegged) _peg(checked, rules);
    }

    /// @dev Puts the committed list together from the running numbers, the presented orders at their places and the
    /// uids of all others, and compares its hash. An order that is not at the place it names is not listed.
    function _requireBook(Clearing calldata clearing, Checked memory checked, bytes32 committed) internal pure {
        bytes calldata numbers = clearing.bookNumbers;
        bytes32[] calldata otherUids = clearing.otherUids;
        bytes32[] memory uids = checked.uids;
        uint256 lines = numbers.length / NUMBER_BYTES;
        if (numbers.length % NUMBER_BYTES != 0 || lines != otherUids.length + uids.length) {
            revert BookMalformed(numbers.length, otherUids.length);
        }
        uint256[] memory terms = checked.terms;
        bytes32[] memory listed = new bytes32[](lines);
        for (uint256 i = 0; i < uids.length; ++i) {
            uint256 place = terms.at(i).bookIndex();
            if (place >= lines) revert OrderNotListed(uids.at(i), place);
            if (listed.at(place) != 0) revert OrderPresentedTwice(uids.at(i));
            listed.put(place, uids.at(i));
        }
        // As many places are left as there are other uids.
        uint256 other = 0;
        for (uint256 i = 0; other < otherUids.length; ++i) {
            if (listed.at(i) == 0) listed.put(i, otherUids[other++]);
        }
        bytes32 presented = OrderHash.bookHash(numbers, listed);
        if (presented != committed) revert BookMismatch(committed, presented);
    }

    /// @dev Everything about one order that does not depend on the prices.
    function _checkOrder(Checked memory checked, uint256 index, SignedOrder calldata order, Rules memory rules)
        private
        view
    {
        uint256 terms = checked.terms.at(index);
        uint256 meter = checked.meters.at(index);
        address owner = MeterWord.owner(meter);
        bytes32 uid = _uidOf(rules.domain, terms, order.guard, owner);
        checked.uids.put(index, uid);
        address signer = ECDSA.recover(uid, order.r, order.vs);
        if (signer != owner) revert SignerMismatch(uid, signer, owner);
        if (MeterWord.zone(meter) != rules.zone) revert ZoneMismatch(terms.meter(), MeterWord.zone(meter), rules.zone);
        (bool suspended, bool hasCancelled) = _flagsOf(owner);
        if (suspended) revert AccountSuspended(owner);
        if (!terms.isAcceptance()) {
            checked.limits.put(index, _checkTerms(uid, terms, order.guard, rules, hasCancelled ? owner : address(0)));
            return;
        }
        rules.accepts = true;
        if (terms.firstMtuStart() != rules.mtuStart) revert OrderOutsideMtu(uid, rules.mtuStart);
        if (terms.sells() || terms.fillWh() != terms.quantityWh()) revert AcceptanceInvalid(uid);
    }

    /// @dev Returns the limit, or the guard of a pegged order.
    /// @param canceller the owner if it has ever cancelled an order, else zero
    function _checkTerms(bytes32 uid, uint256 terms, uint256 guard, Rules memory rules, address canceller)
        private
        view
        returns (int64 limit)
    {
        if (terms.firstMtuStart() > rules.mtuStart || rules.mtuStart > terms.lastMtuStart()) {
            revert OrderOutsideMtu(uid, rules.mtuStart);
        }
        IGridPolicy.ClearingRules memory policy = rules.policy;
        if (terms.expiry() < policy.gateClosure) revert OrderExpired(uid, terms.expiry(), policy.gateClosure);
        if (terms.fillWh() > terms.quantityWh()) revert OrderOverfilled(uid, terms.quantityWh(), terms.fillWh());
        if (canceller != address(0) && isCancelledAt(canceller, uid, guard.salt(), policy.gateClosure)) {
            revert OrderIsCancelled(uid);
        }
        limit = guard.limit();
        if (limit < policy.floor || limit > policy.cap) revert LimitOutsideBounds(uid, limit, policy.floor, policy.cap);
        if (terms.pricing() == Pricing.Pegged) rules.pegged = true;
    }

    /// @dev Pegged orders trade at the reference price within their guard.
    function _peg(Checked memory checked, Rules memory rules) private view {
        int64 zonePrice = _pricing.referencePrice(rules.zone, rules.mtuStart);
        for (uint256 i = 0; i < checked.terms.length; ++i) {
            uint256 terms = checked.terms[i];
            if (terms.pricing() == Pricing.Limit) continue;
            int64 guard = checked.limits[i];
            if (terms.sells() ? zonePrice > guard : zonePrice < guard) checked.limits[i] = zonePrice;
        }
    }

    /// @dev Adds up what was accepted of each offer directly, Wh.
    function _addDeals(Clearing calldata clearing, Checked memory checked) private pure {
        uint256[] memory dealt = checked.dealtWh;
        uint16[] calldata acceptedOffers = clearing.acceptedOffers;
        uint256 deal = 0;
        for (uint256 i = 0; i < checked.filled; ++i) {
            uint256 terms = checked.terms[i];
            if (!terms.isAcceptance()) continue;
            if (deal == acceptedOffers.length) revert AcceptanceInvalid(checked.uids[i]);
            uint256 offer = acceptedOffers[deal++];
            if (offer >= checked.filled || checked.uids[offer] != bytes32(clearing.orders[i].guard)) {
                revert AcceptanceInvalid(checked.uids[i]);
            }
            uint256 offerTerms = checked.terms[offer];
            if (!offerTerms.sells() || offerTerms.pricing() != Pricing.Limit) revert AcceptanceInvalid(checked.uids[i]);
            dealt[offer] += terms.fillWh();
            if (dealt[offer] > offerTerms.fillWh()) {
                revert OrderOverfilled(checked.uids[offer], offerTerms.fillWh(), dealt[offer]);
            }
        }
        if (deal != acceptedOffers.length) revert AcceptanceInvalid(0);
    }

    function _uidOf(bytes32 domain, uint256 terms, uint256 guard, address owner) private pure returns (bytes32) {
        return terms.isAcceptance()
            ? OrderHash.acceptanceUid(domain, terms, guard, owner)
            : OrderHash.orderUid(domain, terms, guard, owner);
    }

    function _termsOf(SignedOrder[] calldata orders, SignedOrder[] calldata ends)
        private
        pure
        returns (uint256[] memory terms)
    {
        uint256 filled = orders.length;
        terms = new uint256[](filled + ends.length);
        for (uint256 i = 0; i < filled; ++i) {
            terms.put(i, orders[i].terms);
        }
        for (uint256 i = 0; i < ends.length; ++i) {
            terms.put(filled + i, ends[i].terms);
        }
    }

    /// @dev An order that stands in two lines of the book is not filled in the one and open in the other.
    function _requireNew(bytes32[] memory uids, uint256 index) private pure {
        for (uint256 i = 0; i < index; ++i) {
            if (uids[i] == uids[index]) revert OrderPresentedTwice(uids[index]);
        }
    }

    function _requireAscending(uint256 previous, uint256 terms, uint256 index) private pure {
        if (_sortKey(terms) <= _sortKey(previous)) revert OrdersNotAscending(index);
    }

    /// @dev By meter, then by place in the book.
    function _sortKey(uint256 terms) private pure returns (uint256) {
        return (uint256(terms.meter()) << 16) | terms.bookIndex();
    }
}
