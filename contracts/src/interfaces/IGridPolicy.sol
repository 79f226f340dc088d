// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IGridPolicy
/// @notice The regulator's rules. Prices are stated relative to the tariffs of each MTU, so that
/// surplus <= floor <= cap <= shortage holds whatever the tariffs are. A halt acts at once; every other
/// change takes effect after a minimum delay and never for an MTU whose gate has closed.
interface IGridPolicy {
    /// @notice One version of the rules. Prices in cents per MWh, shares in basis points, times in seconds.
    /// @param gateClosureS last moment an order is accepted, before the MTU starts
    /// @param answerLeadS last moment a dispatch answer is accepted, before the MTU starts; at most gateClosureS
    /// @param proceedWithoutAnswer what an unanswered dispatch means: true = delivered as scheduled, false = void
    /// @param substituteAfterS seconds after the MTU's end from which an unread position may settle on a substitute
    /// value
    /// @param correctionS seconds after the MTU's end until which a reading may settle or correct a position
    /// @param sellerRewardShareBp seller's share of the low-carbon reward; the buyer gets the rest
    /// @param defaultGridFactorMgco2PerKwh grid emission factor where the oracle has published none
    /// @param feedInCentsPerMwh fixed feed-in tariff, used where the oracle has posted none
    /// @param retailCentsPerMwh fixed retail tariff, used where the oracle has posted none
    /// @param retailAdderCentsPerMwh retail minus feed-in where the oracle has posted a feed-in price
    /// @param floorOffsetCentsPerMwh floor minus feed-in tariff
    /// @param surplusOffsetCentsPerMwh surplus price minus feed-in tariff; at most floorOffset
    /// @param capOffsetCentsPerMwh cap minus retail tariff
    /// @param shortageOffsetCentsPerMwh shortage price minus retail tariff; at least capOffset
    /// @param gridFeeCentsPerMwh paid by the buyer to the zone's grid operator per traded energy
    /// @param lowCarbonReliefCentsPerMwh taken off the grid fee of low-carbon energy; at most gridFee
    /// @param replacementBearers who bears a curtailed buyer's replacement cost, two bits (Bearer) for each reason code
    /// from 0 in the lowest bits
    struct Policy {
        uint32 gateClosureS;
        uint32 answerLeadS;
        bool proceedWithoutAnswer;
        uint32 substituteAfterS;
        uint32 correctionS;
        uint16 sellerRewardShareBp;
        uint32 defaultGridFactorMgco2PerKwh;
        int64 feedInCentsPerMwh;
        int64 retailCentsPerMwh;
        int64 retailAdderCentsPerMwh;
        int64 floorOffsetCentsPerMwh;
        int64 surplusOffsetCentsPerMwh;
        int64 capOffsetCentsPerMwh;
        int64 shortageOffsetCentsPerMwh;
        uint64 gridFeeCentsPerMwh;
        uint64 lowCarbonReliefCentsPerMwh;
        uint32 replacementBearers;
    }

    /// @notice Who pays the shortage price minus the trade's price for energy a curtailment takes from a buyer.
    enum Bearer {
        Buyer,
        Seller,
        GridOperator
    }

    /// @notice The prices that hold for one MTU, cents per MWh.
    struct Prices {
        int64 feedIn;
        int64 retail;
        int64 floor;
        int64 cap;
        int64 surplus;
        int64 shortage;
    }

    /// @notice What a clearing needs of the rules of one MTU; prices in cents per MWh, times in Unix seconds.
    /// @param gateClosure moment after which no order is accepted
    /// @param clearingDeadline last moment a clearing is accepted, halfway between gate closure and answer deadline:
    /// the first half of that time is the market operator's, the second half the grid operator's
    struct ClearingRules {
        uint64 gateClosure;
        uint64 clearingDeadline;
        int64 floor;
        int64 cap;
        int64 shortage;
        uint64 gridFeeCentsPerMwh;
        uint64 lowCarbonReliefCentsPerMwh;
    }

    event PolicyScheduled(uint32 indexed version, uint64 effectiveMtuStart, Policy policy);
    event FeedInPosted(uint64 indexed mtuStart, int64 feedInCentsPerMwh);
    event MarketHalted(uint32 indexed zone, bool halted);

    error PolicyRefused(string reason);
    error PolicyTooEarly(uint64 effectiveMtuStart, uint64 earliestMtuStart);
    error MtuLengthRefused(uint32 mtuLengthS);
    error MtuUnaligned(uint64 mtuStart, uint32 mtuLengthS);
    error GateAlreadyClosed(uint64 mtuStart, uint64 gateClosure, uint64 blockTime);
    error GateStillOpen(uint64 mtuStart, uint64 gateClosure, uint64 blockTime);
    error FeedInAlreadyPosted(uint64 mtuStart);
    error PriceOutOfBounds(int256 priceCentsPerMwh);
    error ZoneHalted(uint32 zone);

    /// @notice Schedules a new version of the rules from an MTU on.
    function schedulePolicy(Policy calldata policy, uint64 effectiveMtuStart) external;

    /// @notice Posts feed-in prices of consecutive MTUs, before their gates close; one post per MTU.
    function postFeedIn(uint64 firstMtuStart, int64[] calldata feedInCentsPerMwh) external;

    /// @notice Halts or resumes one zone, or with zone 0 the whole market.
    function setHalted(uint32 zone, bool halted) external;

    /// @notice Length of a market time unit, seconds.
    function mtuLengthS() external view returns (uint32);

    /// @notice Longest time from a gate closure to its clearing deadline that any policy can set, seconds.
    function longestClearingS() external view returns (uint64);

    /// @notice The rules for an MTU and their version number.
    function policyAt(uint64 mtuStart) external view returns (Policy memory policy, uint32 version);

    /// @notice The prices for an MTU.
    function pricesAt(uint64 mtuStart) external view returns (Prices memory);

    /// @notice What a clearing needs, in one answer. Reverts with ZoneHalted.
    function clearingRulesAt(uint32 zone, uint64 mtuStart) external view returns (ClearingRules memory);

    /// @notice Last moment a clearing is accepted, Unix seconds.
    function clearingDeadlineAt(uint64 mtuStart) external view returns (uint64);

    /// @notice Moment after which no order for the MTU is accepted, Unix seconds.
    function gateClosureAt(uint64 mtuStart) external view returns (uint64);

    /// @notice Reverts unless the MTU is aligned and its gate has closed.
    function requireGateClosed(uint64 mtuStart) external view;

    /// @notice Reverts with ZoneHalted while the zone or the whole market is halted.
    function requireOpen(uint32 zone) external view;
}
