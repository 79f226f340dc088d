// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IEnergyAccounts} from "./interfaces/IEnergyAccounts.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {IntegerMath} from "./libraries/IntegerMath.sol";
import {Payments} from "./libraries/Payments.sol";

/// @title EnergyAccounts
/// @dev No role can move a member's money: free balances change by their owner's call, or by a clearing or settlement
/// of an order the owner signed. Nothing here depends on halts, so deposits can always be withdrawn. What could take
/// the money of a receipted order away - withdrawals and lower credit - is requested first and carried out when every
/// gate that had closed by then is past its clearing; gates that close after the request know of it.
abstract contract EnergyAccounts is IEnergyAccounts, AccessManaged {
    using SafeCast for int256;
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev One slot, as a clearing reads and writes it once per member: 96 + 80 + 40 + 8 + 8 = 232 bits. free is below
    /// zero while credit is used, never below -credit. The time is zero while the account is not suspended.
    struct Account {
        int96 freeMicrocents;
        uint80 creditMicrocents;
        uint40 suspendedSince;
        bool hasCancelled;
        bool hasRequest;
    }

    /// @dev One supplier's account in memory, written back when another is needed: payments in a row mostly concern the
    /// same supplier. `moved` is the sum of all changes of accounts, those of the owners included.
    struct Purse {
        address holder;
        int256 freeMicrocents;
        int256 storedMicrocents;
        int256 creditMicrocents;
        int256 movedMicrocents;
    }

    /// @dev Largest single movement (some 3e13 EUR); sums of 2^20 of them stay inside int96, one stays inside uint80.
    uint256 private constant LARGEST_AMOUNT_MICROCENTS = 2 ** 72;

    IERC20 private immutable _settlementToken;
    IParticipantRegistry internal immutable _registry;
    uint64 private immutable _withdrawalDelayS;

    uint256 private _escrowMicrocents;
    /// @dev Sum of all movements of this transaction; a clearing or settlement must leave it as it found it.
    int256 internal transient _movedMicrocents;
    mapping(address account => Account) internal _accounts;
    /// @dev Read only where the account says that there is one.
    mapping(address account => Requested) private _requests;
    mapping(address debtor => mapping(address creditor => uint256)) private _debts;

    /// @param longestClearingS longest time from a gate closure to its clearing deadline, seconds
    constructor(IERC20 settlementToken, IParticipantRegistry registry, uint64 longestClearingS) {
        _settlementToken = settlementToken;
        _registry = registry;
        // A request made in the second of a gate closure counts for later gates only, so it waits one second longer.
        _withdrawalDelayS = longestClearingS + 1;
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
    function requestWithdrawal(uint256 amountMicrocents) external {
        if (amountMicrocents > LARGEST_AMOUNT_MICROCENTS) revert AmountTooLarge(amountMicrocents);
        int256 free = _accounts[msg.sender].freeMicrocents;
        if (amountMicrocents > IntegerMath.positivePart(free)) {
            revert InsufficientFunds(msg.sender, amountMicrocents, free);
        }
        _noteWithdrawal(msg.sender, uint80(amountMicrocents));
        emit WithdrawalRequested(msg.sender, amountMicrocents, uint64(block.timestamp) + _withdrawalDelayS);
    }

    /// @inheritdoc IEnergyAccounts
    function withdraw() external {
        Requested storage requested = _requests[msg.sender];
        _requireDue(msg.sender, requested.withdrawalAt);
        int256 free = _accounts[msg.sender].freeMicrocents;
        uint256 amountMicrocents =
            IntegerMath.min(requested.withdrawalMicrocents, IntegerMath.positivePart(free));
        if (amountMicrocents == 0) revert InsufficientFunds(msg.sender, requested.withdrawalMicrocents, free);
        _noteWithdrawal(msg.sender, 0);
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
    function applyCreditCut(address owner) external {
        Requested storage requested = _requests[owner];
        _requireDue(owner, requested.cutAt);
        Account storage account = _accounts[owner];
        (uint80 previous, uint80 lower) = (account.creditMicrocents, requested.cutMicrocents);
        if (account.freeMicrocents < -int256(uint256(lower))) {
            revert CreditInUse(owner, account.freeMicrocents, lower);
        }
        _dropCut(owner);
        account.creditMicrocents = lower;
        address supplier = _registry.supplierOf(owner);
        _change(supplier, int256(uint256(previous - lower)));
        emit CreditSet(owner, supplier, lower);
    }

    /// @inheritdoc IEnergyAccounts
    function payDebt(address creditor, uint256 amountMicrocents) external {
        _requireAmount(amountMicrocents);
        uint256 debt = _debts[msg.sender][creditor];
        if (amountMicrocents > debt) revert DebtExceeded(msg.sender, creditor, debt, amountMicrocents);
        _debts[msg.sender][creditor] = debt - amountMicrocents;
        _change(creditor, int256(amountMicrocents));
        emit DebtPaid(msg.sender, creditor, amountMicrocents);
        _settlementToken.safeTransferFrom(msg.sender, address(this), amountMicrocents);
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
    function availableFor(address account, uint64 gateClosure) external view returns (int256) {
        return _availableFor(account, gateClosure);
    }

    /// @inheritdoc IEnergyAccounts
    function requestedBy(address account) external view returns (Requested memory) {
        return _requests[account];
    }

    /// @inheritdoc IEnergyAccounts
    function withdrawalDelayS() external view returns (uint64) {
        return _withdrawalDelayS;
    }

    /// @inheritdoc IEnergyAccounts
    function debtOf(address debtor, address creditor) external view returns (uint256) {
        return _debts[debtor][creditor];
    }

    /// @inheritdoc IEnergyAccounts
    function escrowMicrocents() public view returns (uint256) {
        return _escrowMicrocents;
    }

    /// @dev Takes money out of an account, down to what it can lock for a gate. Reverts with InsufficientFunds.
    function _lock(address owner, uint256 amountMicrocents, uint64 gateClosure) internal {
        _movedMicrocents -= _take(owner, amountMicrocents, gateClosure);
    }

    /// @dev As `_lock`, but the caller adds up what was taken and notes it once.
    function _take(address owner, uint256 amountMicrocents, uint64 gateClosure)
        internal
        returns (int256 takenMicrocents)
    {
        Account storage account = _accounts[owner];
        (int256 free, uint256 credit) = (account.freeMicrocents, account.creditMicrocents);
        takenMicrocents = amountMicrocents.toInt256();
        // Both are far inside int256, and what is left lies between minus the credit and what was there.
        unchecked {
            int256 available = account.hasRequest ? _availableFor(owner, gateClosure) : free + int256(credit);
            if (available < takenMicrocents) revert InsufficientFunds(owner, amountMicrocents, available);
            account.freeMicrocents = int96(free - takenMicrocents);
        }
    }

    function _requireAvailable(address owner, uint256 amountMicrocents, uint64 gateClosure) internal view {
        int256 available = _availableFor(owner, gateClosure);
        if (available < amountMicrocents.toInt256()) revert InsufficientFunds(owner, amountMicrocents, available);
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

    /// @dev Pays released money to the owners and settles the imbalances with their suppliers. Money moved is conserved
    /// by construction. Returns what was released.
    /// @param payments words of Payments
    function _settleAccounts(uint256[] calldata payments) internal returns (int256 releasedMicrocents) {
        Purse memory purse;
        for (uint256 i = 0; i < payments.length; i += Payments.WORDS) {
            (uint256 owner, uint256 supplier) = (payments[i], payments[i + 1]);
            int256 released = Payments.microcents(owner);
            // 2^96 each.
            unchecked {
                releasedMicrocents += released;
            }
            _settleAccount(
                purse, Payments.account(owner), Payments.account(supplier), released, Payments.microcents(supplier)
            );
        }
        _putBack(purse);
        _movedMicrocents += purse.movedMicrocents;
    }

    /// @dev Whether the account is suspended, and whether it has ever cancelled an order.
    function _flagsOf(address owner) internal view returns (bool suspended, bool hasCancelled) {
        Account storage account = _accounts[owner];
        return (account.suspendedSince != 0, account.hasCancelled);
    }

    /// @dev What was requested before the gate closed counts against it; what was requested since does not touch it.
    function _availableFor(address owner, uint64 gateClosure) internal view returns (int256 available) {
        Account storage account = _accounts[owner];
        uint256 credit = account.creditMicrocents;
        // Sums of three amounts of 96 bits at most.
        unchecked {
            available = int256(account.freeMicrocents) + int256(credit);
            if (!account.hasRequest) return available;
            Requested storage requested = _requests[owner];
            if (requested.withdrawalAt < gateClosure) available -= int256(uint256(requested.withdrawalMicrocents));
            uint256 cutAt = requested.cutAt;
            if (cutAt != 0 && cutAt < gateClosure) available -= int256(credit - requested.cutMicrocents);
        }
    }

    /// @dev The supplier's account stays in the purse; the owner's is read and written once.
    function _settleAccount(Purse memory purse, address owner, address supplier, int256 released, int256 imbalance)
        private
    {
        if (owner == purse.holder) _putBack(purse);
        if (imbalance != 0 && supplier != owner && supplier != purse.holder) _takeOut(purse, supplier);
        Account storage account = _accounts[owner];
        (int256 before, int256 credit) = (account.freeMicrocents, int256(uint256(account.creditMicrocents)));
        int256 free = before;
        // Amounts are int96, and so is what is stored.
        unchecked {
            free += released;
            if (supplier == owner) {
                // What one owes to oneself is paid as far as possible and leaves the account as it is.
                _paid(owner, owner, free + credit, imbalance < 0 ? -imbalance : imbalance);
            } else if (imbalance < 0) {
                int256 paid = _paid(owner, supplier, free + credit, -imbalance);
                (free, purse.freeMicrocents) = (free - paid, purse.freeMicrocents + paid);
            } else if (imbalance > 0) {
                int256 paid = _paid(supplier, owner, purse.freeMicrocents + purse.creditMicrocents, imbalance);
                (free, purse.freeMicrocents) = (free + paid, purse.freeMicrocents - paid);
            }
            if (free == before) return;
            account.freeMicrocents = free.toInt96();
            purse.movedMicrocents += free - before;
        }
    }

    /// @dev What the payer can pay of what it owes; the rest becomes a recorded debt. `available` is never below zero:
    /// free money never falls below minus the credit limit.
    function _paid(address payer, address payee, int256 available, int256 owed) private returns (int256) {
        if (available >= owed) return owed;
        uint256 debt = uint256(owed - available);
        _debts[payer][payee] += debt;
        emit DebtRecorded(payer, payee, debt);
        return available;
    }

    /// @dev Puts another account into the purse.
    function _takeOut(Purse memory purse, address holder) private {
        _putBack(purse);
        Account storage account = _accounts[holder];
        (purse.holder, purse.creditMicrocents) = (holder, int256(uint256(account.creditMicrocents)));
        purse.freeMicrocents = purse.storedMicrocents = account.freeMicrocents;
    }

    function _putBack(Purse memory purse) private {
        if (purse.holder == address(0)) return;
        _accounts[purse.holder].freeMicrocents = purse.freeMicrocents.toInt96();
        purse.movedMicrocents += purse.freeMicrocents - purse.storedMicrocents;
        purse.holder = address(0);
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
        // Bounded by LARGEST_AMOUNT.
        uint80 credit = uint80(creditMicrocents);
        Account storage account = _accounts[owner];
        uint80 previous = account.creditMicrocents;
        if (credit < previous) return _requestCut(owner, credit);
        _dropCut(owner);
        account.creditMicrocents = credit;
        // Solvency: the supplier's own money stands behind every credit, so no withdrawal can ever fail for want of it.
        // Money the supplier has asked for is spoken for.
        _lock(msg.sender, credit - previous, type(uint64).max);
        emit CreditSet(owner, msg.sender, credit);
    }

    function _requestCut(address owner, uint80 creditMicrocents) private {
        Requested storage requested = _requests[owner];
        (requested.cutMicrocents, requested.cutAt) = (creditMicrocents, uint40(block.timestamp));
        _accounts[owner].hasRequest = true;
        emit CreditCutRequested(owner, msg.sender, creditMicrocents, uint64(block.timestamp) + _withdrawalDelayS);
    }

    function _dropCut(address owner) private {
        Account storage account = _accounts[owner];
        if (!account.hasRequest) return;
        Requested storage requested = _requests[owner];
        (requested.cutMicrocents, requested.cutAt) = (0, 0);
        account.hasRequest = requested.withdrawalAt != 0;
    }

    /// @param amountMicrocents zero: nothing is requested any longer
    function _noteWithdrawal(address owner, uint80 amountMicrocents) private {
        Requested storage requested = _requests[owner];
        requested.withdrawalMicrocents = amountMicrocents;
        requested.withdrawalAt = amountMicrocents == 0 ? 0 : uint40(block.timestamp);
        _accounts[owner].hasRequest = amountMicrocents != 0 || requested.cutAt != 0;
    }

    function _requireDue(address owner, uint64 requestedAt) private view {
        if (requestedAt == 0) revert NothingRequested(owner);
        uint64 dueAt = requestedAt + _withdrawalDelayS;
        if (block.timestamp < dueAt) revert RequestNotDue(owner, dueAt, uint64(block.timestamp));
    }

    function _requireAmount(uint256 amountMicrocents) private pure {
        if (amountMicrocents == 0) revert AmountIsZero();
        if (amountMicrocents > LARGEST_AMOUNT_MICROCENTS) revert AmountTooLarge(amountMicrocents);
    }
}
