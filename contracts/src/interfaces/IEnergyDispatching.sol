// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IEnergyDispatching
/// @notice Hands each cleared schedule to the zone's grid operator and records the answer the operator itself signed.
interface IEnergyDispatching {
    /// @notice Life of a schedule. Unanswered schedules follow the regulator's default once the deadline has passed.
    enum Outcome {
        NotScheduled,
        Pending,
        Proceeds,
        Void
    }

    /// @notice What a grid operator can answer.
    enum Answer {
        None,
        Acknowledged,
        Curtailed
    }

    event DispatchScheduled(
        uint32 indexed zone, uint64 indexed mtuStart, bytes32 scheduleHash, uint64 tradedWh, uint64 answerDeadline
    );
    event DispatchAnswered(
        uint32 indexed zone, uint64 indexed mtuStart, Answer answer, uint16 reason, address gridOperator
    );

    error AlreadyScheduled(uint32 zone, uint64 mtuStart);
    error NotScheduledYet(uint32 zone, uint64 mtuStart);
    error AlreadyAnswered(uint32 zone, uint64 mtuStart, Answer answer);
    error AnswerTooLate(uint32 zone, uint64 mtuStart, uint64 answerDeadline, uint64 blockTime);
    error AnswerMissing(uint32 zone, uint64 mtuStart);
    error NotTheGridOperator(uint32 zone, address signer, address gridOperator);

    /// @notice Records the schedule of a clearing; only the trading contract may.
    /// @param scheduleHash hash of the positions and trades
    /// @param tradedWh total traded energy, Wh
    function schedule(uint32 zone, uint64 mtuStart, bytes32 scheduleHash, uint64 tradedWh) external;

    /// @notice Relays an answer signed by the zone's grid operator (EIP-712, EIP-2098 compact signature).
    /// @param reason the operator's reason code; 0 for an acknowledgement
    function answer(uint32 zone, uint64 mtuStart, Answer given, uint16 reason, bytes32 r, bytes32 vs) external;

    /// @notice Where the schedule stands at this block.
    function outcomeOf(uint32 zone, uint64 mtuStart) external view returns (Outcome);

    /// @notice The schedule's hash; zero when not scheduled.
    function scheduleHashOf(uint32 zone, uint64 mtuStart) external view returns (bytes32);

    /// @notice The EIP-712 digest the grid operator signs.
    function answerDigest(uint32 zone, uint64 mtuStart, bytes32 scheduleHash, Answer given, uint16 reason)
        external
        view
        returns (bytes32);
}
