// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IEnergyPricing} from "./interfaces/IEnergyPricing.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {SlotKey} from "./libraries/SlotKey.sol";
import {SupplyDemandRatio} from "./libraries/SupplyDemandRatio.sol";

/// @title EnergyPricing
/// @dev The market operator chooses the moment between gate closure and clearing deadline and states supply and demand;
/// the price follows. Both figures are recomputed from the committed book by the audit. A price that comes after the
/// clearing excuses nothing, see MarketBond.
contract EnergyPricing is IEnergyPricing, AccessManaged {
    /// @dev One slot: 64 + 40 bits. The time is zero where nothing is published.
    struct PublishedPrice {
        int64 priceCentsPerMwh;
        uint40 publishedAt;
    }

    IGridPolicy private immutable _policy;
    mapping(uint256 slotKey => PublishedPrice) private _prices;

    constructor(address accessManager, IGridPolicy policy) AccessManaged(accessManager) {
        _policy = policy;
    }

    /// @inheritdoc IEnergyPricing
    function publish(uint32 zone, uint64 mtuStart, uint64 supplyWh, uint64 demandWh)
        external
        restricted
        returns (int64 priceCentsPerMwh)
    {
        _policy.requireGateClosed(mtuStart);
        PublishedPrice storage slot = _prices[SlotKey.pack(zone, mtuStart)];
        if (slot.publishedAt != 0) revert PriceAlreadyPublished(zone, mtuStart);
        uint64 deadline = _policy.clearingDeadlineAt(mtuStart);
        if (block.timestamp > deadline) revert PriceTooLate(mtuStart, deadline, uint64(block.timestamp));
        IGridPolicy.Prices memory prices = _policy.pricesAt(mtuStart);
        priceCentsPerMwh = SupplyDemandRatio.price(prices.feedIn, prices.retail, supplyWh, demandWh);
        if (priceCentsPerMwh < prices.floor) priceCentsPerMwh = prices.floor;
        if (priceCentsPerMwh > prices.cap) priceCentsPerMwh = prices.cap;
        (slot.priceCentsPerMwh, slot.publishedAt) = (priceCentsPerMwh, uint40(block.timestamp));
        emit ReferencePricePublished(zone, mtuStart, priceCentsPerMwh, supplyWh, demandWh);
    }

    /// @inheritdoc IEnergyPricing
    function referencePrice(uint32 zone, uint64 mtuStart) external view returns (int64) {
        PublishedPrice memory slot = _prices[SlotKey.pack(zone, mtuStart)];
        if (slot.publishedAt == 0) revert PriceNotPublished(zone, mtuStart);
        return slot.priceCentsPerMwh;
    }

    /// @inheritdoc IEnergyPricing
    function publishedAt(uint32 zone, uint64 mtuStart) external view returns (uint64) {
        return _prices[SlotKey.pack(zone, mtuStart)].publishedAt;
    }
}
