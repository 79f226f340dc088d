// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IEnergyAccounts
/// @notice Money of the market's members in settlement tokens, microcents. Deposited tokens are either free, locked in
/// a clearing's escrow, or set aside by a supplier behind the credit it grants; their sum is what the contract holds.
interface IEnergyAccounts {
    /// @notice What has been requested for an account and not been carried out; Unix seconds, zero where there is
    /// nothing of the kind.
    /// @param withdrawalMicrocents free money its owner wants to have paid out
    /// @param withdrawalAt when it asked for that
    /// @param cutMicrocents lower credit limit its supplier wants
    /// @param cutAt when it asked for that
    struct Requested {
        uint80 withdrawalMicrocents;
        uint40 withdrawalAt;
        uint80 cutMicrocents;
        uint40 cutAt;
    }

    event Deposited(address indexed account, uint256 amountMicrocents);
    /// @notice Replaces an earlier request; with an amount of zero nothing is requested any longer.
    event WithdrawalRequested(address indexed account, uint256 amountMicrocents, uint64 availableAt);
    event Withdrawn(address indexed account, uint256 amountMicrocents);
    event CreditCutRequested(
        address indexed account, address indexed supplier, uint128 creditMicrocents, uint64 availableAt
    );
    /// @notice The credit limit from now on; no cut is requested any longer.
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
    error NothingRequested(address account);
    error RequestNotDue(address account, uint64 dueAt, uint64 blockTime);

    /// @notice Moves the caller's approved settlement tokens into its free balance.
    function deposit(uint256 amountMicrocents) external;

    /// @notice Deposit with an EIP-2612 permit signed by the caller instead of a prior approval.
    function depositWithPermit(uint256 amountMicrocents, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Asks for free money of the caller; locked money and credit cannot leave. A new request replaces the
    /// former and starts its time again; zero takes it back. It counts against gates that close after it.
    function requestWithdrawal(uint256 amountMicrocents) external;

    /// @notice Pays the caller the requested amount, or what free money is left of it, once the delay has passed.
    function withdraw() external;

    /// @notice Sets how far the supplier's own customers may go below zero; the supplier's money is set aside for it.
    /// A higher limit holds at once. A lower one is only noted: it counts against gates that close after it, and
    /// replaces an earlier one. A limit that is not lower takes a noted one back.
    function setCredit(address[] calldata accounts, uint128[] calldata creditsMicrocents) external;

    /// @notice Carries out a noted lower limit once the delay has passed, as a whole: while more credit is in use it
    /// is refused and stays noted, and nothing beyond it can be locked for later gates. Anybody may. The supplier gets
    /// back what it had set aside.
    function applyCreditCut(address account) external;

    /// @notice Pays a recorded debt of the caller with approved settlement tokens from its wallet: what is deposited
    /// may be promised to orders.
    function payDebt(address creditor, uint256 amountMicrocents) external;

    /// @notice Suspends or readmits a participant, at once: while suspended its orders are not filled. Its money
    /// stays its own, and open positions settle.
    function setSuspended(address account, bool suspended) external;

    /// @notice Since when the account is suspended, Unix seconds; zero when it is not.
    function suspendedSince(address account) external view returns (uint64);

    /// @notice Free balance (below zero while credit is used) and credit limit, microcents.
    function accountOf(address account) external view returns (int128 freeMicrocents, uint128 creditMicrocents);

    /// @notice What the account can lock in the clearing of an MTU, microcents: free balance and credit, less what was
    /// requested before the gate closed. Below zero if more was requested than is left.
    /// @param gateClosure of the MTU, Unix seconds
    function availableFor(address account, uint64 gateClosure) external view returns (int256);

    /// @notice What is requested and not yet carried out.
    function requestedBy(address account) external view returns (Requested memory);

    /// @notice Least time between a request and its being carried out, seconds: longer than any clearing can take.
    function withdrawalDelayS() external view returns (uint64);

    /// @notice What `debtor` owes `creditor` and could not be collected, microcents.
    function debtOf(address debtor, address creditor) external view returns (uint256);

    /// @notice Money locked in the escrow of all clearings, microcents.
    function escrowMicrocents() external view returns (uint256);
}
