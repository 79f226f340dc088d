// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IEnergyAccounts} from "./interfaces/IEnergyAccounts.sol";
import {IEnergyTrading} from "./interfaces/IEnergyTrading.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";

/// @title EnergyAccounts
/// @dev No role can move a member's money: free balances change by their owner's call, or by a clearing or settlement
/// of an order the owner signed. Nothing here depends on halts, so deposits can always be withdrawn.
abstract contract EnergyAccounts is IEnergyAccounts, AccessManaged {
    using SafeCast for int256;
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev One slot, as a clearing reads and writes it once per member: 96 + 80 + 40 + 40 = 256 bits. free is below
    /// zero while credit is used, never below -credit. Times are zero where nothing of the kind has happened.
    struct Account {
        int96 freeMicrocents;
        uint80 creditMicrocents;
        uint40 lastCancelledAt;
        uint40 suspendedSince;
    }

    /// @dev Largest single movement (some 3e13 EUR); sums of 2^20 of them stay inside int96, one stays inside uint80.
    uint256 private constant LARGEST_AMOUNT_MICROCENTS = 2 ** 72;

    IERC20 private immutable _settlementToken;
    IParticipantRegistry internal immutable _registry;

    uint256 private _escrowMicrocents;
    /// @dev Sum of all movements of this transaction; a clearing or settlement must leave it as it found it.
    int256 internal transient _movedMicrocents;
    mapping(address account => Account) internal _accounts;
    mapping(address debtor => mapping(address creditor => uint256)) private _debts;

    constructor(IERC20 settlementToken, IParticipantRegistry registry) {
        _settlementToken = settlementToken;
        _registry = registry;
    }

    /// @inheritdoc IEnergyAccounts
    function deposit(uint256 amountMicrocents) external {
        _deposit(amountMicrocents);
    }

    /// @inheritdoc IEnergyAccounts
    function depositWithPermit(uint256 amountMicrocents, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        // A permit somebody else has already submitted leaves the allowance in place, so its failure is no failure.
        // solhint-disable no-empty-blocks
        try IERC20Permit(address(_settlementToken)).permit(
            msg.sender, address(this), amountMicrocents, deadline, v, r, s
        ) {} catch {}
        // solhint-enable no-empty-blocks
        _deposit(amountMicrocents);
    }

    /// @inheritdoc IEnergyAccounts
    function withdraw(uint256 amountMicrocents) external {
        _requireAmount(amountMicrocents);
        Account storage account = _accounts[msg.sender];
        if (account.freeMicrocents < int256(amountMicrocents)) {
            revert InsufficientFunds(msg.sender, amountMicrocents, account.freeMicrocents);
        }
        _change(msg.sender, -int256(amountMicrocents));
        emit Withdrawn(msg.sender, amountMicrocents);
        _settlementToken.safeTransfer(msg.sender, amountMicrocents);
    }

    /// @inheritdoc IEnergyAccounts
    function setCredit(address[] calldata accounts, uint128[] calldata creditsMicrocents) external {
        if (accounts.length != creditsMicrocents.length) {
            revert AccountListsDiffer(accounts.length, creditsMicrocents.length);
        }
        for (uint256 i = 0; i < accounts.length; ++i) {
            _setCredit(accounts[i], creditsMicrocents[i]);
        }
    }

    /// @inheritdoc IEnergyAccounts
    function payDebt(address creditor, uint256 amountMicrocents) external {
        _requireAmount(amountMicrocents);
        uint256 debt = _debts[msg.sender][creditor];
        if (amountMicrocents > debt) revert DebtExceeded(msg.sender, creditor, debt, amountMicrocents);
        _lock(msg.sender, amountMicrocents);
        _debts[msg.sender][creditor] = debt - amountMicrocents;
        _change(creditor, int256(amountMicrocents));
        emit DebtPaid(msg.sender, creditor, amountMicrocents);
    }

    /// @inheritdoc IEnergyAccounts
    function setSuspended(address account, bool suspended) external restricted {
        Account storage entry = _accounts[account];
        // The first moment counts: suspending again cannot postpone it.
        if (!suspended) entry.suspendedSince = 0;
        else if (entry.suspendedSince == 0) entry.suspendedSince = uint40(block.timestamp);
        emit ParticipantSuspended(account, suspended);
    }

    /// @inheritdoc IEnergyAccounts
    function suspendedSince(address account) external view returns (uint64) {
        return _accounts[account].suspendedSince;
    }

    /// @inheritdoc IEnergyAccounts
    function accountOf(address account) external view returns (int128 freeMicrocents, uint128 creditMicrocents) {
        return (_accounts[account].freeMicrocents, _accounts[account].creditMicrocents);
    }

    /// @inheritdoc IEnergyAccounts
    function debtOf(address debtor, address creditor) external view returns (uint256) {
        return _debts[debtor][creditor];
    }

    /// @inheritdoc IEnergyAccounts
    function escrowMicrocents() public view returns (uint256) {
        return _escrowMicrocents;
    }

    /// @dev Takes money out of an account down to its credit limit. Reverts with InsufficientFunds.
    function _lock(address owner, uint256 amountMicrocents) internal {
        _movedMicrocents -= _take(owner, amountMicrocents);
    }

    /// @dev As `_lock`, but the caller adds up what was taken and notes it once.
    function _take(address owner, uint256 amountMicrocents) internal returns (int256 takenMicrocents) {
        Account storage account = _accounts[owner];
        (int256 free, uint256 credit) = (account.freeMicrocents, account.creditMicrocents);
        takenMicrocents = amountMicrocents.toInt256();
        // Both are far inside int256, and what is left lies between minus the credit and what was there.
        unchecked {
            int256 available = free + int256(credit);
            if (available < takenMicrocents) revert InsufficientFunds(owner, amountMicrocents, available);
            account.freeMicrocents = int96(free - takenMicrocents);
        }
    }

    function _changeEscrow(int256 amountMicrocents) internal {
        _escrowMicrocents = (int256(_escrowMicrocents) + amountMicrocents).toUint256();
        _movedMicrocents += amountMicrocents;
    }

    /// @dev Adds a signed amount known to keep the account above its limit.
    function _change(address owner, int256 amountMicrocents) internal {
        _accounts[owner].freeMicrocents += amountMicrocents.toInt96();
        _movedMicrocents += amountMicrocents;
    }

    /// @dev Pays released money to its owner and settles the imbalance with the supplier, each account written once.
    /// Money moved is conserved by construction.
    function _settleAccount(IEnergyTrading.Payment calldata payment) internal {
        (address owner, address supplier) = (payment.owner, payment.supplier);
        (int256 released, int256 imbalance) = (payment.releasedMicrocents, payment.imbalanceMicrocents);
        // Nobody has an imbalance with itself.
        if (owner == supplier) imbalance = 0;
        if (imbalance < 0) {
            _change(supplier, _pay(owner, supplier, released, -imbalance));
            return;
        }
        if (imbalance > 0) released += _pay(supplier, owner, 0, imbalance);
        if (released != 0) _change(owner, released);
    }

    /// @dev Whether the account is suspended, and whether it has ever cancelled an order.
    function _flagsOf(address owner) internal view returns (bool suspended, bool hasCancelled) {
        Account storage account = _accounts[owner];
        return (account.suspendedSince != 0, account.lastCancelledAt != 0);
    }

    /// @dev Takes `owedMicrocents` from the payer, after it was given `addedMicrocents`, as far as its funds and credit
    /// reach; the rest becomes a recorded debt. Returns what was paid; the caller gives it to the payee.
    function _pay(address payer, address payee, int256 addedMicrocents, int256 owedMicrocents)
        private
        returns (int256 paidMicrocents)
    {
        Account storage account = _accounts[payer];
        int256 free = account.freeMicrocents + addedMicrocents;
        // Never below zero: free money never falls below minus the credit limit.
        int256 available = free + int256(uint256(account.creditMicrocents));
        paidMicrocents = owedMicrocents;
        if (available < owedMicrocents) {
            paidMicrocents = available;
            uint256 debt = uint256(owedMicrocents - available);
            _debts[payer][payee] += debt;
            emit DebtRecorded(payer, payee, debt);
        }
        account.freeMicrocents = (free - paidMicrocents).toInt96();
        _movedMicrocents += addedMicrocents - paidMicrocents;
    }

    function _deposit(uint256 amountMicrocents) private {
        _requireAmount(amountMicrocents);
        _change(msg.sender, int256(amountMicrocents));
        emit Deposited(msg.sender, amountMicrocents);
        _settlementToken.safeTransferFrom(msg.sender, address(this), amountMicrocents);
    }

    function _setCredit(address owner, uint128 creditMicrocents) private {
        address supplier = _registry.supplierOf(owner);
        if (supplier != msg.sender) revert NotTheSupplier(owner, supplier, msg.sender);
        if (creditMicrocents > LARGEST_AMOUNT_MICROCENTS) revert AmountTooLarge(creditMicrocents);
        Account storage account = _accounts[owner];
        uint128 previous = account.creditMicrocents;
        if (int256(account.freeMicrocents) < -int256(uint256(creditMicrocents))) {
            revert CreditInUse(owner, account.freeMicrocents, creditMicrocents);
        }
        // Bounded by LARGEST_AMOUNT above.
        account.creditMicrocents = uint80(creditMicrocents);
        // Solvency: the supplier's own money stands behind every credit, so no withdrawal can ever fail for want of it.
        if (creditMicrocents > previous) _lock(msg.sender, creditMicrocents - previous);
        else _change(msg.sender, int256(uint256(previous - creditMicrocents)));
        emit CreditSet(owner, msg.sender, creditMicrocents);
    }

    function _requireAmount(uint256 amountMicrocents) private pure {
        if (amountMicrocents == 0) revert AmountIsZero();
        if (amountMicrocents > LARGEST_AMOUNT_MICROCENTS) revert AmountTooLarge(amountMicrocents);
    }
}
