// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IEnergyAccounts
/// @notice Money of the market's members in settlement tokens, microcents. Deposited tokens are either free, locked in
/// a clearing's escrow, or set aside by a supplier behind the credit it grants; their sum is what the contract holds.
interface IEnergyAccounts {
    event Deposited(address indexed account, uint256 amountMicrocents);
    event Withdrawn(address indexed account, uint256 amountMicrocents);
    event CreditSet(address indexed account, address indexed supplier, uint128 creditMicrocents);
    event ParticipantSuspended(address indexed account, bool suspended);
    event DebtRecorded(address indexed debtor, address indexed creditor, uint256 amountMicrocents);
    event DebtPaid(address indexed debtor, address indexed creditor, uint256 amountMicrocents);

    error AccountSuspended(address account);
    error AmountIsZero();
    error AmountTooLarge(uint256 amountMicrocents);
    error InsufficientFunds(address account, uint256 requiredMicrocents, int256 availableMicrocents);
    error NotTheSupplier(address account, address supplier, address caller);
    error CreditInUse(address account, int256 freeMicrocents, uint128 creditMicrocents);
    error DebtExceeded(address debtor, address creditor, uint256 debtMicrocents, uint256 amountMicrocents);
    error AccountListsDiffer(uint256 accounts, uint256 amounts);

    /// @notice Moves the caller's approved settlement tokens into its free balance.
    function deposit(uint256 amountMicrocents) external;

    /// @notice Deposit with an EIP-2612 permit signed by the caller instead of a prior approval.
    function depositWithPermit(uint256 amountMicrocents, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Pays out free money; locked money and credit cannot leave.
    function withdraw(uint256 amountMicrocents) external;

    /// @notice Sets how far the supplier's own customers may go below zero; the supplier's money is set aside for it.
    function setCredit(address[] calldata accounts, uint128[] calldata creditsMicrocents) external;

    /// @notice Pays a recorded debt of the caller from its free balance.
    function payDebt(address creditor, uint256 amountMicrocents) external;

    /// @notice Suspends or readmits a participant, at once: while suspended its orders are not filled. Its money
    /// stays its own, and open positions settle.
    function setSuspended(address account, bool suspended) external;

    /// @notice Since when the account is suspended, Unix seconds; zero when it is not.
    function suspendedSince(address account) external view returns (uint64);

    /// @notice Free balance (below zero while credit is used) and credit limit, microcents.
    function accountOf(address account) external view returns (int128 freeMicrocents, uint128 creditMicrocents);

    /// @notice What `debtor` owes `creditor` and could not be collected, microcents.
    function debtOf(address debtor, address creditor) external view returns (uint256);

    /// @notice Money locked in the escrow of all clearings, microcents.
    function escrowMicrocents() external view returns (uint256);
}
