// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ILowCarbonToken} from "./interfaces/ILowCarbonToken.sol";

/// @title LowCarbonToken
/// @dev No owner; the carbon ledger mints and invalidates, holders transfer and retire. Balances and supply are kept
/// here, for the base contract would read and write the supply at each of a settlement's hundreds of mints.
contract LowCarbonToken is ILowCarbonToken, ERC20, AccessManaged {
    mapping(address holder => uint256) private _balances;
    uint256 private _supply;

    constructor(address accessManager) ERC20("gridledger low-carbon token", "GLC") AccessManaged(accessManager) {}

    /// @inheritdoc ILowCarbonToken
    function mint(address[] calldata holders, uint256[] calldata amountsUgco2) external restricted {
        if (holders.length != amountsUgco2.length) revert ListsDiffer(holders.length, amountsUgco2.length);
        uint256 supply = _supply;
        for (uint256 i = 0; i < holders.length; ++i) {
            (address holder, uint256 amountUgco2) = (holders[i], amountsUgco2[i]);
            if (amountUgco2 == 0) continue;
            if (holder == address(0)) revert ERC20InvalidReceiver(holder);
            supply += amountUgco2;
            // No balance is above the supply.
            unchecked {
                _balances[holder] += amountUgco2;
            }
            emit Transfer(address(0), holder, amountUgco2);
        }
        _supply = supply;
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

    /// @inheritdoc IERC20
    function totalSupply() public view override(ERC20, IERC20) returns (uint256) {
        return _supply;
    }

    /// @inheritdoc IERC20
    function balanceOf(address holder) public view override(ERC20, IERC20) returns (uint256) {
        return _balances[holder];
    }

    /// @dev As the base contract's: a transfer, or a burn to nobody.
    function _update(address from, address to, uint256 value) internal override {
        uint256 held = _balances[from];
        if (held < value) revert ERC20InsufficientBalance(from, held, value);
        // The supply is the sum of all balances.
        unchecked {
            _balances[from] = held - value;
            if (to == address(0)) _supply -= value;
            else _balances[to] += value;
        }
        emit Transfer(from, to, value);
    }
}
