// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {ICarbonLedger} from "./interfaces/ICarbonLedger.sol";
import {IEnergyDispatching} from "./interfaces/IEnergyDispatching.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IMeterLedger} from "./interfaces/IMeterLedger.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {CurtailmentOrder} from "./libraries/CurtailmentOrder.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title EnergyDispatching
/// @dev Anybody may relay an answer: the signature says whose it is. The node can neither answer nor alter an answer,
/// and the grid operator cannot pick whom it curtails but in an emergency, where a deviation shows in the event.
contract EnergyDispatching is IEnergyDispatching, AccessManaged, EIP712 {
    bytes32 private constant ANSWER_TYPEHASH = keccak256(
        "DispatchAnswer(uint32 zone,uint64 mtuStart,bytes32 scheduleHash,uint8 answer,uint16 reason)"
    );
    bytes32 private constant CAP_TYPEHASH = keccak256("Cap(uint32 meter,uint64 capWh)");
    bytes32 private constant CURTAILMENT_TYPEHASH = keccak256(
        "Curtailment(uint32 zone,uint64 mtuStart,bytes32 scheduleHash,uint8 direction,uint16 reason,bool emergency,"
        "uint32 sequence,Cap[] caps)Cap(uint32 meter,uint64 capWh)"
    );
    bytes32 private constant STOP_TYPEHASH =
        keccak256("EmergencyStop(uint32 zone,uint64 firstMtuStart,uint32 mtuCount,uint16 reason)");
    uint16 private constant LAST_REASON = 15;
    uint32 private constant MOST_STOPPED_MTUS = 96;

    /// @dev Third slot: 64 + 8 + 8 + 8 + 16 + 32 bits.
    struct Schedule {
        bytes32 scheduleHash;
        bytes32 capsHash;
        uint64 answerDeadline;
        bool proceedWithoutAnswer;
        Answer answer;
        Direction direction;
        uint16 reason;
        uint32 curtailments;
    }

    IGridPolicy private immutable _policy;
    IParticipantRegistry private immutable _registry;
    ICarbonLedger private immutable _carbonLedger;
    uint32 private immutable _mtuLengthS;
    mapping(uint256 slotKey => Schedule) private _schedules;

    constructor(
        address accessManager,
        IGridPolicy policy,
        IParticipantRegistry registry,
        ICarbonLedger carbonLedger
    ) AccessManaged(accessManager) EIP712("gridledger-dispatch", "1") {
        _policy = policy;
        _registry = registry;
        _carbonLedger = carbonLedger;
        _mtuLengthS = policy.mtuLengthS();
    }

    /// @inheritdoc IEnergyDispatching
    function schedule(uint32 zone, uint64 mtuStart, bytes32 resultHash, bytes32 setpointsRoot, uint64 tradedWh)
        external
        restricted
    {
        Schedule storage entry = _schedules[SlotKey.pack(zone, mtuStart)];
        if (entry.scheduleHash != 0) revert AlreadyScheduled(zone, mtuStart);
        (IGridPolicy.Policy memory policy,) = _policy.policyAt(mtuStart);
        uint64 deadline = mtuStart - policy.answerLeadS;
        bytes32 scheduleHash = _scheduleHash(resultHash, setpointsRoot);
        entry.scheduleHash = scheduleHash;
        (entry.answerDeadline, entry.proceedWithoutAnswer) = (deadline, policy.proceedWithoutAnswer);
        emit DispatchScheduled(zone, mtuStart, scheduleHash, resultHash, setpointsRoot, tradedWh, deadline);
    }

    /// @inheritdoc IEnergyDispatching
    function answer(uint32 zone, uint64 mtuStart, Answer given, uint16 reason, bytes32 r, bytes32 vs) external {
        Schedule storage entry = _requireScheduled(zone, mtuStart);
        if (given != Answer.Acknowledged) revert AnswerRefused(zone, mtuStart, given);
        _requireOpen(entry, zone, mtuStart);
        bytes32 digest = answerDigest(zone, mtuStart, entry.scheduleHash, given, reason);
        address gridOperator = _requireOperator(zone, digest, r, vs);
        entry.answer = given;
        emit DispatchAnswered(zone, mtuStart, given, reason, gridOperator);
    }

    /// @inheritdoc IEnergyDispatching
    function curtail(
        Curtailment calldata curtailment,
        bytes32 resultHash,
        bytes32 setpointsRoot,
        Setpoint[] calldata setpoints,
        bytes32 r,
        bytes32 vs
    ) external {
        (uint32 zone, uint64 mtuStart) = (curtailment.zone, curtailment.mtuStart);
        Schedule storage entry = _requireScheduled(zone, mtuStart);
        _requireForm(curtailment, entry);
        if (!curtailment.emergency) {
            _requireOpen(entry, zone, mtuStart);
        } else {
            _requireNotVoid(entry, zone, mtuStart);
            _requireBefore(zone, mtuStart, mtuStart + _mtuLengthS);
        }
        address gridOperator = _requireOperator(zone, curtailmentDigest(curtailment), r, vs);
        OrderCheck orderCheck = OrderCheck.Unchecked;
        if (!curtailment.emergency || setpoints.length > 0) {
            bytes32 presented = _scheduleHash(resultHash, setpointsRoot);
            if (presented != entry.scheduleHash) revert ScheduleDiffers(entry.scheduleHash, presented);
            orderCheck = _checkOrder(curtailment, setpointsRoot, setpoints);
        }
        entry.answer = Answer.Curtailed;
        entry.capsHash = _hashCaps(curtailment.caps);
        (entry.direction, entry.reason) = (curtailment.direction, curtailment.reason);
        ++entry.curtailments;
        _tellCurtailed(curtailment, orderCheck, gridOperator);
    }

    /// @inheritdoc IEnergyDispatching
    function stop(uint32 zone, uint64 firstMtuStart, uint32 mtuCount, uint16 reason, bytes32 r, bytes32 vs) external {
        if (reason > LAST_REASON) revert ReasonUnknown(reason);
        if (mtuCount == 0 || mtuCount > MOST_STOPPED_MTUS || firstMtuStart % _mtuLengthS != 0) {
            revert StopRefused(firstMtuStart, mtuCount);
        }
        _requireBefore(zone, firstMtuStart, firstMtuStart + _mtuLengthS);
        address gridOperator = _requireOperator(zone, stopDigest(zone, firstMtuStart, mtuCount, reason), r, vs);
        bool stopped = false;
        uint64 mtuStart = firstMtuStart;
        for (uint256 i = 0; i < mtuCount; ++i) {
            Schedule storage entry = _schedules[SlotKey.pack(zone, mtuStart)];
            if (entry.answer != Answer.Stopped) (entry.answer, entry.reason, stopped) = (Answer.Stopped, reason, true);
            mtuStart += _mtuLengthS;
        }
        if (!stopped) revert AlreadyAnswered(zone, firstMtuStart, Answer.Stopped);
        emit ZoneStopped(zone, firstMtuStart, mtuStart - _mtuLengthS, reason, gridOperator);
    }

    /// @inheritdoc IEnergyDispatching
    function outcomeOf(uint32 zone, uint64 mtuStart) external view returns (Outcome) {
        Schedule storage entry = _schedules[SlotKey.pack(zone, mtuStart)];
        if (entry.scheduleHash == 0) return Outcome.NotScheduled;
        if (entry.answer == Answer.Acknowledged) return Outcome.Proceeds;
        if (entry.answer == Answer.Curtailed) return Outcome.Curtailed;
        if (entry.answer == Answer.Stopped) return Outcome.Void;
        if (block.timestamp <= entry.answerDeadline) return Outcome.Pending;
        return entry.proceedWithoutAnswer ? Outcome.Proceeds : Outcome.Void;
    }

    /// @inheritdoc IEnergyDispatching
    function scheduleHashOf(uint32 zone, uint64 mtuStart) external view returns (bytes32) {
        return _schedules[SlotKey.pack(zone, mtuStart)].scheduleHash;
    }

    /// @inheritdoc IEnergyDispatching
    function capsOf(uint32 zone, uint64 mtuStart) external view returns (CapsView memory) {
        Schedule storage entry = _schedules[SlotKey.pack(zone, mtuStart)];
        return CapsView(entry.capsHash, entry.direction, entry.reason);
    }

    /// @inheritdoc IEnergyDispatching
    function hashCaps(Cap[] calldata caps) external pure returns (bytes32) {
        return _hashCaps(caps);
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

    /// @inheritdoc IEnergyDispatching
    function curtailmentDigest(Curtailment calldata curtailment) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    CURTAILMENT_TYPEHASH,
                    curtailment.zone,
                    curtailment.mtuStart,
                    curtailment.scheduleHash,
                    curtailment.direction,
                    curtailment.reason,
                    curtailment.emergency,
                    curtailment.sequence,
                    _hashCaps(curtailment.caps)
                )
            )
        );
    }

    /// @inheritdoc IEnergyDispatching
    function stopDigest(uint32 zone, uint64 firstMtuStart, uint32 mtuCount, uint16 reason)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(STOP_TYPEHASH, zone, firstMtuStart, mtuCount, reason)));
    }

    function _requireScheduled(uint32 zone, uint64 mtuStart) private view returns (Schedule storage entry) {
        entry = _schedules[SlotKey.pack(zone, mtuStart)];
        if (entry.scheduleHash == 0) revert NotScheduledYet(zone, mtuStart);
    }

    /// @dev Open for an ordinary answer: none was given, and the deadline has not passed.
    function _requireOpen(Schedule storage entry, uint32 zone, uint64 mtuStart) private view {
        if (entry.answer != Answer.None) revert AlreadyAnswered(zone, mtuStart, entry.answer);
        uint64 deadline = entry.answerDeadline;
        if (block.timestamp > deadline) revert AnswerTooLate(zone, mtuStart, deadline, uint64(block.timestamp));
    }

    /// @dev What is void stays void, for its locks may have been given back.
    function _requireNotVoid(Schedule storage entry, uint32 zone, uint64 mtuStart) private view {
        if (entry.answer == Answer.Stopped) revert AlreadyAnswered(zone, mtuStart, entry.answer);
        if (entry.answer == Answer.None && !entry.proceedWithoutAnswer) _requireOpen(entry, zone, mtuStart);
    }

    /// @dev What has been delivered cannot be stopped or capped any more.
    function _requireBefore(uint32 zone, uint64 mtuStart, uint64 mtuEnd) private view {
        if (block.timestamp >= mtuEnd) revert AnswerTooLate(zone, mtuStart, mtuEnd - 1, uint64(block.timestamp));
    }

    function _requireForm(Curtailment calldata curtailment, Schedule storage entry) private view {
        if (curtailment.scheduleHash != entry.scheduleHash) {
            revert ScheduleDiffers(entry.scheduleHash, curtailment.scheduleHash);
        }
        if (curtailment.sequence != entry.curtailments) {
            revert SequenceDiffers(entry.curtailments, curtailment.sequence);
        }
        if (curtailment.reason > LAST_REASON) revert ReasonUnknown(curtailment.reason);
        if (curtailment.direction == Direction.None) revert DirectionMissing();
        Cap[] calldata caps = curtailment.caps;
        if (caps.length == 0) revert CapsMissing();
        for (uint256 i = 0; i < caps.length; ++i) {
            if (i > 0 && caps[i].meter <= caps[i - 1].meter) revert CapsNotAscending(i);
            uint32 found = _registry.meterOf(caps[i].meter).zone;
            if (found != curtailment.zone) {
                revert IMeterLedger.MeterOfAnotherZone(caps[i].meter, curtailment.zone, found);
            }
        }
    }

    function _requireOperator(uint32 zone, bytes32 digest, bytes32 r, bytes32 vs)
        private
        view
        returns (address gridOperator)
    {
        gridOperator = _registry.gridOperatorOf(zone);
        address signer = ECDSA.recover(digest, r, vs);
        if (signer != gridOperator) revert NotTheGridOperator(zone, signer, gridOperator);
    }

    /// @dev Holds caps against the setpoints the clearing committed to. An ordinary curtailment must keep the order.
    function _checkOrder(Curtailment calldata curtailment, bytes32 setpointsRoot, Setpoint[] calldata setpoints)
        private
        view
        returns (OrderCheck)
    {
        Cap[] calldata caps = curtailment.caps;
        if (setpoints.length != caps.length) revert SetpointsDiffer(caps.length, setpoints.length);
        CurtailmentOrder.Line[] memory lines = new CurtailmentOrder.Line[](caps.length);
        (uint256 basisWh, uint256 capWh) = (0, 0);
        bool within = true;
        for (uint256 i = 0; i < caps.length; ++i) {
            _requireProven(setpointsRoot, caps[i].meter, setpoints[i]);
            lines[i] = _line(curtailment.direction, caps[i], setpoints[i]);
            if (lines[i].capWh > lines[i].basisWh) {
                if (!curtailment.emergency) revert CapAboveSchedule(caps[i].meter, lines[i].basisWh, caps[i].capWh);
                within = false;
            }
            basisWh += lines[i].basisWh;
            capWh += lines[i].capWh;
        }
        if (capWh == basisWh && !curtailment.emergency) {
            revert NothingCurtailed(curtailment.zone, curtailment.mtuStart);
        }
        uint256 broken = within ? CurtailmentOrder.firstBroken(lines) : 0;
        if (broken == lines.length) return OrderCheck.Kept;
        if (!curtailment.emergency) revert OrderOfCurtailmentBroken(caps[broken].meter, caps[broken].capWh);
        return OrderCheck.Broken;
    }

    /// @dev Taking has no emission factor of its own: all imports stand in one line.
    function _line(Direction direction, Cap calldata cap, Setpoint calldata setpoint)
        private
        view
        returns (CurtailmentOrder.Line memory)
    {
        int256 setpointWh = int256(setpoint.contractedWh) + int256(setpoint.residualWh);
        if (direction == Direction.Import) setpointWh = -setpointWh;
        uint256 factor = 0;
        if (direction == Direction.Export) {
            factor = _carbonLedger.meritFactorOf(_registry.meterOf(cap.meter).source);
        }
        return CurtailmentOrder.Line(setpointWh > 0 ? uint256(setpointWh) : 0, cap.capWh, factor);
    }

    function _tellCurtailed(Curtailment calldata curtailment, OrderCheck orderCheck, address gridOperator) private {
        Cap[] calldata caps = curtailment.caps;
        uint256[] memory words = new uint256[](caps.length);
        for (uint256 i = 0; i < caps.length; ++i) {
            words[i] = caps[i].meter | (uint256(caps[i].capWh) << 32);
        }
        emit DispatchCurtailed(
            curtailment.zone,
            curtailment.mtuStart,
            curtailment.direction,
            curtailment.reason,
            curtailment.emergency,
            curtailment.sequence,
            orderCheck,
            gridOperator,
            words
        );
    }

    /// @dev Leaves are hashed twice so that no inner node can pass for a leaf.
    function _requireProven(bytes32 setpointsRoot, uint32 meter, Setpoint calldata setpoint) private pure {
        bytes32 leaf = keccak256(
            bytes.concat(
                keccak256(abi.encode(meter, setpoint.contractedWh, setpoint.residualWh, setpoint.salt))
            )
        );
        if (!MerkleProof.verifyCalldata(setpoint.proof, setpointsRoot, leaf)) revert SetpointNotScheduled(meter);
    }

    function _scheduleHash(bytes32 resultHash, bytes32 setpointsRoot) private pure returns (bytes32) {
        return keccak256(abi.encode(resultHash, setpointsRoot));
    }

    /// @dev As EIP-712 hashes a list of structs.
    function _hashCaps(Cap[] calldata caps) private pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](caps.length);
        for (uint256 i = 0; i < caps.length; ++i) {
            hashes[i] = keccak256(abi.encode(CAP_TYPEHASH, caps[i].meter, caps[i].capWh));
        }
        return keccak256(abi.encodePacked(hashes));
    }
}
