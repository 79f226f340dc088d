// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IEnergyPricing
/// @notice The zone's reference price of each MTU, by the supply-demand-ratio rule, published once after gate closure
/// and before the clearing deadline.
interface IEnergyPricing {
    event ReferencePricePublished(
        uint32 indexed zone, uint64 indexed mtuStart, int64 priceCentsPerMwh, uint64 supplyWh, uint64 demandWh
    );

    error PriceAlreadyPublished(uint32 zone, uint64 mtuStart);
    error PriceNotPublished(uint32 zone, uint64 mtuStart);
    error PriceTooLate(uint64 mtuStart, uint64 deadline, uint64 blockTime);

    /// @notice Publishes the price that follows from the supply and demand of the closed book.
    /// @param supplyWh offered energy that can trade between the two tariffs, Wh
    /// @param demandWh wanted energy that can trade between the two tariffs, Wh
    function publish(uint32 zone, uint64 mtuStart, uint64 supplyWh, uint64 demandWh)
        external
        returns (int64 priceCentsPerMwh);

    /// @notice The published price, cents per MWh. Reverts with PriceNotPublished.
    function referencePrice(uint32 zone, uint64 mtuStart) external view returns (int64 priceCentsPerMwh);

    /// @notice When the price was published, Unix seconds; zero if it was not.
    function publishedAt(uint32 zone, uint64 mtuStart) external view returns (uint64);
}
