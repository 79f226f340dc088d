// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title ICarbonLedger
/// @notice Emission factors and the low-carbon reward that follows from them.
interface ICarbonLedger {
    event SourceFactorSet(uint8 indexed source, uint32 factorMgco2PerKwh, string citation);
    event GridFactorPublished(uint64 indexed mtuStart, uint32 factorMgco2PerKwh, bytes32 sourceHash);
    /// @notice One settlement's rewards; the mints of the low-carbon token that follow say who received how much.
    event RewardsGranted(
        uint64 indexed mtuStart, uint32 gridFactorMgco2PerKwh, uint256 energyWh, uint256 totalUgco2
    );

    /// @notice The rewards of a correction; what the tokens' own events say between is what was minted and taken back.
    event RewardsCorrected(
        uint64 indexed mtuStart, uint32 gridFactorMgco2PerKwh, int256 energyWh, int256 totalUgco2
    );
    /// @notice A holder no longer has the tokens a correction takes back.
    event TokensOwed(address indexed holder, uint64 indexed mtuStart, uint256 amountUgco2);
    event TokensCollected(address indexed holder, uint256 amountUgco2);

    error NothingToCollect(address holder, uint256 owedUgco2);
    error FactorOutOfBounds(uint32 factorMgco2PerKwh);
    error SourceUnknown(uint8 source);
    error SourceFactorAlreadySet(uint8 source);
    error GridFactorAlreadyPublished(uint64 mtuStart);

    /// @notice Sets a source's factor, once, with its citation.
    function setSourceFactor(uint8 source, uint32 factorMgco2PerKwh, string calldata citation) external;

    /// @notice Publishes the grid factors of consecutive MTUs; one post per MTU.
    /// @param sourceHash SHA-256 of the document the factors come from
    function publishGridFactors(uint64 firstMtuStart, uint32[] calldata factorsMgco2PerKwh, bytes32 sourceHash)
        external;

    /// @notice Mints the reward of each item: Wh x (grid factor - source factor), never below zero, split by policy.
    /// The seller's share is rounded down, the buyer gets the rest. Only the trading contract may.
    /// @param rewards words of Rewards
    /// @return totalUgco2 sum of all minted amounts
    function grantRewards(uint64 mtuStart, uint256[] calldata rewards) external returns (uint256 totalUgco2);

    /// @notice Changes rewards granted before to what the corrected energies are worth. What a holder has passed on or
    /// retired in the meantime is owed. Only the trading contract may.
    /// @param rewards words of Rewards, with the energy rewarded before
    /// @return totalUgco2 sum of all changes
    function correctRewards(uint64 mtuStart, uint256[] calldata rewards) external returns (int256 totalUgco2);

    /// @notice Takes back what a holder owes, as far as it has tokens. Anybody may.
    function collectOwed(address holder) external;

    /// @notice Tokens a holder has to give back and did not have.
    function owedUgco2Of(address holder) external view returns (uint256);

    /// @notice The grid factor of an MTU: published, or the policy's default.
    function gridFactorAt(uint64 mtuStart) external view returns (uint32 factorMgco2PerKwh);

    /// @notice The factor of a source. Reverts with SourceUnknown.
    function sourceFactorOf(uint8 source) external view returns (uint32 factorMgco2PerKwh);

    /// @notice Where a source stands in the order of curtailment: its emission factor; a source without one, and 0
    /// for any other source, stand above all and are curtailed first.
    function meritFactorOf(uint8 source) external view returns (uint32 factorMgco2PerKwh);
}
