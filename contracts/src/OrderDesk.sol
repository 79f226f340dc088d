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
import {MeterPages} from "./libraries/MeterPages.sol";
import {MeterWord} from "./libraries/MeterWord.sol";
import {OrderHash} from "./libraries/OrderHash.sol";
import {OrderRows, Row} from "./libraries/OrderRows.sol";
import {OrderTerms} from "./libraries/OrderTerms.sol";
import {SaltMarks} from "./libraries/SaltMarks.sol";

/// @title OrderDesk
/// @dev What makes a presented order good: its owner's signature, its place in the committed book, and that it still
/// stood at gate closure. Nothing here moves money.
abstract contract OrderDesk is IEnergyTrading, EnergyAccounts, EIP712 {
    using Lists for SignedOrder[];
    using Lists for uint256[];
    using OrderRows for Row;
    using OrderRows for uint256[];
    using OrderTerms for uint256;
    using SaltMarks for SaltMarks.Mark[];

    /// @dev The rules of one MTU, read once per clearing; `pegged` and `accepts` are
    /// set by the first pegged order and the first acceptance. `page` is the page of meters in `pageWords`.
    struct Rules {
        IGridPolicy.ClearingRules policy;
        uint32 zone;
        uint64 mtuStart;
        bytes32 domain;
        bool pegged;
        bool accepts;
        uint256 page;
        uint256[] pageWords;
    }

    /// @dev The presented orders after checking, in rows of OrderRows: the `filled` with energy first, then the named
    /// ends.
    struct Checked {
        uint256 filled;
        uint256[] rows;
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
        checked.rows = OrderRows.make(orders.length + ends.length);
        (rules.zone, rules.mtuStart, rules.domain) = (clearing.zone, clearing.mtuStart, _domainSeparatorV4());
        (rules.page, rules.pageWords) = (type(uint256).max, new uint256[](MeterPages.METERS));
        // Keys of known meters are above zero.
        uint256 previous = 0;
        Row row = checked.rows.rowAt(0);
        for (uint256 i = 0; i < orders.length; ++i) {
            uint256 terms = _checkOrder(row, orders.at(i), rules);
            if (_sortKey(terms) <= previous) revert OrdersNotAscending(i);
            if (terms.fillWh() == 0) revert OrderWithoutEnergy(row.uid());
            (previous, row) = (_sortKey(terms), row.next());
        }
        for (uint256 i = 0; i < ends.length; ++i) {
            _checkOrder(row, ends.at(i), rules);
            _requireNew(checked.rows.rowAt(0), row);
            row = row.next();
        }
        if (rules.accepts || clearing.acceptedOffers.length > 0) _addDeals(clearing, checked);
        if (rules.pegged) _peg(checked, rules);
    }

    /// @dev Puts the committed list together from the running numbers, the presented orders at their places and the
    /// uids of all others, and compares its hash. An order that is not at the place it names is not listed.
    function _requireBook(Clearing calldata clearing, Checked memory checked, bytes32 committed) internal pure {
        bytes calldata numbers = clearing.bookNumbers;
        bytes32[] calldata otherUids = clearing.otherUids;
        uint256 count = checked.rows.rowCount();
        uint256 lines = numbers.length / NUMBER_BYTES;
        if (numbers.length % NUMBER_BYTES != 0 || lines != otherUids.length + count) {
            revert BookMalformed(numbers.length, otherUids.length);
        }
        bytes memory book = new bytes(OrderHash.LINE_BYTES * lines);
        Row row = checked.rows.rowAt(0);
        for (uint256 i = 0; i < count; ++i) {
            (uint256 place, bytes32 uid) = (row.terms().bookIndex(), row.uid());
            if (place >= lines) revert OrderNotListed(uid, place);
            if (!OrderHash.list(book, place, uid)) revert OrderPresentedTwice(uid);
            row = row.next();
        }
        // As many places are left as there are other uids.
        bytes32 presented = OrderHash.bookHash(book, numbers, otherUids);
        if (presented != committed) revert BookMismatch(committed, presented);
    }

    /// @dev Everything about one order that does not depend on the prices.
    function _checkOrder(Row row, SignedOrder calldata order, Rules memory rules)
        private
        view
        returns (uint256 terms)
    {
        terms = order.terms;
        uint256 guard = order.guard;
        uint256 meter = _meterWord(terms.meter(), rules);
        address owner = MeterWord.owner(meter);
        bytes32 uid = _uidOf(rules.domain, terms, guard, owner);
        row.begin(terms, meter, uid);
        address signer = ECDSA.recover(uid, order.r, order.vs);
        if (signer != owner) revert SignerMismatch(uid, signer, owner);
        if (MeterWord.zone(meter) != rules.zone) revert ZoneMismatch(terms.meter(), MeterWord.zone(meter), rules.zone);
        (bool suspended, bool hasCancelled) = _flagsOf(owner);
        if (suspended) revert AccountSuspended(owner);
        if (!terms.isAcceptance()) {
            row.setLimit(_checkTerms(uid, terms, guard, rules, hasCancelled ? owner : address(0)));
            return terms;
        }
        rules.accepts = true;
        if (terms.firstMtuStart() != rules.mtuStart) revert OrderOutsideMtu(uid, rules.mtuStart);
        if (terms.sells() || terms.fillWh() != terms.quantityWh()) revert AcceptanceInvalid(uid);
    }

    /// @dev Orders stand by meter, so that each page is mostly read once.
    function _meterWord(uint32 meter, Rules memory rules) private view returns (uint256 word) {
        uint256 number = meter / MeterPages.METERS;
        if (number != rules.page) {
            rules.page = number;
            MeterPages.read(_registry.meterPage(number), rules.pageWords);
        }
        word = rules.pageWords.at(meter % MeterPages.METERS);
        if (word == 0) revert IParticipantRegistry.MeterUnknown(meter);
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
        uint256 count = checked.rows.rowCount();
        for (uint256 i = 0; i < count; ++i) {
            Row row = checked.rows.rowAt(i);
            uint256 terms = row.terms();
            if (terms.pricing() == Pricing.Limit) continue;
            int64 guard = row.limit();
            if (terms.sells() ? zonePrice > guard : zonePrice < guard) row.setLimit(zonePrice);
        }
    }

    /// @dev Adds up what was accepted of each offer directly, Wh.
    function _addDeals(Clearing calldata clearing, Checked memory checked) private pure {
        uint16[] calldata acceptedOffers = clearing.acceptedOffers;
        uint256 deal = 0;
        for (uint256 i = 0; i < checked.filled; ++i) {
            Row row = checked.rows.rowAt(i);
            uint256 terms = row.terms();
            if (!terms.isAcceptance()) continue;
            if (deal == acceptedOffers.length) revert AcceptanceInvalid(row.uid());
            uint256 index = acceptedOffers[deal++];
            Row offer = checked.rows.rowAt(index);
            if (index >= checked.filled || offer.uid() != bytes32(clearing.orders[i].guard)) {
                revert AcceptanceInvalid(row.uid());
            }
            uint256 offered = offer.terms();
            if (!offered.sells() || offered.pricing() != Pricing.Limit) revert AcceptanceInvalid(row.uid());
            uint256 dealtWh = offer.dealtWh() + terms.fillWh();
            offer.setDealtWh(dealtWh);
            if (dealtWh > offered.fillWh()) revert OrderOverfilled(offer.uid(), offered.fillWh(), dealtWh);
        }
        if (deal != acceptedOffers.length) revert AcceptanceInvalid(0);
    }

    function _uidOf(bytes32 domain, uint256 terms, uint256 guard, address owner) private pure returns (bytes32) {
        return terms.isAcceptance()
            ? OrderHash.acceptanceUid(domain, terms, guard, owner)
            : OrderHash.orderUid(domain, terms, guard, owner);
    }

    /// @dev An order that stands in two lines of the book is one order. Refuses a row whose uid is in one from `first`.
    function _requireNew(Row first, Row row) internal pure {
        bytes32 uid = row.uid();
        for (; first.isBefore(row); first = first.next()) {
            if (first.uid() == uid) revert OrderPresentedTwice(uid);
        }
    }

    /// @dev By meter, then by place in the book.
    function _sortKey(uint256 terms) private pure returns (uint256) {
        return (uint256(terms.meter()) << 16) | terms.bookIndex();
    }
}
