// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {BondVault} from "./BondVault.sol";
import {OrderEvidence} from "./OrderEvidence.sol";
import {OrderExclusion} from "./OrderExclusion.sol";
import {IEnergyTrading} from "./interfaces/IEnergyTrading.sol";
import {IMarketBond} from "./interfaces/IMarketBond.sol";
import {ClearingEvidence} from "./libraries/ClearingEvidence.sol";
import {IntegerMath} from "./libraries/IntegerMath.sol";
import {SignedOrder} from "./libraries/MarketTypes.sol";
import {OrderTerms} from "./libraries/OrderTerms.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title MarketBond
/// @dev A clearing the trading contract accepted, and against which nothing here can be proven, has the greatest
/// welfare of all listed orders and, among that, the largest volume (docs/adr/0012; node: market/omission). Only an
/// order's owner can challenge for it, one challenge at a time and paid once per zone and MTU, with a stake: nobody
/// can use up another's claim, and holding the bond in reserve costs a stake each time. The market operator can
/// exclude orders only by what the contract sees, and take the bond away only after every order it covers is past
/// challenging. It can, with a member's help, back-date a receipt and pay itself the cap per MTU. It is shut down by
/// withdrawing the bond.
contract MarketBond is BondVault, OrderExclusion {
    using OrderTerms for uint256;

    /// @dev What a proof established.
    struct Finding {
        int64 limit;
        uint256 unfilledWh;
        bytes32 dealtOffer;
        uint256 dealtWh;
    }

    /// @dev A listed order with what the committed result gave it.
    struct Listed {
        bytes32 uid;
        uint64 number;
        bool sells;
        bool lowCarbon;
        int64 limit;
        int64 price;
        uint256 fillWh;
        uint256 quantityWh;
    }

    uint64 private immutable _challengePeriodS;
    uint64 private immutable _responseWindowS;
    uint128 private immutable _fixedFeeMicrocents;
    uint128 private immutable _capMicrocents;

    mapping(address owner => mapping(uint256 slotKey => Challenge)) private _challenges;

    constructor(address accessManager, IERC20 settlementToken, Neighbours memory neighbours, Terms memory terms)
        AccessManaged(accessManager)
        BondVault(settlementToken, terms.withdrawalDelayS, terms.stakeMicrocents)
        OrderEvidence(neighbours, terms.longestOrderS)
    {
        uint256 covered = uint256(terms.longestOrderS) + neighbours.policy.mtuLengthS() + terms.challengePeriodS
            + terms.responseWindowS;
        if (terms.withdrawalDelayS < covered) revert TermsRefused("withdrawal before the last proof");
        if (terms.challengePeriodS == 0 || terms.responseWindowS == 0) revert TermsRefused("no time to prove");
        if (terms.fixedFeeMicrocents == 0) revert TermsRefused("nothing to win");
        if (terms.capMicrocents < terms.fixedFeeMicrocents) revert TermsRefused("cap below fee");
        _challengePeriodS = terms.challengePeriodS;
        _responseWindowS = terms.responseWindowS;
        _fixedFeeMicrocents = terms.fixedFeeMicrocents;
        _capMicrocents = terms.capMicrocents;
    }

    /// @inheritdoc IMarketBond
    function deposit(uint256 amountMicrocents) external restricted {
        _recognise(msg.sender);
        _depositBond(amountMicrocents);
    }

    /// @inheritdoc IMarketBond
    function announceWithdrawal(uint256 amountMicrocents) external restricted {
        _announceWithdrawal(amountMicrocents);
    }

    /// @inheritdoc IMarketBond
    function withdraw() external restricted {
        _withdrawAnnounced();
    }

    /// @inheritdoc IMarketBond
    function recordIneligible(uint32 zone, uint64 mtuStart, bytes calldata book, ListedOrder[][] calldata owners)
        external
        restricted
    {
        _recordOwners(zone, mtuStart, book, owners);
    }

    /// @inheritdoc IMarketBond
    function challenge(Proof proof, Claim calldata claim) external {
        Mtu memory mtu = _readMtu(claim.zone, claim.mtuStart);
        _requireTimely(mtu);
        Known memory known = _knownSigned(mtu, claim.order);
        if (msg.sender != known.meter.owner) revert NotTheOwner(known.meter.owner, msg.sender);
        Challenge storage entry = _challengeOf(msg.sender, claim.zone, claim.mtuStart);
        if (entry.status != ChallengeStatus.None) {
            revert ChallengeExists(msg.sender, claim.zone, claim.mtuStart, entry.status);
        }
        _requireNotSuspended(mtu, msg.sender);
        Finding memory finding;
        Known memory offered;
        if (claim.order.terms.isAcceptance()) {
            offered = _requireStandingDeal(mtu, claim.order, known, claim.other);
            _requireNotSuspended(mtu, offered.meter.owner);
            finding = _proveAcceptance(proof, mtu, claim, known, offered);
        } else {
            _requireStanding(mtu, claim.order, known);
            // Acceptances are binding; on chain an offer's cancellation is checked above.
            (entry.cancellableSalt, entry.cancellable) = (claim.order.guard.salt(), true);
            finding = _proveOrder(proof, mtu, claim, known);
        }
        _open(entry, proof, mtu, known.uid, finding, _amount(mtu, claim.order, known, finding));
    }

    /// @inheritdoc IMarketBond
    function defeatByCancel(address owner, uint32 zone, uint64 mtuStart, bytes32 r, bytes32 vs) external {
        Challenge storage entry = _requireCancellable(owner, zone, mtuStart);
        Mtu memory mtu = _readMtu(zone, mtuStart);
        bytes32 digest = _cancelDigest(mtu, entry.orderUid);
        _requireCancel(mtu, digest, owner, r, vs);
        _defeat(owner, zone, mtuStart, digest);
    }

    /// @inheritdoc IMarketBond
    function defeatByCancelUpTo(address owner, uint32 zone, uint64 mtuStart, uint64 salt, bytes32 r, bytes32 vs)
        external
    {
        Challenge storage entry = _requireCancellable(owner, zone, mtuStart);
        if (salt < entry.cancellableSalt) revert CancelTooLow(salt, entry.cancellableSalt);
        Mtu memory mtu = _readMtu(zone, mtuStart);
        bytes32 digest = _cancelUpToDigest(mtu, owner, salt);
        _requireCancel(mtu, digest, owner, r, vs);
        _defeat(owner, zone, mtuStart, digest);
    }

    /// @inheritdoc IMarketBond
    function defeatByDeals(
        address owner,
        uint32 zone,
        uint64 mtuStart,
        bytes calldata book,
        Result calldata result,
        SignedOrder[] calldata acceptances
    ) external {
        Challenge storage entry = _requireAnswerable(owner, zone, mtuStart);
        if (entry.dealtWh == 0) revert ProofInapplicable(entry.proof);
        Mtu memory mtu = _readMtu(zone, mtuStart);
        _requireBook(mtu, book);
        _requireResult(mtu, result);
        uint256 dealtWh = _dealtWh(mtu, book, result, acceptances, entry.dealtOffer);
        if (dealtWh < entry.dealtWh) revert DealsTooSmall(entry.dealtWh, dealtWh);
        _defeat(owner, zone, mtuStart, entry.dealtOffer);
    }

    /// @inheritdoc IMarketBond
    function defeatByIneligibility(address owner, uint32 zone, uint64 mtuStart, bytes calldata book) external {
        Challenge storage entry = _requireAnswerable(owner, zone, mtuStart);
        Mtu memory mtu = _readMtu(zone, mtuStart);
        _requireBook(mtu, book);
        bytes32 uid = entry.orderUid;
        (bool listed, uint256 place,) = ClearingEvidence.find(book, uid);
        if (!listed || !isIneligible(zone, mtuStart, place)) revert OrderNotRecorded(uid);
        _defeat(owner, zone, mtuStart, uid);
    }

    /// @inheritdoc IMarketBond
    function resolve(address owner, uint32 zone, uint64 mtuStart) external {
        Challenge storage entry = _challengeOf(owner, zone, mtuStart);
        if (entry.status != ChallengeStatus.Open) revert ChallengeNotOpen(owner, zone, mtuStart);
        if (block.timestamp <= entry.respondBy) revert ResponseOpen(entry.respondBy, uint64(block.timestamp));
        entry.status = ChallengeStatus.Paid;
        uint256 paid = _payOut(owner, entry.amountMicrocents);
        emit ChallengeUpheld(owner, zone, mtuStart, entry.amountMicrocents, paid);
    }

    /// @inheritdoc IMarketBond
    function bondTerms() external view returns (Terms memory) {
        return Terms({
            challengePeriodS: _challengePeriodS,
            responseWindowS: _responseWindowS,
            longestOrderS: _longestOrderS,
            withdrawalDelayS: _withdrawalDelayS,
            fixedFeeMicrocents: _fixedFeeMicrocents,
            capMicrocents: _capMicrocents,
            stakeMicrocents: _stakeMicrocents
        });
    }

    /// @inheritdoc IMarketBond
    function challengeOf(address owner, uint32 zone, uint64 mtuStart) external view returns (Challenge memory) {
        return _challengeOf(owner, zone, mtuStart);
    }

    function _open(
        Challenge storage entry,
        Proof proof,
        Mtu memory mtu,
        bytes32 uid,
        Finding memory finding,
        uint256 amountMicrocents
    ) private {
        uint64 respondBy = uint64(block.timestamp) + _responseWindowS;
        (entry.orderUid, entry.proof, entry.status) = (uid, proof, ChallengeStatus.Open);
        (entry.dealtOffer, entry.dealtWh) = (finding.dealtOffer, uint40(finding.dealtWh));
        (entry.amountMicrocents, entry.respondBy) = (uint128(amountMicrocents), uint40(respondBy));
        emit ChallengeOpened(msg.sender, mtu.zone, mtu.mtuStart, proof, uid, amountMicrocents, respondBy);
        _reserve(msg.sender, amountMicrocents);
    }

    function _defeat(address owner, uint32 zone, uint64 mtuStart, bytes32 evidence) private {
        Challenge storage entry = _challengeOf(owner, zone, mtuStart);
        _forfeit(entry.amountMicrocents);
        delete _challenges[owner][SlotKey.pack(zone, mtuStart)];
        emit ChallengeDefeated(owner, zone, mtuStart, evidence);
    }

    function _proveOrder(Proof proof, Mtu memory mtu, Claim calldata claim, Known memory known)
        private
        view
        returns (Finding memory finding)
    {
        if (proof == Proof.Missing || proof == Proof.NoClearing) {
            _requirePromiseBroken(proof, mtu, claim, known.uid);
            finding.limit = _limitOf(mtu, claim.order);
            finding.unfilledWh = claim.order.terms.quantityWh();
            return finding;
        }
        if (proof == Proof.Deal) revert ProofInapplicable(proof);
        _requireBook(mtu, claim.book);
        _requireResult(mtu, claim.result);
        Listed memory order = _listed(mtu, claim, claim.order, known);
        (finding.limit, finding.unfilledWh) = (order.limit, order.quantityWh - order.fillWh);
        if (proof == Proof.Inside) {
            _requireInside(claim.result, order);
            // An offer with nothing left may have been dealt whole, and so never have been in the auction.
            if (order.sells && finding.unfilledWh == 0) {
                (finding.dealtOffer, finding.dealtWh) = (order.uid, order.quantityWh);
            }
            return finding;
        }
        if (finding.unfilledWh == 0) revert OrderIsFilled(order.uid, order.fillWh);
        if (proof == Proof.Better) _requireBetter(order);
        else if (proof == Proof.Pair) _requirePair(mtu, claim, order);
        else (finding.dealtOffer, finding.dealtWh) = _requirePassedOver(mtu, claim, order);
    }

    function _proveAcceptance(
        Proof proof,
        Mtu memory mtu,
        Claim calldata claim,
        Known memory known,
        Known memory offered
    ) private view returns (Finding memory finding) {
        (finding.limit, finding.unfilledWh) = (claim.other.guard.limit(), claim.order.terms.quantityWh());
        if (proof == Proof.Missing || proof == Proof.NoClearing) {
            _requirePromiseBroken(proof, mtu, claim, known.uid);
            return finding;
        }
        if (proof != Proof.Deal) revert ProofInapplicable(proof);
        _requireBook(mtu, claim.book);
        _requireResult(mtu, claim.result);
        (uint256 place,) = _requireListed(mtu, claim.book, known.uid);
        // An offer left out of the book is no excuse; one that is recorded as ineligible is.
        (bool listed, uint256 offerPlace,) = ClearingEvidence.find(claim.book, offered.uid);
        if (listed && isIneligible(mtu.zone, mtu.mtuStart, offerPlace)) {
            revert OrderIsIneligible(offered.uid, offerPlace);
        }
        uint256 fillWh = ClearingEvidence.fillWh(claim.result, place);
        if (fillWh > 0) revert OrderIsFilled(known.uid, fillWh);
    }

    /// @dev Receipted, and not in the book under the receipt's number; or no clearing came of it.
    function _requirePromiseBroken(Proof proof, Mtu memory mtu, Claim calldata claim, bytes32 uid) private view {
        _requireReceipted(mtu, uid, claim.receipt);
        if (!mtu.isCleared && isHaltRecorded(mtu.zone, mtu.mtuStart)) {
            revert MarketWasHalted(mtu.zone, mtu.mtuStart);
        }
        if (proof == Proof.NoClearing) {
            if (mtu.isCleared) revert ClearingFinished(mtu.zone, mtu.mtuStart);
            return;
        }
        _requireBook(mtu, claim.book);
        (bool listed, uint256 place, uint64 number) = ClearingEvidence.find(claim.book, uid);
        bool asPromised = claim.receipt.receivedAt == 0 || number == claim.receipt.runningNumber;
        if (listed && asPromised) revert OrderIsListed(uid, place);
    }

    /// @dev The second order of a pair must be eligible as well; it may be anybody else's.
    function _requirePair(Mtu memory mtu, Claim calldata claim, Listed memory order) private view {
        Known memory known = _knownSigned(mtu, claim.other);
        if (claim.other.terms.isAcceptance()) revert ProofInapplicable(Proof.Pair);
        _requireStanding(mtu, claim.other, known);
        _requireNotSuspended(mtu, known.meter.owner);
        Listed memory other = _listed(mtu, claim, claim.other, known);
        if (other.fillWh >= other.quantityWh) revert OrderIsFilled(other.uid, other.fillWh);
        if (order.limit != order.price) revert NotAtPrice(order.uid, order.limit, order.price);
        if (other.limit != other.price) revert NotAtPrice(other.uid, other.limit, other.price);
        bool tradable = order.sells != other.sells && known.meter.owner != msg.sender;
        if (!claim.result.merged && order.lowCarbon != other.lowCarbon) {
            // In separate books low-carbon energy may serve a bid for any, at one price only.
            bool lowCarbonOffer = order.sells ? order.lowCarbon : other.lowCarbon;
            tradable = tradable && lowCarbonOffer && order.price == other.price;
        }
        if (!tradable) revert CannotTrade(order.uid, other.uid);
    }

    /// @dev The later order need not be eligible: it was filled. A later offer may have got its energy by deals.
    function _requirePassedOver(Mtu memory mtu, Claim calldata claim, Listed memory order)
        private
        view
        returns (bytes32 dealtOffer, uint256 dealtWh)
    {
        if (claim.other.terms.isAcceptance()) revert ProofInapplicable(Proof.PassedOver);
        Listed memory later = _listed(mtu, claim, claim.other, _known(mtu, claim.other));
        bool comparable = order.sells == later.sells && order.limit == later.limit
            && (claim.result.merged || order.lowCarbon == later.lowCarbon);
        if (!comparable || later.fillWh == 0) revert NotComparable(order.uid, later.uid);
        if (order.number >= later.number) revert NotEarlier(order.uid, order.number, later.number);
        if (later.sells) (dealtOffer, dealtWh) = (later.uid, later.fillWh);
    }

    function _listed(Mtu memory mtu, Claim calldata claim, SignedOrder calldata order, Known memory known)
        private
        view
        returns (Listed memory listed)
    {
        uint256 place;
        (place, listed.number) = _requireListed(mtu, claim.book, known.uid);
        listed.uid = known.uid;
        listed.sells = order.terms.sells();
        listed.lowCarbon = _isLowCarbon(order, known);
        listed.limit = _limitOf(mtu, order);
        listed.price = _price(mtu, listed.lowCarbon);
        listed.fillWh = ClearingEvidence.fillWh(claim.result, place);
        listed.quantityWh = order.terms.quantityWh();
    }

    /// @dev Energy of these acceptances of the offer, as far as they were locked.
    function _dealtWh(
        Mtu memory mtu,
        bytes calldata book,
        Result calldata result,
        SignedOrder[] calldata acceptances,
        bytes32 offerUid
    ) private view returns (uint256 dealtWh) {
        uint256 nextPlace = 0;
        for (uint256 i = 0; i < acceptances.length; ++i) {
            SignedOrder calldata acceptance = acceptances[i];
            Known memory known = _known(mtu, acceptance);
            if (!acceptance.terms.isAcceptance() || bytes32(acceptance.guard) != offerUid) {
                revert OfferMismatch(offerUid, bytes32(acceptance.guard));
            }
            (bool listed, uint256 place,) = ClearingEvidence.find(book, known.uid);
            if (!listed) revert IEnergyTrading.OrderNotListed(known.uid, place);
            if (place < nextPlace) revert OrdersNotAscending(known.uid);
            nextPlace = place + 1;
            dealtWh += ClearingEvidence.fillWh(result, place);
        }
    }

    /// @dev |limit - price| x unfilled energy and the fixed fee, capped; without a clearing there is no price.
    function _amount(Mtu memory mtu, SignedOrder calldata order, Known memory known, Finding memory finding)
        private
        view
        returns (uint256)
    {
        if (!mtu.isCleared) return _fixedFeeMicrocents;
        // A deal's buyer would have to buy at the price of `any` instead.
        bool lowCarbon = !order.terms.isAcceptance() && _isLowCarbon(order, known);
        int256 difference = int256(finding.limit) - _price(mtu, lowCarbon);
        uint256 perMwh = uint256(difference < 0 ? -difference : difference);
        return IntegerMath.min(_capMicrocents, perMwh * finding.unfilledWh + _fixedFeeMicrocents);
    }

    function _requireResult(Mtu memory mtu, Result calldata result) private pure {
        if (!mtu.isCleared) revert IEnergyTrading.NotCleared(mtu.zone, mtu.mtuStart);
        bytes32 committed = mtu.clearing.resultHash;
        if (result.terms.length != result.stateHashes.length) revert ResultMismatch(committed, 0);
        bytes32 presented = ClearingEvidence.resultHash(result);
        if (presented != committed) revert ResultMismatch(committed, presented);
    }

    /// @dev Once the clearing is finished, or can no longer be, until the challenge period ends.
    function _requireTimely(Mtu memory mtu) private view {
        uint64 now_ = uint64(block.timestamp);
        if (!mtu.isCleared && now_ <= mtu.clearingDeadline) {
            revert ClearingStillPossible(mtu.zone, mtu.mtuStart, mtu.clearingDeadline, now_);
        }
        uint64 deadline = mtu.mtuStart + _mtuLengthS + _challengePeriodS;
        if (now_ > deadline) revert ChallengeTooLate(mtu.mtuStart, deadline, now_);
    }

    function _requireAnswerable(address owner, uint32 zone, uint64 mtuStart)
        private
        view
        returns (Challenge storage entry)
    {
        entry = _challengeOf(owner, zone, mtuStart);
        if (entry.status != ChallengeStatus.Open) revert ChallengeNotOpen(owner, zone, mtuStart);
        if (block.timestamp > entry.respondBy) revert ResponseOver(entry.respondBy, uint64(block.timestamp));
    }

    function _requireCancellable(address owner, uint32 zone, uint64 mtuStart)
        private
        view
        returns (Challenge storage entry)
    {
        entry = _requireAnswerable(owner, zone, mtuStart);
        if (!entry.cancellable) revert ProofInapplicable(entry.proof);
    }

    function _challengeOf(address owner, uint32 zone, uint64 mtuStart) private view returns (Challenge storage) {
        return _challenges[owner][SlotKey.pack(zone, mtuStart)];
    }

    function _requireBetter(Listed memory order) private pure {
        bool better = order.sells ? order.limit < order.price : order.limit > order.price;
        if (!better) revert NotBetter(order.uid, order.limit, order.price);
    }

    function _requireInside(Result calldata result, Listed memory order) private pure {
        Interval calldata stated = order.lowCarbon && !result.merged ? result.lowCarbon : result.any;
        if (order.limit <= stated.lower || order.limit >= stated.upper) {
            revert NotInside(order.uid, order.limit, stated.lower, stated.upper);
        }
    }

    function _price(Mtu memory mtu, bool lowCarbon) private pure returns (int64) {
        return lowCarbon ? mtu.clearing.lowCarbonPrice : mtu.clearing.anyPrice;
    }
}
