// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title SettlementToken
/// @notice Stands in for a bank's token: 8 decimals, 1 EUR = 10^8 units, one unit is one microcent. Only the bank
/// mints, against money it holds; holders redeem their own.
contract SettlementToken is ERC20, ERC20Permit, AccessManaged {
    event Redeemed(address indexed holder, uint256 amountMicrocents);

    error LengthsDiffer(uint256 accounts, uint256 amounts);

    constructor(address accessManager)
        ERC20("gridledger settlement token", "GLE")
        ERC20Permit("gridledger settlement token")
        AccessManaged(accessManager)
    {}

    /// @notice Mints to many accounts; amounts in microcents. Only the bank may.
    function issue(address[] calldata accounts, uint256[] calldata amountsMicrocents) external restricted {
        if (accounts.length != amountsMicrocents.length) {
            revert LengthsDiffer(accounts.length, amountsMicrocents.length);
        }
        for (uint256 i = 0; i < accounts.length; ++i) {
            _mint(accounts[i], amountsMicrocents[i]);
        }
    }

    /// @notice Burns the caller's own tokens; the bank pays out.
    function redeem(uint256 amountMicrocents) external {
        _burn(msg.sender, amountMicrocents);
        emit Redeemed(msg.sender, amountMicrocents);
    }

    /// @notice 8: one unit is one microcent.
    function decimals() public pure override returns (uint8) {
        return 8;
    }
}
