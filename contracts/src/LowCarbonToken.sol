// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ILowCarbonToken} from "./interfaces/ILowCarbonToken.sol";

/// @title LowCarbonToken
/// @dev No owner; the carbon ledger mints and invalidates, holders transfer and retire.
contract LowCarbonToken is ILowCarbonToken, ERC20, AccessManaged {
    constructor(address accessManager) ERC20("gridledger low-carbon token", "GLC") AccessManaged(accessManager) {}

    /// @inheritdoc ILowCarbonToken
    function mint(address[] calldata holders, uint256[] calldata amountsUgco2) external restricted {
        if (holders.length != amountsUgco2.length) revert ListsDiffer(holders.length, amountsUgco2.length);
        for (uint256 i = 0; i < holders.length; ++i) {
            uint256 amountUgco2 = amountsUgco2[i];
            if (amountUgco2 > 0) _mint(holders[i], amountUgco2);
        }
    }

    /// @inheritdoc ILowCarbonToken
    function retire(uint256 amountUgco2, string calldata beneficiary, string calldata purpose) external {
        if (amountUgco2 == 0) revert NothingToRetire();
        if (bytes(beneficiary).length == 0) revert BeneficiaryMissing();
        _burn(msg.sender, amountUgco2);
        emit Retired(msg.sender, amountUgco2, beneficiary, purpose);
    }

    /// @inheritdoc ILowCarbonToken
    function invalidate(address holder, uint256 amountUgco2, string calldata reason) external restricted {
        _burn(holder, amountUgco2);
        emit Invalidated(holder, amountUgco2, reason);
    }

    /// @notice 9: one token is 1 kg, one unit 1 microgram.
    function decimals() public pure override returns (uint8) {
        return 9;
    }
}
