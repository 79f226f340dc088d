// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SignedOrder} from "../libraries/MarketTypes.sol";

/// @title IMarketBond
/// @notice The market operator's bond, and the proofs against its clearings. An order's owner proves an omission from
/// the order, its signature and the operator's receipt (or the posting on chain), the committed book and the
/// committed result. Unless it is defeated within the response window, the bond pays the owner. Money in microcents,
/// energy in Wh, prices in cents per MWh, times in Unix seconds UTC. Which proof is needed for what: docs/adr/0012.
interface IMarketBond {
    /// @notice What is proven about the claimed order.
    /// Missing: its receipt's line is not in the book; NoClearing: no finished clearing by the deadline; Better: its
    /// limit is strictly better than its price, and it has energy left; Pair: it and `other` have energy left at the
    /// price, and could trade; PassedOver: it has energy left, while `other`, a later order of the same side, book
    /// and limit, got some in the auction; Inside: its limit lies strictly inside the stated interval; Deal: it is a
    /// listed acceptance of the offer `other`, and was not locked.
    enum Proof {
        Missing,
        NoClearing,
        Better,
        Pair,
        PassedOver,
        Inside,
        Deal
    }

    /// @notice Why a listed order cannot trade; see recordIneligible.
    enum Ineligibility {
        None,
        Suspended,
        OfferIneligible,
        OtherSide,
        OverCapacity,
        Unfunded
    }

    /// @notice Where the challenge of one owner, zone and MTU stands. A defeated one leaves None behind.
    enum ChallengeStatus {
        None,
        Open,
        Paid
    }

    /// @notice The rules of this bond, fixed for ever.
    /// @param challengePeriodS last moment of a challenge, after the end of the MTU
    /// @param responseWindowS time in which a challenge can be defeated
    /// @param longestOrderS how far ahead of its receipt an order may reach
    /// @param withdrawalDelayS from announcing a withdrawal to carrying it out; at least longestOrderS, one MTU,
    /// challengePeriodS and responseWindowS together
    /// @param fixedFeeMicrocents part of every payment
    /// @param capMicrocents most that is paid per owner, zone and MTU, the fixed fee included
    /// @param stakeMicrocents set aside by the challenger, kept by the bond if the challenge is defeated
    struct Terms {
        uint64 challengePeriodS;
        uint64 responseWindowS;
        uint64 longestOrderS;
        uint64 withdrawalDelayS;
        uint128 fixedFeeMicrocents;
        uint128 capMicrocents;
        uint128 stakeMicrocents;
    }

    /// @notice The market operator's receipt, EIP-712 struct Receipt in the trading contract's domain. A receivedAt
    /// of zero stands for the posting on chain.
    struct Receipt {
        uint64 runningNumber;
        uint64 receivedAt;
        bytes32 blockHash;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice Limits of the ends of one stated equilibrium interval, cents per MWh.
    struct Interval {
        int64 lower;
        int64 upper;
    }

    /// @notice What the trading contract's result hash commits to.
    /// @param lowCarbon interval of the low-carbon book; of a merged book the same as `any`
    /// @param terms for each chunk the terms of its filled orders and acceptances
    /// @param stateHashes for each chunk the hash of its positions at clearing
    struct Result {
        bool merged;
        Interval any;
        Interval lowCarbon;
        uint256[][] terms;
        bytes32[] stateHashes;
    }

    /// @notice One claim. Of orders, fill and place in the book are not read: the book and the result say.
    /// @param order the claimant's order, or acceptance
    /// @param other the second order of Pair and PassedOver; for an acceptance the accepted offer (its signature is
    /// not read); else not read
    /// @param receipt read for Missing and NoClearing; a listed order needs none
    /// @param book the committed list; not read for NoClearing
    /// @param result not read for Missing and NoClearing
    struct Claim {
        uint32 zone;
        uint64 mtuStart;
        SignedOrder order;
        SignedOrder other;
        Receipt receipt;
        bytes book;
        Result result;
    }

    /// @notice A listed order or acceptance; of an acceptance with the offer it accepts, whose signature is not read.
    struct ListedOrder {
        SignedOrder order;
        SignedOrder offer;
    }

    /// @notice A challenge; four slots: hash, hash, 64 + 40 + 40 + 8 + 8 + 8, 128 bits.
    /// @param dealtOffer the offer whose direct deals defeat it when they amount to `dealtWh`; none where that is
    /// zero
    /// @param cancellable whether the owner's cancellation defeats it: of an order, not of an acceptance
    struct Challenge {
        bytes32 orderUid;
        bytes32 dealtOffer;
        uint64 cancellableSalt;
        uint40 dealtWh;
        uint40 respondBy;
        Proof proof;
        ChallengeStatus status;
        bool cancellable;
        uint128 amountMicrocents;
    }

    event BondDeposited(address indexed from, uint256 amountMicrocents);
    event WithdrawalAnnounced(uint256 amountMicrocents, uint64 availableAt);
    event BondWithdrawn(address indexed to, uint256 amountMicrocents);
    event SignerRecognised(address indexed signer);
    /// @notice An order its owner posted on chain; the market operator has to list it.
    event OrderPosted(
        bytes32 indexed orderUid, address indexed owner, uint256 terms, uint256 guard, bytes32 r, bytes32 vs
    );
    event CancelReceiptNoted(bytes32 indexed cancelDigest, uint64 receivedAt);
    event HaltRecorded(uint32 indexed zone, uint64 indexed mtuStart);
    /// @notice The order at this place of the book cannot trade, or can again.
    event EligibilityRecorded(
        uint32 indexed zone, uint64 indexed mtuStart, bytes32 indexed orderUid, uint256 place, Ineligibility reason
    );
    event ChallengeOpened(
        address indexed owner,
        uint32 indexed zone,
        uint64 indexed mtuStart,
        Proof proof,
        bytes32 orderUid,
        uint256 amountMicrocents,
        uint64 respondBy
    );
    event ChallengeDefeated(address indexed owner, uint32 indexed zone, uint64 indexed mtuStart, bytes32 evidence);
    /// @notice `paidMicrocents` is less than the amount only where the bond holds no more.
    event ChallengeUpheld(
        address indexed owner,
        uint32 indexed zone,
        uint64 indexed mtuStart,
        uint256 amountMicrocents,
        uint256 paidMicrocents
    );

    error AmountIsZero();
    error UnexpectedAnswer(bytes reason);
    error TermsRefused(string reason);
    error WithdrawalNotAnnounced();
    error WithdrawalTooEarly(uint64 availableAt, uint64 blockTime);
    error WithdrawalLapsed(uint64 lapsedAt, uint64 blockTime);
    error BondReserved(uint256 bondMicrocents, uint256 reservedMicrocents, uint256 amountMicrocents);
    error NotAnOperator(address account);
    error OrderAlreadyPosted(bytes32 orderUid, uint64 postedAt);
    error OrderNotPostable(bytes32 orderUid);
    error TooManyPosted(address owner);
    error NotReceipted(bytes32 orderUid);
    error ReceivedAfterGate(bytes32 orderUid, uint64 receivedAt, uint64 gateClosure);
    error NotTheOwner(address owner, address caller);
    error ClearingStillPossible(uint32 zone, uint64 mtuStart, uint64 deadline, uint64 blockTime);
    error ClearingFinished(uint32 zone, uint64 mtuStart);
    error ClearingBegun(uint32 zone, uint64 mtuStart);
    error ClearingTimeOver(uint64 mtuStart, uint64 deadline, uint64 blockTime);
    error ChallengeTooLate(uint64 mtuStart, uint64 deadline, uint64 blockTime);
    error ChallengeExists(address owner, uint32 zone, uint64 mtuStart, ChallengeStatus status);
    error ChallengeNotOpen(address owner, uint32 zone, uint64 mtuStart);
    error ResponseOpen(uint64 respondBy, uint64 blockTime);
    error ResponseOver(uint64 respondBy, uint64 blockTime);
    error ProofInapplicable(Proof proof);
    error ResultMismatch(bytes32 committed, bytes32 presented);
    error OrderIsListed(bytes32 orderUid, uint256 place);
    error OrderIsFilled(bytes32 orderUid, uint256 fillWh);
    error OrderIsIneligible(bytes32 orderUid, uint256 place);
    error OrderNotRecorded(bytes32 orderUid);
    error RecordIncomplete(address owner, uint256 recorded, uint256 presented);
    error OrdersNotAscending(bytes32 orderUid);
    error OwnersMixed(bytes32 orderUid, address owner);
    error NotBetter(bytes32 orderUid, int64 limitCentsPerMwh, int64 priceCentsPerMwh);
    error NotAtPrice(bytes32 orderUid, int64 limitCentsPerMwh, int64 priceCentsPerMwh);
    error NotInside(bytes32 orderUid, int64 limitCentsPerMwh, int64 lower, int64 upper);
    error CannotTrade(bytes32 orderUid, bytes32 otherUid);
    error NotComparable(bytes32 orderUid, bytes32 otherUid);
    error NotEarlier(bytes32 orderUid, uint64 runningNumber, uint64 otherNumber);
    error OfferMismatch(bytes32 acceptedUid, bytes32 presentedUid);
    error ZoneNotHalted(uint32 zone);
    error MarketWasHalted(uint32 zone, uint64 mtuStart);
    error CancelTooLate(bytes32 cancelDigest, uint64 receivedAt, uint64 gateClosure);
    error CancelTooLow(uint64 upToSalt, uint64 salt);
    error DealsTooSmall(uint256 requiredWh, uint256 dealtWh);

    /// @notice Adds to the bond from the caller's approved settlement tokens; the caller's receipts count from now
    /// on, also if it should lose its role. Only the market operator may.
    function deposit(uint256 amountMicrocents) external;

    /// @notice Announces a withdrawal; a later announcement replaces it. What is announced protects nobody any more.
    function announceWithdrawal(uint256 amountMicrocents) external;

    /// @notice Carries the announced withdrawal out, within seven days after its delay, and never below what open
    /// challenges may cost.
    function withdraw() external;

    /// @notice Makes the receipts of an account count that holds the market operator's role now.
    function recognise(address signer) external;

    /// @notice Posts an order with its owner's signature: it counts as receipted in this block. At most eight posted
    /// orders of an owner may have MTUs to come.
    function post(uint256 terms, uint256 guard, bytes32 r, bytes32 vs) external;

    /// @notice Records on chain when the operator received a cancellation (its receipt names the cancellation's
    /// digest), so that it cannot be presented as one received before an earlier gate.
    function noteCancelReceipt(bytes32 cancelDigest, Receipt calldata receipt) external;

    /// @notice Records that the zone or the whole market is halted now, between gate closure and clearing deadline.
    function recordHalt(uint32 zone, uint64 mtuStart) external;

    /// @notice Records which listed orders cannot trade, after the book was committed and before the clearing begins,
    /// by the state of that moment. The contract goes through the presented orders of each owner in the order of the
    /// book. An order does not count, and is recorded, if its owner is suspended; if the offer it accepts is
    /// recorded; if an order that counts is on the other side; if those of its meter that count exceed its capacity
    /// with it; or if the owner's orders that count could not all be funded with it. Whoever was recorded before must
    /// be presented again: the last record stands. Only the market operator may.
    /// @param owners for each owner its listed orders, ascending
    function recordIneligible(uint32 zone, uint64 mtuStart, bytes calldata book, ListedOrder[][] calldata owners)
        external;

    /// @notice Opens the challenge of the caller's order. The caller's approved stake is set aside.
    function challenge(Proof proof, Claim calldata claim) external;

    /// @notice Defeats a challenge by the owner's signed cancellation of the order (EIP-712 struct Cancel).
    function defeatByCancel(address owner, uint32 zone, uint64 mtuStart, bytes32 r, bytes32 vs) external;

    /// @notice Defeats a challenge by the owner's signed cancellation of all orders up to a salt (struct CancelUpTo).
    function defeatByCancelUpTo(address owner, uint32 zone, uint64 mtuStart, uint64 salt, bytes32 r, bytes32 vs)
        external;

    /// @notice Defeats a challenge of PassedOver or Inside: the energy was dealt directly, by these locked
    /// acceptances in the order of the book (their signatures are not read).
    function defeatByDeals(
        address owner,
        uint32 zone,
        uint64 mtuStart,
        bytes calldata book,
        Result calldata result,
        SignedOrder[] calldata acceptances
    ) external;

    /// @notice Defeats a challenge of an order that is recorded as ineligible.
    function defeatByIneligibility(address owner, uint32 zone, uint64 mtuStart, bytes calldata book) external;

    /// @notice Pays a challenge that was not defeated in time.
    function resolve(address owner, uint32 zone, uint64 mtuStart) external;

    /// @notice The bond, and what of it open challenges may cost.
    function bond() external view returns (uint256 bondMicrocents, uint256 reservedMicrocents);

    /// @notice The announced withdrawal; zeros where there is none.
    function announcedWithdrawal() external view returns (uint256 amountMicrocents, uint64 availableAt);

    /// @notice The rules of this bond.
    function bondTerms() external view returns (Terms memory);

    /// @notice Whether receipts signed by the account count.
    function isRecognised(address signer) external view returns (bool);

    /// @notice When the order was posted; zero when it was not.
    function postedAt(bytes32 orderUid) external view returns (uint64);

    /// @notice When the operator says it received the cancellation; zero when nobody has noted that.
    function cancelReceivedAt(bytes32 cancelDigest) external view returns (uint64);

    /// @notice Whether the order at this place of the committed book is recorded as ineligible.
    function isIneligible(uint32 zone, uint64 mtuStart, uint256 place) external view returns (bool);

    /// @notice Whether a halt was recorded for the zone and MTU.
    function isHaltRecorded(uint32 zone, uint64 mtuStart) external view returns (bool);

    /// @notice The challenge of an owner, zone and MTU.
    function challengeOf(address owner, uint32 zone, uint64 mtuStart) external view returns (Challenge memory);
}
