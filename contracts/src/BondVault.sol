// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IMarketBond} from "./interfaces/IMarketBond.sol";
import {IntegerMath} from "./libraries/IntegerMath.sol";

/// @title BondVault
/// @dev The bond's money. It leaves in two ways only: to the owner of an upheld challenge, and by a withdrawal
/// announced long before, never below what open challenges may cost. Stakes of open challenges lie beside it.
abstract contract BondVault is IMarketBond {
    using SafeERC20 for IERC20;

    /// @dev An announced withdrawal cannot be kept in hand for the day it is needed.
    uint64 private constant WITHDRAWAL_GRACE_S = 7 days;

    IERC20 private immutable _token;
    uint64 internal immutable _withdrawalDelayS;
    uint128 internal immutable _stakeMicrocents;

    uint256 private _bondMicrocents;
    uint256 private _reservedMicrocents;
    uint256 private _announcedMicrocents;
    uint64 private _availableAt;

    constructor(IERC20 token, uint64 withdrawalDelayS, uint128 stakeMicrocents) {
        _token = token;
        _withdrawalDelayS = withdrawalDelayS;
        _stakeMicrocents = stakeMicrocents;
    }

    /// @inheritdoc IMarketBond
    function bond() external view returns (uint256, uint256) {
        return (_bondMicrocents, _reservedMicrocents);
    }

    /// @inheritdoc IMarketBond
    function announcedWithdrawal() external view returns (uint256, uint64) {
        return (_announcedMicrocents, _availableAt);
    }

    function _depositBond(uint256 amountMicrocents) internal {
        if (amountMicrocents == 0) revert AmountIsZero();
        _bondMicrocents += amountMicrocents;
        emit BondDeposited(msg.sender, amountMicrocents);
        _token.safeTransferFrom(msg.sender, address(this), amountMicrocents);
    }

    function _announceWithdrawal(uint256 amountMicrocents) internal {
        if (amountMicrocents == 0) revert AmountIsZero();
        (_announcedMicrocents, _availableAt) = (amountMicrocents, uint64(block.timestamp) + _withdrawalDelayS);
        emit WithdrawalAnnounced(amountMicrocents, _availableAt);
    }

    function _withdrawAnnounced() internal {
        (uint256 amount, uint64 availableAt) = (_announcedMicrocents, _availableAt);
        if (amount == 0) revert WithdrawalNotAnnounced();
        if (block.timestamp < availableAt) revert WithdrawalTooEarly(availableAt, uint64(block.timestamp));
        uint64 lapsedAt = availableAt + WITHDRAWAL_GRACE_S;
        if (block.timestamp >= lapsedAt) revert WithdrawalLapsed(lapsedAt, uint64(block.timestamp));
        if (_bondMicrocents < _reservedMicrocents + amount) {
            revert BondReserved(_bondMicrocents, _reservedMicrocents, amount);
        }
        (_announcedMicrocents, _availableAt) = (0, 0);
        _bondMicrocents -= amount;
        emit BondWithdrawn(msg.sender, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    /// @dev Sets aside what a challenge may cost, and takes the challenger's stake.
    function _reserve(address challenger, uint256 amountMicrocents) internal {
        _reservedMicrocents += amountMicrocents;
        if (_stakeMicrocents > 0) _token.safeTransferFrom(challenger, address(this), _stakeMicrocents);
    }

    /// @dev A defeated challenge: nothing is reserved any more, and the stake is the bond's.
    function _forfeit(uint256 amountMicrocents) internal {
        _reservedMicrocents -= amountMicrocents;
        _bondMicrocents += _stakeMicrocents;
    }

    /// @dev An upheld challenge: the amount as far as the bond reaches, and the stake back. Returns what the bond
    /// paid.
    function _payOut(address owner, uint256 amountMicrocents) internal returns (uint256 paidMicrocents) {
        paidMicrocents = IntegerMath.min(amountMicrocents, _bondMicrocents);
        _reservedMicrocents -= amountMicrocents;
        _bondMicrocents -= paidMicrocents;
        _token.safeTransfer(owner, paidMicrocents + _stakeMicrocents);
    }
}
