// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IEnergyDispatching} from "./interfaces/IEnergyDispatching.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title EnergyDispatching
/// @dev Anybody may relay an answer: the signature says whose it is. The node can neither answer nor alter an answer.
contract EnergyDispatching is IEnergyDispatching, AccessManaged, EIP712 {
    bytes32 private constant ANSWER_TYPEHASH = keccak256(
        "DispatchAnswer(uint32 zone,uint64 mtuStart,bytes32 scheduleHash,uint8 answer,uint16 reason)"
    );

    /// @dev Second slot: 64 + 8 + 8 bits.
    struct Schedule {
        bytes32 scheduleHash;
        uint64 answerDeadline;
        bool proceedWithoutAnswer;
        Answer answer;
    }

    IGridPolicy private immutable _policy;
    IParticipantRegistry private immutable _registry;
    mapping(uint256 slotKey => Schedule) private _schedules;

    constructor(address accessManager, IGridPolicy policy, IParticipantRegistry registry)
        AccessManaged(accessManager)
        EIP712("gridledger-dispatch", "1")
    {
        _policy = policy;
        _registry = registry;
    }

    /// @inheritdoc IEnergyDispatching
    function schedule(uint32 zone, uint64 mtuStart, bytes32 scheduleHash, uint64 tradedWh) external restricted {
        Schedule storage entry = _schedules[SlotKey.pack(zone, mtuStart)];
        if (entry.scheduleHash != 0) revert AlreadyScheduled(zone, mtuStart);
        (IGridPolicy.Policy memory policy,) = _policy.policyAt(mtuStart);
        uint64 deadline = mtuStart - policy.answerLeadS;
        entry.scheduleHash = scheduleHash;
        (entry.answerDeadline, entry.proceedWithoutAnswer) = (deadline, policy.proceedWithoutAnswer);
        emit DispatchScheduled(zone, mtuStart, scheduleHash, tradedWh, deadline);
    }

    /// @inheritdoc IEnergyDispatching
    function answer(uint32 zone, uint64 mtuStart, Answer given, uint16 reason, bytes32 r, bytes32 vs) external {
        Schedule storage entry = _schedules[SlotKey.pack(zone, mtuStart)];
        if (entry.scheduleHash == 0) revert NotScheduledYet(zone, mtuStart);
        if (given == Answer.None) revert AnswerMissing(zone, mtuStart);
        if (entry.answer != Answer.None) revert AlreadyAnswered(zone, mtuStart, entry.answer);
        uint64 deadline = entry.answerDeadline;
        if (block.timestamp > deadline) revert AnswerTooLate(zone, mtuStart, deadline, uint64(block.timestamp));
        address gridOperator = _registry.gridOperatorOf(zone);
        address signer = ECDSA.recover(answerDigest(zone, mtuStart, entry.scheduleHash, given, reason), r, vs);
        if (signer != gridOperator) revert NotTheGridOperator(zone, signer, gridOperator);
        entry.answer = given;
        emit DispatchAnswered(zone, mtuStart, given, reason, gridOperator);
    }

    /// @inheritdoc IEnergyDispatching
    function outcomeOf(uint32 zone, uint64 mtuStart) external view returns (Outcome) {
        Schedule memory entry = _schedules[SlotKey.pack(zone, mtuStart)];
        if (entry.scheduleHash == 0) return Outcome.NotScheduled;
        if (entry.answer == Answer.Acknowledged) return Outcome.Proceeds;
        if (entry.answer == Answer.Curtailed) return Outcome.Void;
        if (block.timestamp <= entry.answerDeadline) return Outcome.Pending;
        return entry.proceedWithoutAnswer ? Outcome.Proceeds : Outcome.Void;
    }

    /// @inheritdoc IEnergyDispatching
    function scheduleHashOf(uint32 zone, uint64 mtuStart) external view returns (bytes32) {
        return _schedules[SlotKey.pack(zone, mtuStart)].scheduleHash;
    }

    /// @inheritdoc IEnergyDispatching
    function answerDigest(uint32 zone, uint64 mtuStart, bytes32 scheduleHash, Answer given, uint16 reason)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(ANSWER_TYPEHASH, zone, mtuStart, scheduleHash, given, reason))
        );
    }
}
