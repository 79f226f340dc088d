// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title CurtailmentOrder
/// @notice Whether caps keep to the order of curtailment. The cap of all named meters together goes to the cleanest
/// first: meters of a higher emission factor have nothing left before one of a lower factor gives up anything. Within
/// the one factor that is curtailed in part the caps are pro rata to what the meters were to deliver, rounded by
/// largest remainder, ties to the earlier meter.
library CurtailmentOrder {
    /// @notice One meter: what it was to deliver or take, its cap, both Wh, and its emission factor.
    struct Line {
        uint256 basisWh;
        uint256 capWh;
        uint256 factorMgco2PerKwh;
    }

    /// @notice What the partly curtailed factor has: its meters' sums, and how much whole division leaves over.
    struct Share {
        uint256 factor;
        uint256 basisWh;
        uint256 capWh;
    }

    /// @notice Index of the first line whose cap is not what the order gives it; the count of lines if there is none.
    /// @dev No cap is above its basis. Energies are below 2^64.
    function firstBroken(Line[] memory lines) internal pure returns (uint256 index) {
        Share memory share = _partlyCurtailed(lines);
        for (index = 0; index < lines.length; ++index) {
            Line memory line = lines[index];
            if (line.factorMgco2PerKwh < share.factor && line.capWh != line.basisWh) return index;
            if (line.factorMgco2PerKwh == share.factor && !_isShare(line, share)) return index;
        }
        return _firstUnfair(lines, share);
    }

    /// @dev The highest factor of which anything is left. Lines above it have no cap by choice of it.
    function _partlyCurtailed(Line[] memory lines) private pure returns (Share memory share) {
        for (uint256 i = 0; i < lines.length; ++i) {
            if (lines[i].capWh > 0 && lines[i].factorMgco2PerKwh > share.factor) {
                share.factor = lines[i].factorMgco2PerKwh;
            }
        }
        for (uint256 i = 0; i < lines.length; ++i) {
            if (lines[i].factorMgco2PerKwh != share.factor) continue;
            share.basisWh += lines[i].basisWh;
            share.capWh += lines[i].capWh;
        }
    }

    /// @dev A share is rounded down, or up for those with the largest remainders.
    function _isShare(Line memory line, Share memory share) private pure returns (bool) {
        if (share.basisWh == 0) return line.capWh == 0;
        uint256 downWh = (share.capWh * line.basisWh) / share.basisWh;
        return line.capWh == downWh || line.capWh == downWh + 1;
    }

    /// @dev The first line that was rounded up although a later one, or an earlier one of the same remainder, comes
    /// before it; shares are known to be rounded down or up.
    function _firstUnfair(Line[] memory lines, Share memory share) private pure returns (uint256) {
        uint256 count = lines.length;
        (uint256 least, uint256 leastIndex) = (type(uint256).max, count);
        (uint256 most, uint256 mostIndex) = (0, count);
        for (uint256 i = 0; i < count; ++i) {
            if (lines[i].factorMgco2PerKwh != share.factor || share.basisWh == 0) continue;
            uint256 product = share.capWh * lines[i].basisWh;
            uint256 remainder = product % share.basisWh;
            if (lines[i].capWh > product / share.basisWh) {
                if (remainder <= least) (least, leastIndex) = (remainder, i);
            } else if (mostIndex == count || remainder > most) {
                (most, mostIndex) = (remainder, i);
            }
        }
        if (leastIndex == count || mostIndex == count) return count;
        return least > most || (least == most && leastIndex < mostIndex) ? count : leastIndex;
    }
}
