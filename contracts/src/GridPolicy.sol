// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";

/// @title GridPolicy
/// @dev The regulator can change prices and fees for the future, and halt; it cannot touch a closed MTU or
/// anybody's money. The oracle can post feed-in prices within PRICE_LIMIT, once per MTU, before the gate.
contract GridPolicy is IGridPolicy, AccessManaged {
    using Checkpoints for Checkpoints.Trace224;

    /// @dev One slot: 64 + 8 bits.
    struct FeedIn {
        int64 centsPerMwh;
        bool posted;
    }

    /// @notice Largest magnitude of any price, cents per MWh (100 EUR per kWh); keeps all sums far inside int64.
    int64 public constant PRICE_LIMIT_CENTS_PER_MWH = 10_000_000;
    uint32 public constant LONGEST_GATE_CLOSURE_S = 2 days;
    uint32 public constant LONGEST_CORRECTION_S = 1000 days;
    uint32 public constant HIGHEST_FACTOR_MGCO2_PER_KWH = 5_000_000;
    uint32 private constant BASIS_POINTS = 10_000;
    uint32 private constant WHOLE_MARKET = 0;

    uint32 private immutable _mtuLengthS;
    uint64 private immutable _minimumDelayS;

    Policy[] private _versions;
    Checkpoints.Trace224 private _versionByMtuStart;
    mapping(uint64 mtuStart => FeedIn) private _feedIn;
    mapping(uint32 zone => bool) private _halted;

    /// @param mtuLengthS_ 300, 900, 1800 or 3600
    /// @param minimumDelayS least seconds between scheduling a policy and the gate closure of its first MTU
    /// @param initial rules from the first MTU on
    constructor(address accessManager, uint32 mtuLengthS_, uint64 minimumDelayS, Policy memory initial)
        AccessManaged(accessManager)
    {
        if (mtuLengthS_ != 300 && mtuLengthS_ != 900 && mtuLengthS_ != 1800 && mtuLengthS_ != 3600) {
            revert MtuLengthRefused(mtuLengthS_);
        }
        _mtuLengthS = mtuLengthS_;
        _minimumDelayS = minimumDelayS;
        _addVersion(initial, 0);
    }

    /// @inheritdoc IGridPolicy
    function schedulePolicy(Policy calldata policy, uint64 effectiveMtuStart) external restricted {
        _requireAligned(effectiveMtuStart);
        uint64 earliest = uint64(block.timestamp) + _minimumDelayS + LONGEST_GATE_CLOSURE_S;
        if (effectiveMtuStart < earliest) revert PolicyTooEarly(effectiveMtuStart, earliest);
        _addVersion(policy, effectiveMtuStart);
    }

    /// @inheritdoc IGridPolicy
    function postFeedIn(uint64 firstMtuStart, int64[] calldata feedInCentsPerMwh) external restricted {
        _requireAligned(firstMtuStart);
        uint64 mtuStart = firstMtuStart;
        for (uint256 i = 0; i < feedInCentsPerMwh.length; ++i) {
            _postFeedIn(mtuStart, feedInCentsPerMwh[i]);
            mtuStart += _mtuLengthS;
        }
    }

    /// @inheritdoc IGridPolicy
    function setHalted(uint32 zone, bool halted) external restricted {
        _halted[zone] = halted;
        emit MarketHalted(zone, halted);
    }

    /// @inheritdoc IGridPolicy
    function mtuLengthS() external view returns (uint32) {
        return _mtuLengthS;
    }

    /// @inheritdoc IGridPolicy
    function longestClearingS() external pure returns (uint64) {
        // Clearing ends halfway between gate closure and answer deadline.
        return LONGEST_GATE_CLOSURE_S / 2;
    }

    /// @inheritdoc IGridPolicy
    function policyAt(uint64 mtuStart) public view returns (Policy memory policy, uint32 version) {
        version = uint32(_versionByMtuStart.upperLookup(uint32(mtuStart)));
        policy = _versions[version];
    }

    /// @inheritdoc IGridPolicy
    function pricesAt(uint64 mtuStart) external view returns (Prices memory) {
        (Policy memory policy,) = policyAt(mtuStart);
        return _prices(policy, mtuStart);
    }

    /// @inheritdoc IGridPolicy
    function clearingRulesAt(uint32 zone, uint64 mtuStart) external view returns (ClearingRules memory) {
        requireOpen(zone);
        (Policy memory policy,) = policyAt(mtuStart);
        Prices memory prices = _prices(policy, mtuStart);
        return ClearingRules({
            gateClosure: mtuStart - policy.gateClosureS,
            clearingDeadline: mtuStart - (policy.gateClosureS + policy.answerLeadS) / 2,
            floor: prices.floor,
            cap: prices.cap,
            shortage: prices.shortage,
            gridFeeCentsPerMwh: policy.gridFeeCentsPerMwh,
            lowCarbonReliefCentsPerMwh: policy.lowCarbonReliefCentsPerMwh
        });
    }

    /// @inheritdoc IGridPolicy
    function clearingDeadlineAt(uint64 mtuStart) external view returns (uint64) {
        (Policy memory policy,) = policyAt(mtuStart);
        return mtuStart - (policy.gateClosureS + policy.answerLeadS) / 2;
    }

    /// @inheritdoc IGridPolicy
    function gateClosureAt(uint64 mtuStart) public view returns (uint64) {
        (Policy memory policy,) = policyAt(mtuStart);
        return mtuStart - policy.gateClosureS;
    }

    /// @inheritdoc IGridPolicy
    function requireGateClosed(uint64 mtuStart) external view {
        _requireAligned(mtuStart);
        uint64 gateClosure = gateClosureAt(mtuStart);
        if (block.timestamp < gateClosure) revert GateStillOpen(mtuStart, gateClosure, uint64(block.timestamp));
    }

    /// @inheritdoc IGridPolicy
    function requireOpen(uint32 zone) public view {
        if (_halted[WHOLE_MARKET] || _halted[zone]) revert ZoneHalted(zone);
    }

    function _prices(Policy memory policy, uint64 mtuStart) private view returns (Prices memory prices) {
        (prices.feedIn, prices.retail) = (policy.feedInCentsPerMwh, policy.retailCentsPerMwh);
        FeedIn memory feedIn = _feedIn[mtuStart];
        if (feedIn.posted) {
            prices.feedIn = feedIn.centsPerMwh;
            prices.retail = prices.feedIn + policy.retailAdderCentsPerMwh;
        }
        prices.floor = prices.feedIn + policy.floorOffsetCentsPerMwh;
        prices.surplus = prices.feedIn + policy.surplusOffsetCentsPerMwh;
        prices.cap = prices.retail + policy.capOffsetCentsPerMwh;
        prices.shortage = prices.retail + policy.shortageOffsetCentsPerMwh;
    }

    function _postFeedIn(uint64 mtuStart, int64 feedIn) private {
        uint64 gateClosure = gateClosureAt(mtuStart);
        if (block.timestamp >= gateClosure) revert GateAlreadyClosed(mtuStart, gateClosure, uint64(block.timestamp));
        if (_feedIn[mtuStart].posted) revert FeedInAlreadyPosted(mtuStart);
        _requirePrice(feedIn);
        _feedIn[mtuStart] = FeedIn({centsPerMwh: feedIn, posted: true});
        emit FeedInPosted(mtuStart, feedIn);
    }

    function _addVersion(Policy memory policy, uint64 effectiveMtuStart) private {
        _validate(policy);
        uint32 version = uint32(_versions.length);
        _versions.push(policy);
        // The trace refuses an MTU earlier than the last scheduled one, so history cannot be rewritten.
        _versionByMtuStart.push(uint32(effectiveMtuStart), version);
        emit PolicyScheduled(version, effectiveMtuStart, policy);
    }

    function _validate(Policy memory policy) private pure {
        _validateTimes(policy);
        _requirePrice(policy.feedInCentsPerMwh);
        _requirePrice(policy.retailCentsPerMwh);
        _requirePrice(policy.retailAdderCentsPerMwh);
        _requirePrice(policy.floorOffsetCentsPerMwh);
        _requirePrice(policy.surplusOffsetCentsPerMwh);
        _requirePrice(policy.capOffsetCentsPerMwh);
        _requirePrice(policy.shortageOffsetCentsPerMwh);
        if (policy.gridFeeCentsPerMwh > uint64(PRICE_LIMIT_CENTS_PER_MWH)) revert PolicyRefused("grid fee too high");
        if (policy.sellerRewardShareBp > BASIS_POINTS) revert PolicyRefused("reward share above one");
        if (policy.defaultGridFactorMgco2PerKwh > HIGHEST_FACTOR_MGCO2_PER_KWH) revert PolicyRefused("grid factor");
        if (policy.lowCarbonReliefCentsPerMwh > policy.gridFeeCentsPerMwh) revert PolicyRefused("relief above fee");
        if (policy.surplusOffsetCentsPerMwh > policy.floorOffsetCentsPerMwh) revert PolicyRefused("surplus > floor");
        if (policy.capOffsetCentsPerMwh > policy.shortageOffsetCentsPerMwh) revert PolicyRefused("cap > shortage");
        // No two bits stand for a bearer that is none.
        if ((policy.replacementBearers & (policy.replacementBearers >> 1)) & 0x55555555 != 0) {
            revert PolicyRefused("bearer unknown");
        }
        int64 spread = policy.retailCentsPerMwh - policy.feedInCentsPerMwh;
        int64 narrowing = policy.floorOffsetCentsPerMwh - policy.capOffsetCentsPerMwh;
        if (narrowing > spread || narrowing > policy.retailAdderCentsPerMwh) revert PolicyRefused("floor > cap");
    }

    function _validateTimes(Policy memory policy) private pure {
        if (policy.gateClosureS > LONGEST_GATE_CLOSURE_S) revert PolicyRefused("gate closure too early");
        if (policy.answerLeadS >= policy.gateClosureS) revert PolicyRefused("no time to answer");
        if (policy.substituteAfterS > policy.correctionS) revert PolicyRefused("substitute after corrections");
        if (policy.correctionS > LONGEST_CORRECTION_S) revert PolicyRefused("corrections too long");
    }

    function _requirePrice(int64 price) private pure {
        if (price > PRICE_LIMIT_CENTS_PER_MWH || price < -PRICE_LIMIT_CENTS_PER_MWH) revert PriceOutOfBounds(price);
    }

    function _requireAligned(uint64 mtuStart) private view {
        if (mtuStart == 0 || mtuStart % _mtuLengthS != 0 || mtuStart > type(uint32).max) {
            revert MtuUnaligned(mtuStart, _mtuLengthS);
        }
    }
}
