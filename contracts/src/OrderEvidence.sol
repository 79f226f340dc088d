// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IEnergyAccounts} from "./interfaces/IEnergyAccounts.sol";
import {IEnergyPricing} from "./interfaces/IEnergyPricing.sol";
import {IEnergyTrading} from "./interfaces/IEnergyTrading.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IMarketBond} from "./interfaces/IMarketBond.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {ClearingEvidence} from "./libraries/ClearingEvidence.sol";
import {Pricing, Product, SignedOrder} from "./libraries/MarketTypes.sol";
import {OrderHash} from "./libraries/OrderHash.sol";
import {OrderTerms} from "./libraries/OrderTerms.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title OrderEvidence
/// @dev What makes an order one the market operator had to list and to fill: its owner's signature, the operator's
/// receipt or the posting on chain, and that it still stood at gate closure. Nothing here moves money.
abstract contract OrderEvidence is IMarketBond, AccessManaged {
    using OrderTerms for uint256;

    /// @dev The contracts around this one.
    struct Neighbours {
        IGridPolicy policy;
        IParticipantRegistry registry;
        IEnergyPricing pricing;
        IEnergyTrading trading;
    }

    /// @dev All that is fixed about one zone and MTU, read once per call.
    struct Mtu {
        uint32 zone;
        uint64 mtuStart;
        uint64 gateClosure;
        uint64 clearingDeadline;
        bool isCleared;
        bytes32 domainSeparator;
        IGridPolicy.Prices prices;
        IEnergyTrading.ClearingView clearing;
    }

    /// @dev An order and what the registry says of its meter.
    struct Known {
        bytes32 uid;
        IParticipantRegistry.MeterView meter;
    }

    bytes32 private constant RECEIPT_TYPEHASH =
        keccak256("Receipt(bytes32 orderUid,uint64 runningNumber,uint64 receivedAt,bytes32 blockHash)");
    bytes32 private constant CANCEL_TYPEHASH = keccak256("Cancel(bytes32 orderUid)");
    bytes32 private constant CANCEL_UP_TO_TYPEHASH = keccak256("CancelUpTo(address owner,uint64 salt)");
    /// @dev One word: eight MTU starts of 32 bits.
    uint256 private constant MOST_POSTED = 8;

    IGridPolicy internal immutable _policy;
    IParticipantRegistry private immutable _registry;
    IEnergyPricing private immutable _pricing;
    IEnergyTrading internal immutable _trading;
    uint64 internal immutable _mtuLengthS;
    uint64 internal immutable _longestOrderS;

    mapping(address signer => bool) private _recognised;
    mapping(bytes32 orderUid => uint64) private _postedAt;
    /// @dev Last MTU of each posted order, 32 bits each; one whose start has passed is free again.
    mapping(address owner => uint256) private _postedUntil;
    mapping(bytes32 cancelDigest => uint64) private _cancelReceivedAt;
    mapping(uint256 slotKey => bool) private _haltRecorded;
    /// @dev Places of the book, 256 to a word.
    mapping(uint256 slotKey => mapping(uint256 word => uint256)) private _ineligible;

    constructor(Neighbours memory neighbours, uint64 longestOrderS) {
        _policy = neighbours.policy;
        _registry = neighbours.registry;
        _pricing = neighbours.pricing;
        _trading = neighbours.trading;
        _mtuLengthS = neighbours.policy.mtuLengthS();
        _longestOrderS = longestOrderS;
    }

    /// @inheritdoc IMarketBond
    function recognise(address signer) external {
        // Whoever may deposit is the market operator; the table of roles says who that is.
        (bool may,) = IAccessManager(authority()).canCall(signer, address(this), IMarketBond.deposit.selector);
        if (!may) revert NotAnOperator(signer);
        _recognise(signer);
    }

    /// @inheritdoc IMarketBond
    function post(uint256 terms, uint256 guard, bytes32 r, bytes32 vs) external {
        Known memory known = _knownWords(_trading.domainSeparator(), terms, guard);
        _requireSignature(known, r, vs);
        uint64 now_ = uint64(block.timestamp);
        (uint64 first, uint64 last) = (terms.firstMtuStart(), terms.lastMtuStart());
        bool postable = !terms.isAcceptance() && terms.quantityWh() > 0 && first <= last && last > now_
            && last <= now_ + _longestOrderS && last <= type(uint32).max;
        if (!postable) revert OrderNotPostable(known.uid);
        if (_postedAt[known.uid] != 0) revert OrderAlreadyPosted(known.uid, _postedAt[known.uid]);
        _takePostingPlace(known.meter.owner, last);
        _postedAt[known.uid] = now_;
        emit OrderPosted(known.uid, known.meter.owner, terms, guard, r, vs);
    }

    /// @inheritdoc IMarketBond
    function noteCancelReceipt(bytes32 cancelDigest, Receipt calldata receipt) external {
        _requireReceiptSigner(_trading.domainSeparator(), cancelDigest, receipt);
        // The latest counts: it is the operator's own word against it.
        if (receipt.receivedAt > _cancelReceivedAt[cancelDigest]) {
            _cancelReceivedAt[cancelDigest] = receipt.receivedAt;
        }
        emit CancelReceiptNoted(cancelDigest, receipt.receivedAt);
    }

    /// @inheritdoc IMarketBond
    function recordHalt(uint32 zone, uint64 mtuStart) external {
        _policy.requireGateClosed(mtuStart);
        uint64 deadline = _policy.clearingDeadlineAt(mtuStart);
        if (block.timestamp > deadline) revert ClearingTimeOver(mtuStart, deadline, uint64(block.timestamp));
        try _policy.requireOpen(zone) {
            revert ZoneNotHalted(zone);
        } catch (bytes memory reason) {
            _requireReason(reason, IGridPolicy.ZoneHalted.selector);
        }
        _haltRecorded[SlotKey.pack(zone, mtuStart)] = true;
        emit HaltRecorded(zone, mtuStart);
    }

    /// @inheritdoc IMarketBond
    function isRecognised(address signer) external view returns (bool) {
        return _recognised[signer];
    }

    /// @inheritdoc IMarketBond
    function postedAt(bytes32 orderUid) external view returns (uint64) {
        return _postedAt[orderUid];
    }

    /// @inheritdoc IMarketBond
    function cancelReceivedAt(bytes32 cancelDigest) external view returns (uint64) {
        return _cancelReceivedAt[cancelDigest];
    }

    /// @inheritdoc IMarketBond
    function isHaltRecorded(uint32 zone, uint64 mtuStart) public view returns (bool) {
        return _haltRecorded[SlotKey.pack(zone, mtuStart)];
    }

    /// @inheritdoc IMarketBond
    function isIneligible(uint32 zone, uint64 mtuStart, uint256 place) public view returns (bool) {
        return (_ineligible[SlotKey.pack(zone, mtuStart)][place >> 8] >> (place & 0xff)) & 1 == 1;
    }

    function _recognise(address signer) internal {
        if (_recognised[signer]) return;
        _recognised[signer] = true;
        emit SignerRecognised(signer);
    }

    /// @dev Returns whether it was recorded before.
    function _recordEligibility(Mtu memory mtu, bytes32 uid, uint256 place, Ineligibility reason)
        internal
        returns (bool before)
    {
        before = isIneligible(mtu.zone, mtu.mtuStart, place);
        if (before == (reason != Ineligibility.None)) return before;
        _ineligible[SlotKey.pack(mtu.zone, mtu.mtuStart)][place >> 8] ^= 1 << (place & 0xff);
        emit EligibilityRecorded(mtu.zone, mtu.mtuStart, uid, place, reason);
    }

    /// @dev The gate must have closed; a start that is no MTU's is refused with it.
    function _readMtu(uint32 zone, uint64 mtuStart) internal view returns (Mtu memory mtu) {
        _policy.requireGateClosed(mtuStart);
        (mtu.zone, mtu.mtuStart) = (zone, mtuStart);
        mtu.gateClosure = _policy.gateClosureAt(mtuStart);
        mtu.clearingDeadline = _policy.clearingDeadlineAt(mtuStart);
        mtu.domainSeparator = _trading.domainSeparator();
        mtu.prices = _policy.pricesAt(mtuStart);
        mtu.clearing = _trading.clearingOf(zone, mtuStart);
        mtu.isCleared = mtu.clearing.status == IEnergyTrading.Status.Cleared;
    }

    /// @dev An order of the zone with its uid; the owner is the meter's.
    function _known(Mtu memory mtu, SignedOrder calldata order) internal view returns (Known memory known) {
        known = _knownWords(mtu.domainSeparator, order.terms, order.guard);
        if (known.meter.zone != mtu.zone) {
            revert IEnergyTrading.ZoneMismatch(order.terms.meter(), known.meter.zone, mtu.zone);
        }
    }

    /// @dev As `_known`, signed by its owner.
    function _knownSigned(Mtu memory mtu, SignedOrder calldata order) internal view returns (Known memory known) {
        known = _known(mtu, order);
        _requireSignature(known, order.r, order.vs);
    }

    /// @dev Receipted, or posted, before the gate closed.
    function _requireReceipted(Mtu memory mtu, bytes32 uid, Receipt calldata receipt) internal view {
        uint64 receivedAt = receipt.receivedAt;
        if (receivedAt == 0) {
            receivedAt = _postedAt[uid];
            if (receivedAt == 0) revert NotReceipted(uid);
        } else {
            _requireReceiptSigner(mtu.domainSeparator, uid, receipt);
        }
        if (receivedAt >= mtu.gateClosure) revert ReceivedAfterGate(uid, receivedAt, mtu.gateClosure);
    }

    /// @dev Everything the trading contract asks of an order that depends on no price: it could have been filled.
    function _requireStanding(Mtu memory mtu, SignedOrder calldata order, Known memory known) internal view {
        (bytes32 uid, uint256 terms) = (known.uid, order.terms);
        if (terms.firstMtuStart() > mtu.mtuStart || mtu.mtuStart > terms.lastMtuStart()) {
            revert IEnergyTrading.OrderOutsideMtu(uid, mtu.mtuStart);
        }
        if (terms.expiry() < mtu.gateClosure) revert IEnergyTrading.OrderExpired(uid, terms.expiry(), mtu.gateClosure);
        int64 limit = order.guard.limit();
        if (limit < mtu.prices.floor || limit > mtu.prices.cap) {
            revert IEnergyTrading.LimitOutsideBounds(uid, limit, mtu.prices.floor, mtu.prices.cap);
        }
        if (_trading.isCancelledAt(known.meter.owner, uid, order.guard.salt(), mtu.gateClosure)) {
            revert IEnergyTrading.OrderIsCancelled(uid);
        }
    }

    /// @dev An acceptance stands and falls with its offer: a limit offer of somebody else for this MTU.
    function _requireStandingDeal(
        Mtu memory mtu,
        SignedOrder calldata acceptance,
        Known memory known,
        SignedOrder calldata offer
    ) internal view returns (Known memory offered) {
        uint256 offerTerms = offer.terms;
        if (acceptance.terms.firstMtuStart() != mtu.mtuStart) {
            revert IEnergyTrading.OrderOutsideMtu(known.uid, mtu.mtuStart);
        }
        offered = _known(mtu, offer);
        if (offered.uid != bytes32(acceptance.guard)) revert OfferMismatch(bytes32(acceptance.guard), offered.uid);
        if (
            offerTerms.isAcceptance() || !offerTerms.sells() || offerTerms.pricing() != Pricing.Limit
                || offered.meter.owner == known.meter.owner
        ) revert IEnergyTrading.AcceptanceInvalid(known.uid);
        _requireStanding(mtu, offer, offered);
    }

    /// @dev A suspension counts that was in force when the market was cleared, or should have been. One that was
    /// lifted since must have been recorded.
    function _requireNotSuspended(Mtu memory mtu, address owner) internal view {
        uint64 since = IEnergyAccounts(address(_trading)).suspendedSince(owner);
        uint64 decidedAt = mtu.isCleared ? mtu.clearing.clearedAt : mtu.clearingDeadline;
        if (since != 0 && since <= decidedAt) revert IEnergyAccounts.AccountSuspended(owner);
    }

    /// @dev Place and number in the committed book; an order recorded as ineligible does not count as listed.
    function _requireListed(Mtu memory mtu, bytes calldata book, bytes32 uid)
        internal
        view
        returns (uint256 place, uint64 number)
    {
        bool listed;
        (listed, place, number) = ClearingEvidence.find(book, uid);
        if (!listed) revert IEnergyTrading.OrderNotListed(uid, place);
        if (isIneligible(mtu.zone, mtu.mtuStart, place)) revert OrderIsIneligible(uid, place);
    }

    function _requireBook(Mtu memory mtu, bytes calldata book) internal pure {
        if (mtu.clearing.bookHash == 0) revert IEnergyTrading.BookMissing(mtu.zone, mtu.mtuStart);
        bytes32 presented = keccak256(book);
        if (presented != mtu.clearing.bookHash) {
            revert IEnergyTrading.BookMismatch(mtu.clearing.bookHash, presented);
        }
    }

    /// @dev The limit an order trades at, as in the clearing. Where no reference price was published before the
    /// second of the clearing, a pegged order counts at its guard: neither leaving the price out nor naming it when all
    /// is done is a way to leave orders out.
    function _limitOf(Mtu memory mtu, SignedOrder calldata order) internal view returns (int64 limit) {
        limit = order.guard.limit();
        if (order.terms.pricing() == Pricing.Limit) return limit;
        uint64 publishedAt = _pricing.publishedAt(mtu.zone, mtu.mtuStart);
        if (publishedAt == 0 || publishedAt >= mtu.clearing.clearedAt) return limit;
        int64 zonePrice = _pricing.referencePrice(mtu.zone, mtu.mtuStart);
        if (order.terms.sells() ? zonePrice > limit : zonePrice < limit) limit = zonePrice;
    }

    /// @dev Whether the order belongs to the low-carbon product.
    function _isLowCarbon(SignedOrder calldata order, Known memory known) internal pure returns (bool) {
        return order.terms.sells() ? known.meter.source != 0 : order.terms.product() == Product.LowCarbon;
    }

    /// @dev Requires the canceller's signature, and that nobody has noted the operator's word for a later receipt.
    function _requireCancel(Mtu memory mtu, bytes32 digest, address canceller, bytes32 r, bytes32 vs) internal view {
        address signer = ECDSA.recover(digest, r, vs);
        if (signer != canceller) revert IEnergyTrading.SignerMismatch(digest, signer, canceller);
        uint64 receivedAt = _cancelReceivedAt[digest];
        if (receivedAt >= mtu.gateClosure) revert CancelTooLate(digest, receivedAt, mtu.gateClosure);
    }

    function _cancelDigest(Mtu memory mtu, bytes32 uid) internal pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(
            mtu.domainSeparator, keccak256(abi.encode(CANCEL_TYPEHASH, uid))
        );
    }

    function _cancelUpToDigest(Mtu memory mtu, address owner, uint64 salt) internal pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(
            mtu.domainSeparator, keccak256(abi.encode(CANCEL_UP_TO_TYPEHASH, owner, salt))
        );
    }

    function _takePostingPlace(address owner, uint64 lastMtuStart) private {
        uint256 places = _postedUntil[owner];
        for (uint256 i = 0; i < MOST_POSTED; ++i) {
            uint256 shift = 32 * i;
            if (uint32(places >> shift) > block.timestamp) continue;
            _postedUntil[owner] = (places & ~(uint256(type(uint32).max) << shift)) | (uint256(lastMtuStart) << shift);
            return;
        }
        revert TooManyPosted(owner);
    }

    function _knownWords(bytes32 domainSeparator, uint256 terms, uint256 guard)
        private
        view
        returns (Known memory known)
    {
        known.meter = _registry.meterOf(terms.meter());
        known.uid = terms.isAcceptance()
            ? OrderHash.acceptanceUid(domainSeparator, terms, guard, known.meter.owner)
            : OrderHash.orderUid(domainSeparator, terms, guard, known.meter.owner);
    }

    function _requireReceiptSigner(bytes32 domainSeparator, bytes32 uid, Receipt calldata receipt) private view {
        bytes32 structHash = keccak256(
            abi.encode(RECEIPT_TYPEHASH, uid, receipt.runningNumber, receipt.receivedAt, receipt.blockHash)
        );
        address signer =
            ECDSA.recover(MessageHashUtils.toTypedDataHash(domainSeparator, structHash), receipt.r, receipt.vs);
        if (!_recognised[signer]) revert NotAnOperator(signer);
    }

    function _requireSignature(Known memory known, bytes32 r, bytes32 vs) private pure {
        address signer = ECDSA.recover(known.uid, r, vs);
        if (signer != known.meter.owner) {
            revert IEnergyTrading.SignerMismatch(known.uid, signer, known.meter.owner);
        }
    }

    /// @dev Only the expected refusal counts: a call that ran out of gas, say, proves nothing.
    function _requireReason(bytes memory reason, bytes4 expected) private pure {
        if (reason.length >= 4 && bytes4(reason) == expected) return;
        revert UnexpectedAnswer(reason);
    }
}
