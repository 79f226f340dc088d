// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ICarbonLedger} from "./interfaces/ICarbonLedger.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {ILowCarbonToken} from "./interfaces/ILowCarbonToken.sol";
import {Lists} from "./libraries/Lists.sol";
import {Rewards} from "./libraries/Rewards.sol";

/// @title CarbonLedger
/// @dev The oracle states grid factors within bounds, once per MTU; the regulator states source factors, once. Nobody
/// but the trading contract can cause a mint, and only for the energy it has settled.
contract CarbonLedger is ICarbonLedger, AccessManaged {
    using Lists for address[];
    using Lists for uint256[];

    uint32 public constant HIGHEST_FACTOR_MGCO2_PER_KWH = 5_000_000;
    uint256 private constant BASIS_POINTS = 10_000;

    /// @dev One slot: 32 + 8 bits.
    struct Factor {
        uint32 mgco2PerKwh;
        bool known;
    }

    /// @dev Mints in the making; entries beyond `count` are empty.
    struct Mints {
        address[] holders;
        uint256[] amountsUgco2;
        uint256 count;
    }

    IGridPolicy private immutable _policy;
    ILowCarbonToken private immutable _token;
    mapping(uint8 source => Factor) private _sourceFactors;
    mapping(uint64 mtuStart => Factor) private _gridFactors;
    mapping(address holder => uint256) private _owedUgco2;

    constructor(address accessManager, IGridPolicy policy, ILowCarbonToken token) AccessManaged(accessManager) {
        _policy = policy;
        _token = token;
    }

    /// @inheritdoc ICarbonLedger
    function setSourceFactor(uint8 source, uint32 factorMgco2PerKwh, string calldata citation) external restricted {
        if (source == 0) revert SourceUnknown(source);
        if (_sourceFactors[source].known) revert SourceFactorAlreadySet(source);
        _sourceFactors[source] = _factor(factorMgco2PerKwh);
        emit SourceFactorSet(source, factorMgco2PerKwh, citation);
    }

    /// @inheritdoc ICarbonLedger
    function publishGridFactors(uint64 firstMtuStart, uint32[] calldata factorsMgco2PerKwh, bytes32 sourceHash)
        external
        restricted
    {
        uint32 mtuLengthS = _policy.mtuLengthS();
        if (firstMtuStart % mtuLengthS != 0) revert IGridPolicy.MtuUnaligned(firstMtuStart, mtuLengthS);
        uint64 mtuStart = firstMtuStart;
        for (uint256 i = 0; i < factorsMgco2PerKwh.length; ++i) {
            if (_gridFactors[mtuStart].known) revert GridFactorAlreadyPublished(mtuStart);
            _gridFactors[mtuStart] = _factor(factorsMgco2PerKwh[i]);
            emit GridFactorPublished(mtuStart, factorsMgco2PerKwh[i], sourceHash);
            mtuStart += mtuLengthS;
        }
    }

    /// @inheritdoc ICarbonLedger
    function grantRewards(uint64 mtuStart, uint256[] calldata rewards)
        external
        restricted
        returns (uint256 totalUgco2)
    {
        uint32 gridFactor = _pinGridFactor(mtuStart);
        (IGridPolicy.Policy memory policy,) = _policy.policyAt(mtuStart);
        Mints memory mints = Mints(new address[](rewards.length), new uint256[](rewards.length), 0);
        uint256 energyWh = 0;
        (uint8 source, uint256 savedUgco2PerWh) = (0, 0);
        for (uint256 i = 0; i < rewards.length; i += Rewards.WORDS) {
            (uint256 seller, uint256 buyer) = (rewards[i], rewards[i + 1]);
            // Neighbouring trades mostly have the same source; none is 0.
            if (Rewards.source(seller) != source) {
                source = Rewards.source(seller);
                savedUgco2PerWh = _savedUgco2PerWh(source, gridFactor);
            }
            // At most 2^64 x 5e6 each, and the policy holds the share to one.
            unchecked {
                uint256 amountUgco2 = Rewards.energyWh(seller) * savedUgco2PerWh;
                if (amountUgco2 == 0) continue;
                energyWh += Rewards.energyWh(seller);
                totalUgco2 += amountUgco2;
                uint256 sellerUgco2 = (amountUgco2 * policy.sellerRewardShareBp) / BASIS_POINTS;
                _add(mints, Rewards.account(seller), sellerUgco2);
                _add(mints, Rewards.account(buyer), amountUgco2 - sellerUgco2);
            }
        }
        emit RewardsGranted(mtuStart, gridFactor, energyWh, totalUgco2);
        _token.mint(mints.holders, mints.amountsUgco2);
    }

    /// @inheritdoc ICarbonLedger
    function correctRewards(uint64 mtuStart, uint256[] calldata rewards)
        external
        restricted
        returns (int256 totalUgco2)
    {
        uint32 gridFactor = _pinGridFactor(mtuStart);
        (IGridPolicy.Policy memory policy,) = _policy.policyAt(mtuStart);
        int256 energyWh = 0;
        for (uint256 i = 0; i < rewards.length; i += Rewards.WORDS) {
            (uint256 seller, uint256 buyer) = (rewards[i], rewards[i + 1]);
            uint256 saved = _savedUgco2PerWh(Rewards.source(seller), gridFactor);
            if (saved == 0) continue;
            (uint256 due, uint256 paid) = (Rewards.energyWh(seller) * saved, Rewards.rewardedWh(buyer) * saved);
            // Each share is rounded as if the reward had been granted at once.
            int256 sellerUgco2 = int256((due * policy.sellerRewardShareBp) / BASIS_POINTS)
                - int256((paid * policy.sellerRewardShareBp) / BASIS_POINTS);
            int256 changeUgco2 = int256(due) - int256(paid);
            energyWh += int256(Rewards.energyWh(seller)) - int256(Rewards.rewardedWh(buyer));
            totalUgco2 += changeUgco2;
            _change(mtuStart, Rewards.account(seller), sellerUgco2);
            _change(mtuStart, Rewards.account(buyer), changeUgco2 - sellerUgco2);
        }
        emit RewardsCorrected(mtuStart, gridFactor, energyWh, totalUgco2);
    }

    /// @inheritdoc ICarbonLedger
    function collectOwed(address holder) external {
        uint256 owedUgco2 = _owedUgco2[holder];
        uint256 amountUgco2 = _available(holder, owedUgco2);
        if (amountUgco2 == 0) revert NothingToCollect(holder, owedUgco2);
        _owedUgco2[holder] = owedUgco2 - amountUgco2;
        emit TokensCollected(holder, amountUgco2);
        _token.invalidate(holder, amountUgco2, "debt");
    }

    /// @inheritdoc ICarbonLedger
    function owedUgco2Of(address holder) external view returns (uint256) {
        return _owedUgco2[holder];
    }

    /// @inheritdoc ICarbonLedger
    function gridFactorAt(uint64 mtuStart) public view returns (uint32) {
        Factor memory factor = _gridFactors[mtuStart];
        if (factor.known) return factor.mgco2PerKwh;
        (IGridPolicy.Policy memory policy,) = _policy.policyAt(mtuStart);
        return policy.defaultGridFactorMgco2PerKwh;
    }

    /// @inheritdoc ICarbonLedger
    function sourceFactorOf(uint8 source) public view returns (uint32) {
        Factor memory factor = _sourceFactors[source];
        if (!factor.known) revert SourceUnknown(source);
        return factor.mgco2PerKwh;
    }

    /// @inheritdoc ICarbonLedger
    function meritFactorOf(uint8 source) external view returns (uint32) {
        Factor memory factor = _sourceFactors[source];
        return factor.known ? factor.mgco2PerKwh : type(uint32).max;
    }

    /// @dev Mints, or takes back as much as the holder still has; the rest is owed.
    function _change(uint64 mtuStart, address holder, int256 changeUgco2) private {
        if (changeUgco2 > 0) {
            (address[] memory holders, uint256[] memory amountsUgco2) = (new address[](1), new uint256[](1));
            (holders[0], amountsUgco2[0]) = (holder, uint256(changeUgco2));
            _token.mint(holders, amountsUgco2);
        } else if (changeUgco2 < 0) {
            uint256 unearnedUgco2 = uint256(-changeUgco2);
            uint256 heldUgco2 = _available(holder, unearnedUgco2);
            if (heldUgco2 < unearnedUgco2) {
                _owedUgco2[holder] += unearnedUgco2 - heldUgco2;
                emit TokensOwed(holder, mtuStart, unearnedUgco2 - heldUgco2);
            }
            if (heldUgco2 > 0) _token.invalidate(holder, heldUgco2, "correction");
        }
    }

    function _available(address holder, uint256 wantedUgco2) private view returns (uint256) {
        uint256 balance = _token.balanceOf(holder);
        return balance < wantedUgco2 ? balance : wantedUgco2;
    }

    /// @dev The first reward of an MTU decides its factor, so that all its rewards use the same.
    function _pinGridFactor(uint64 mtuStart) private returns (uint32 factorMgco2PerKwh) {
        factorMgco2PerKwh = gridFactorAt(mtuStart);
        if (_gridFactors[mtuStart].known) return factorMgco2PerKwh;
        _gridFactors[mtuStart] = _factor(factorMgco2PerKwh);
        emit GridFactorPublished(mtuStart, factorMgco2PerKwh, 0);
    }

    /// @dev mg/kWh = ug/Wh exactly.
    function _savedUgco2PerWh(uint8 source, uint256 gridFactor) private view returns (uint256) {
        // A source without a factor earns nothing, and must not stop the settlement of everybody else.
        Factor memory factor = _sourceFactors[source];
        return factor.known && gridFactor > factor.mgco2PerKwh ? gridFactor - factor.mgco2PerKwh : 0;
    }

    /// @dev Neighbouring trades often share a seller or a buyer; each holder of such a run is minted to once.
    function _add(Mints memory mints, address holder, uint256 amountUgco2) private pure {
        (address[] memory holders, uint256[] memory amountsUgco2) = (mints.holders, mints.amountsUgco2);
        uint256 count = mints.count;
        unchecked {
            for (uint256 back = 1; back <= 2 && back <= count; ++back) {
                if (holders.at(count - back) == holder) {
                    amountsUgco2.put(count - back, amountsUgco2.at(count - back) + amountUgco2);
                    return;
                }
            }
            holders.put(count, holder);
            amountsUgco2.put(count, amountUgco2);
            mints.count = count + 1;
        }
    }

    function _factor(uint32 mgco2PerKwh) private pure returns (Factor memory) {
        if (mgco2PerKwh > HIGHEST_FACTOR_MGCO2_PER_KWH) revert FactorOutOfBounds(mgco2PerKwh);
        return Factor({mgco2PerKwh: mgco2PerKwh, known: true});
    }
}
