// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title ILowCarbonToken
/// @notice One token (10^9 units) is 1 kg CO2e avoided; one unit is 1 microgram. Retiring uses the claim up;
/// invalidating takes back what a correction has shown to be unearned. They are never the same event.
interface ILowCarbonToken is IERC20 {
    event Retired(address indexed holder, uint256 amountUgco2, string beneficiary, string purpose);
    event Invalidated(address indexed holder, uint256 amountUgco2, string reason);

    error NothingToRetire();
    error BeneficiaryMissing();
    error ListsDiffer(uint256 holders, uint256 amounts);

    /// @notice Mints rewards; entries of nothing are passed over. Only the carbon ledger may.
    function mint(address[] calldata holders, uint256[] calldata amountsUgco2) external;

    /// @notice Uses up the caller's own tokens for a named beneficiary and purpose.
    function retire(uint256 amountUgco2, string calldata beneficiary, string calldata purpose) external;

    /// @notice Takes back unearned tokens. Only the carbon ledger may.
    function invalidate(address holder, uint256 amountUgco2, string calldata reason) external;
}
