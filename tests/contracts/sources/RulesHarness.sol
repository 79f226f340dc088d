// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CurtailmentOrder} from "./libraries/CurtailmentOrder.sol";
import {IntegerMath} from "./libraries/IntegerMath.sol";
import {OrderHash} from "./libraries/OrderHash.sol";
import {OrderTerms} from "./libraries/OrderTerms.sol";
import {Pairing} from "./libraries/Pairing.sol";
import {Positions} from "./libraries/Positions.sol";
import {SettlementRules} from "./libraries/SettlementRules.sol";
import {SupplyDemandRatio} from "./libraries/SupplyDemandRatio.sol";

/// @notice Opens the libraries' rules to the tests, many cases in one call.
contract RulesHarness {
    using OrderTerms for uint256;
    using Positions for uint256[];

    function floorDiv(int256[] calldata numerators, int256[] calldata denominators)
        external
        pure
        returns (int256[] memory quotients)
    {
        quotients = new int256[](numerators.length);
        for (uint256 i = 0; i < numerators.length; ++i) {
            quotients[i] = IntegerMath.floorDiv(numerators[i], denominators[i]);
        }
    }

    function floorMidpoint(int64[] calldata lowers, int64[] calldata uppers)
        external
        pure
        returns (int64[] memory midpoints)
    {
        midpoints = new int64[](lowers.length);
        for (uint256 i = 0; i < lowers.length; ++i) {
            midpoints[i] = IntegerMath.floorMidpoint(lowers[i], uppers[i]);
        }
    }

    function ratioPrice(
        int64[] calldata feedIns,
        int64[] calldata retails,
        uint64[] calldata suppliesWh,
        uint64[] calldata demandsWh
    ) external pure returns (int64[] memory prices) {
        prices = new int64[](feedIns.length);
        for (uint256 i = 0; i < feedIns.length; ++i) {
            prices[i] = SupplyDemandRatio.price(feedIns[i], retails[i], suppliesWh[i], demandsWh[i]);
        }
    }

    /// @return all buyer's lock, seller's lock, fee of low-carbon and fee of other energy of each case
    function locksAndFees(
        uint256[] calldata energiesWh,
        int64[] calldata prices,
        int64[] calldata shortages,
        uint256[] calldata fees,
        uint256[] calldata reliefs
    ) external pure returns (uint256[4][] memory all) {
        all = new uint256[4][](energiesWh.length);
        for (uint256 i = 0; i < energiesWh.length; ++i) {
            all[i][0] = SettlementRules.buyerLock(energiesWh[i], prices[i]);
            all[i][1] = SettlementRules.sellerLock(energiesWh[i], prices[i], shortages[i]);
            all[i][2] = SettlementRules.gridFee(energiesWh[i], fees[i], reliefs[i], true);
            all[i][3] = SettlementRules.gridFee(energiesWh[i], fees[i], reliefs[i], false);
        }
    }

    /// @return all trade cash, imbalance cash and fulfilled energy of each position at two cleared and two imbalance prices
    function cash(uint256[] memory positions, int64[4][] calldata prices, int64[] calldata meteredWh)
        external
        pure
        returns (int256[3][] memory all)
    {
        all = new int256[3][](prices.length);
        for (uint256 i = 0; i < prices.length; ++i) {
            all[i][0] = SettlementRules.tradeCash(positions, i, prices[i][0], prices[i][1]);
            all[i][1] = SettlementRules.imbalanceCash(positions, i, meteredWh[i], prices[i][2], prices[i][3]);
            all[i][2] = int256(SettlementRules.fulfilledWh(positions, i));
        }
    }

    /// @return words the positions after each was settled on its value
    function settled(uint256[] memory positions, int64[] calldata meteredWh, bool[] calldata substitutes)
        external
        pure
        returns (uint256[] memory words)
    {
        for (uint256 i = 0; i < meteredWh.length; ++i) {
            positions.settle(i, meteredWh[i], substitutes[i]);
        }
        return positions;
    }

    function derive(uint256[][] calldata lists) external pure returns (uint256[][] memory trades) {
        trades = new uint256[][](lists.length);
        for (uint256 i = 0; i < lists.length; ++i) {
            trades[i] = Pairing.derive(lists[i]);
        }
    }

    function servedWh(uint256[][] calldata lists, uint256[][] calldata trades)
        external
        pure
        returns (uint256[][] memory served)
    {
        served = new uint256[][](lists.length);
        for (uint256 i = 0; i < lists.length; ++i) {
            served[i] = SettlementRules.servedWh(lists[i], trades[i]);
        }
    }

    /// @return parts what Positions reads of each position: identity, energies, money, in the order of the words
    function partsOfPositions(uint256[] memory positions) external pure returns (int256[19][] memory parts) {
        parts = new int256[19][](positions.count());
        for (uint256 i = 0; i < parts.length; ++i) {
            parts[i][0] = int256(uint256(uint160(positions.owner(i))));
            parts[i][1] = int256(uint256(positions.meter(i)));
            parts[i][2] = int256(uint256(positions.supplier(i)));
            parts[i][3] = int256(uint256(positions.source(i)));
            parts[i][4] = positions.sells(i) ? int256(1) : int256(0);
            parts[i][5] = positions.isSettled(i) ? int256(1) : int256(0);
            parts[i][6] = positions.isRead(i) ? int256(1) : int256(0);
            parts[i][7] = positions.isContinued(i) ? int256(1) : int256(0);
            parts[i][8] = int256(uint256(positions.version(i)));
            parts[i][9] = int256(uint256(positions.capacityW(i)));
            parts[i][10] = int256(positions.auctionWh(i));
            parts[i][11] = int256(positions.lowCarbonWh(i));
            parts[i][12] = int256(positions.dealtWh(i));
            parts[i][13] = int256(positions.priorWh(i));
            parts[i][14] = positions.meteredWh(i);
            parts[i][15] = int256(positions.feeMicrocents(i));
            parts[i][16] = int256(positions.lockedMicrocents(i));
            parts[i][17] = positions.dealMicrocents(i);
            parts[i][18] = positions.isCurtailed(i) ? int256(1) : int256(0);
        }
    }

    /// @return indexes of the first broken line of each list of basis, cap and factor; its length if there is none
    function firstBroken(uint256[3][][] calldata lists) external pure returns (uint256[] memory indexes) {
        indexes = new uint256[](lists.length);
        for (uint256 i = 0; i < lists.length; ++i) {
            CurtailmentOrder.Line[] memory lines = new CurtailmentOrder.Line[](lists[i].length);
            for (uint256 j = 0; j < lines.length; ++j) {
                lines[j] = CurtailmentOrder.Line(lists[i][j][0], lists[i][j][1], lists[i][j][2]);
            }
            indexes[i] = CurtailmentOrder.firstBroken(lines);
        }
    }

    /// @return parts what OrderTerms reads of each presented order
    function partsOfOrders(uint256[] calldata terms, uint256[] calldata guards)
        external
        pure
        returns (int256[13][] memory parts)
    {
        parts = new int256[13][](terms.length);
        for (uint256 i = 0; i < terms.length; ++i) {
            parts[i][0] = int256(uint256(terms[i].meter()));
            parts[i][1] = int256(uint256(terms[i].side()));
            parts[i][2] = int256(uint256(terms[i].product()));
            parts[i][3] = int256(uint256(terms[i].pricing()));
            parts[i][4] = terms[i].isAcceptance() ? int256(1) : int256(0);
            parts[i][5] = int256(uint256(terms[i].firstMtuStart()));
            parts[i][6] = int256(uint256(terms[i].lastMtuStart()));
            parts[i][7] = int256(uint256(terms[i].expiry()));
            parts[i][8] = int256(terms[i].quantityWh());
            parts[i][9] = int256(terms[i].fillWh());
            parts[i][10] = int256(terms[i].bookIndex());
            parts[i][11] = guards[i].limit();
            parts[i][12] = int256(uint256(guards[i].salt()));
        }
    }

    function orderUids(
        bytes32 domainSeparator,
        uint256[] calldata terms,
        uint256[] calldata guards,
        address[] calldata owners
    ) external pure returns (bytes32[] memory uids) {
        uids = new bytes32[](terms.length);
        for (uint256 i = 0; i < terms.length; ++i) {
            uids[i] = terms[i].isAcceptance()
                ? OrderHash.acceptanceUid(domainSeparator, terms[i], guards[i], owners[i])
                : OrderHash.orderUid(domainSeparator, terms[i], guards[i], owners[i]);
        }
    }

    /// @param presented places whose uids are put in first, in this order
    /// @param others uids of all other places
    /// @return hash of the book as the library computes it
    /// @return plain the same without assembly
    /// @return allNew whether every place was free once, and no place twice
    function bookHash(
        bytes calldata numbers,
        bytes32[] calldata uids,
        uint256[] calldata presented,
        bytes32[] calldata others
    ) external pure returns (bytes32 hash, bytes32 plain, bool allNew) {
        bytes memory book;
        for (uint256 i = 0; i < uids.length; ++i) {
            book = bytes.concat(book, numbers[8 * i:8 * i + 8], uids[i]);
        }
        bytes memory listed = new bytes(OrderHash.LINE_BYTES * uids.length);
        allNew = true;
        for (uint256 i = 0; i < presented.length; ++i) {
            allNew = OrderHash.list(listed, presented[i], uids[presented[i]]) && allNew;
        }
        for (uint256 i = 0; i < presented.length; ++i) {
            allNew = allNew && !OrderHash.list(listed, presented[i], uids[presented[i]]);
        }
        return (OrderHash.bookHash(listed, numbers, others), keccak256(book), allNew);
    }
}
