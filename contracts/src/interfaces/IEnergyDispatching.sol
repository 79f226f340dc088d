// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IEnergyDispatching
/// @notice Hands each cleared schedule to the zone's grid operator and records the answers the operator itself signed.
interface IEnergyDispatching {
    /// @notice Life of a schedule. Unanswered schedules follow the regulator's default once the deadline has passed.
    enum Outcome {
        NotScheduled,
        Pending,
        Proceeds,
        Curtailed,
        Void
    }

    /// @notice What a grid operator can answer. Stopped voids everything the zone has traded for the MTU.
    enum Answer {
        None,
        Acknowledged,
        Curtailed,
        Stopped
    }

    /// @notice Which way of net power is capped.
    enum Direction {
        None,
        Export,
        Import
    }

    /// @notice How caps stand to the order of curtailment; Unchecked where nobody presented the setpoints.
    enum OrderCheck {
        Unchecked,
        Kept,
        Broken
    }

    /// @notice Highest net energy of a meter in the MTU, Wh, in the direction of the curtailment.
    struct Cap {
        uint32 meter;
        uint64 capWh;
    }

    /// @notice What the operator signs to curtail.
    /// @param scheduleHash the schedule it is about
    /// @param reason code, 0 to 15; the policy says for each who bears the buyers' replacement cost
    /// @param emergency recorded whatever the order and the deadline say, unless the schedule is void
    /// @param sequence how many curtailments of the schedule were recorded before
    /// @param caps ascending by meter
    struct Curtailment {
        uint32 zone;
        uint64 mtuStart;
        bytes32 scheduleHash;
        Direction direction;
        uint16 reason;
        bool emergency;
        uint32 sequence;
        Cap[] caps;
    }

    /// @notice A capped meter's part of the schedule, export positive, Wh, with its proof against the setpoints' root.
    /// @param contractedWh net energy of its trades
    /// @param residualWh forecast of what it delivers beyond them
    struct Setpoint {
        int64 contractedWh;
        int64 residualWh;
        bytes32 salt;
        bytes32[] proof;
    }

    /// @notice The caps that hold for a schedule; `capsHash` is zero where there are none.
    struct CapsView {
        bytes32 capsHash;
        Direction direction;
        uint16 reason;
    }

    event DispatchScheduled(
        uint32 indexed zone,
        uint64 indexed mtuStart,
        bytes32 scheduleHash,
        bytes32 resultHash,
        bytes32 setpointsRoot,
        uint64 tradedWh,
        uint64 answerDeadline
    );
    event DispatchAnswered(
        uint32 indexed zone, uint64 indexed mtuStart, Answer answer, uint16 reason, address gridOperator
    );
    /// @param caps as signed, one word each: meter in the low 32 bits, Wh above
    event DispatchCurtailed(
        uint32 indexed zone,
        uint64 indexed mtuStart,
        Direction direction,
        uint16 reason,
        bool emergency,
        uint32 sequence,
        OrderCheck orderCheck,
        address gridOperator,
        uint256[] caps
    );
    event ZoneStopped(
        uint32 indexed zone, uint64 indexed firstMtuStart, uint64 lastMtuStart, uint16 reason, address gridOperator
    );

    error AlreadyScheduled(uint32 zone, uint64 mtuStart);
    error NotScheduledYet(uint32 zone, uint64 mtuStart);
    error AlreadyAnswered(uint32 zone, uint64 mtuStart, Answer answer);
    error AnswerTooLate(uint32 zone, uint64 mtuStart, uint64 answerDeadline, uint64 blockTime);
    error AnswerRefused(uint32 zone, uint64 mtuStart, Answer answer);
    error NotTheGridOperator(uint32 zone, address signer, address gridOperator);
    error ScheduleDiffers(bytes32 scheduleHash, bytes32 presented);
    error SequenceDiffers(uint32 expected, uint32 presented);
    error ReasonUnknown(uint16 reason);
    error DirectionMissing();
    error CapsMissing();
    error CapsNotAscending(uint256 index);
    error CapAboveSchedule(uint32 meter, uint256 scheduledWh, uint64 capWh);
    error NothingCurtailed(uint32 zone, uint64 mtuStart);
    error OrderOfCurtailmentBroken(uint32 meter, uint64 capWh);
    error SetpointsDiffer(uint256 caps, uint256 setpoints);
    error SetpointNotScheduled(uint32 meter);
    error StopRefused(uint64 firstMtuStart, uint32 mtuCount);

    /// @notice Records the schedule of a clearing; only the trading contract may.
    /// @param resultHash hash of the positions and trades
    /// @param setpointsRoot root of the setpoints of the zone's meters; the schedule's hash covers both
    /// @param tradedWh total traded energy, Wh
    function schedule(uint32 zone, uint64 mtuStart, bytes32 resultHash, bytes32 setpointsRoot, uint64 tradedWh)
        external;

    /// @notice Relays an acknowledgement signed by the zone's grid operator (EIP-712, EIP-2098 compact signature).
    /// @param reason the operator's reason code; 0 for an acknowledgement
    function answer(uint32 zone, uint64 mtuStart, Answer given, uint16 reason, bytes32 r, bytes32 vs) external;

    /// @notice Relays a curtailment signed by the zone's grid operator.
    /// @param resultHash and `setpointsRoot` what the schedule's hash covers
    /// @param setpoints one for each cap; an emergency may come without
    function curtail(
        Curtailment calldata curtailment,
        bytes32 resultHash,
        bytes32 setpointsRoot,
        Setpoint[] calldata setpoints,
        bytes32 r,
        bytes32 vs
    ) external;

    /// @notice Relays an emergency stop of a zone signed by its grid operator: for these MTUs nothing flows between
    /// members, whether it is scheduled yet or not.
    function stop(uint32 zone, uint64 firstMtuStart, uint32 mtuCount, uint16 reason, bytes32 r, bytes32 vs) external;

    /// @notice Where the schedule stands at this block.
    function outcomeOf(uint32 zone, uint64 mtuStart) external view returns (Outcome);

    /// @notice The schedule's hash; zero when not scheduled.
    function scheduleHashOf(uint32 zone, uint64 mtuStart) external view returns (bytes32);

    /// @notice The caps of a curtailed schedule.
    function capsOf(uint32 zone, uint64 mtuStart) external view returns (CapsView memory);

    /// @notice Commitment to a list of caps, as `capsOf` has it.
    function hashCaps(Cap[] calldata caps) external pure returns (bytes32);

    /// @notice The EIP-712 digest of an acknowledgement.
    function answerDigest(uint32 zone, uint64 mtuStart, bytes32 scheduleHash, Answer given, uint16 reason)
        external
        view
        returns (bytes32);

    /// @notice The EIP-712 digest of a curtailment.
    function curtailmentDigest(Curtailment calldata curtailment) external view returns (bytes32);

    /// @notice The EIP-712 digest of an emergency stop.
    function stopDigest(uint32 zone, uint64 firstMtuStart, uint32 mtuCount, uint16 reason)
        external
        view
        returns (bytes32);
}
