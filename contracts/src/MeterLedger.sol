// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IMeterLedger} from "./interfaces/IMeterLedger.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {SignedRegisters} from "./libraries/SignedRegisters.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title MeterLedger
/// @dev The anchorer can anchor late or not at all; it cannot change an anchor. Nobody can prove what a device has not
/// signed. The anchorer is kept beside the count, not asked for at the access manager: this is the one transaction
/// that comes with every batch of readings.
contract MeterLedger is IMeterLedger, AccessManaged {
    /// @dev One slot: 160 + 48 + 48 bits.
    struct Head {
        address anchorer;
        uint48 count;
        uint48 anchoredAt;
    }

    /// @dev What the texts of a device are held against.
    struct Device {
        uint32 meter;
        bytes32 template;
        bytes32 keyX;
        bytes32 keyY;
    }

    uint64 public constant KEPT_ROOTS = 256;
    /// @dev Stands in every place of a root from the start, so that the first anchors cost no more than later ones.
    bytes32 private constant EMPTY = bytes32(uint256(1));
    uint16 private constant BASIS_POINTS = 10_000;

    uint32 private immutable _mtuLengthS;
    IParticipantRegistry private immutable _registry;
    Head private _head;
    bytes32[KEPT_ROOTS] private _roots;
    mapping(uint32 meter => bytes32) private _templates;
    mapping(uint256 meterAndMtuStart => Proven) private _proven;
    mapping(uint256 slotKey => uint32) private _provenCounts;
    mapping(uint32 zone => Transformer) private _transformers;

    constructor(address accessManager, IGridPolicy policy, IParticipantRegistry registry)
        AccessManaged(accessManager)
    {
        _mtuLengthS = policy.mtuLengthS();
        _registry = registry;
        for (uint256 i = 0; i < KEPT_ROOTS; ++i) {
            _roots[i] = EMPTY;
        }
    }

    /// @inheritdoc IMeterLedger
    function appointAnchorer(address anchorer) external restricted {
        if (anchorer == address(0)) revert AnchorerIsZero();
        _head.anchorer = anchorer;
        emit AnchorerAppointed(anchorer);
    }

    /// @inheritdoc IMeterLedger
    function anchor(uint64 sequence, bytes32 root, uint32 readingCount) external {
        Head memory head = _head;
        if (msg.sender != head.anchorer) revert NotTheAnchorer(msg.sender, head.anchorer);
        if (sequence != head.count) revert AnchorOutOfSequence(sequence, head.count);
        if (readingCount == 0 || root == 0) revert AnchorEmpty(sequence);
        _roots[sequence % KEPT_ROOTS] = root;
        unchecked {
            (_head.count, _head.anchoredAt) = (head.count + 1, uint48(block.timestamp));
        }
        emit ReadingsAnchored(sequence, root, readingCount);
    }

    /// @inheritdoc IMeterLedger
    function registerTemplates(uint32[] calldata meters, bytes32[] calldata templateHashes) external restricted {
        if (meters.length != templateHashes.length) revert ListsDiffer(meters.length, templateHashes.length);
        for (uint256 i = 0; i < meters.length; ++i) {
            _templates[meters[i]] = templateHashes[i];
            emit TemplateRegistered(meters[i], templateHashes[i]);
        }
    }

    /// @inheritdoc IMeterLedger
    function setTransformer(uint32 zone, uint32 meter, uint16 lossToleranceBp) external restricted {
        uint32 found = _registry.meterOf(meter).zone;
        if (found != zone) revert MeterOfAnotherZone(meter, zone, found);
        if (lossToleranceBp > BASIS_POINTS) revert ToleranceRefused(lossToleranceBp);
        _transformers[zone] = Transformer(meter, lossToleranceBp);
        emit TransformerSet(zone, meter, lossToleranceBp);
    }

    /// @inheritdoc IMeterLedger
    function dispute(uint32 meter, uint64 mtuStart, SignedText calldata first, SignedText calldata last) external {
        if (mtuStart % _mtuLengthS != 0) revert IGridPolicy.MtuUnaligned(mtuStart, _mtuLengthS);
        Proven storage proven = _proven[_key(meter, mtuStart)];
        if (proven.provenAt != 0) revert ReadingAlreadyProven(meter, mtuStart, proven.netWh);
        Device memory device = Device(meter, _templates[meter], 0, 0);
        (device.keyX, device.keyY) = _registry.deviceKey(meter);
        SignedRegisters.Registers memory from = _registersOf(device, mtuStart, first);
        SignedRegisters.Registers memory to = _registersOf(device, mtuStart + _mtuLengthS, last);
        if (to.importWh < from.importWh) revert RegisterFallen(meter, from.importWh, to.importWh);
        if (to.exportWh < from.exportWh) revert RegisterFallen(meter, from.exportWh, to.exportWh);
        // Registers have 18 digits at most.
        int64 netWh = int64(to.exportWh - from.exportWh) - int64(to.importWh - from.importWh);
        (proven.provenAt, proven.netWh) = (uint64(block.timestamp), netWh);
        uint32 zone = _registry.meterOf(meter).zone;
        ++_provenCounts[SlotKey.pack(zone, mtuStart)];
        emit ReadingProven(meter, mtuStart, zone, netWh);
    }

    /// @inheritdoc IMeterLedger
    function anchors() external view returns (address anchorer, uint64 count, uint64 anchoredAt) {
        return (_head.anchorer, _head.count, _head.anchoredAt);
    }

    /// @inheritdoc IMeterLedger
    function settlementState(uint32 zone, uint64 mtuStart)
        external
        view
        returns (uint64 anchoredAt, uint32 provenCount)
    {
        return (_head.anchoredAt, _provenCounts[SlotKey.pack(zone, mtuStart)]);
    }

    /// @inheritdoc IMeterLedger
    function provenOf(uint32 meter, uint64 mtuStart) external view returns (Proven memory) {
        return _proven[_key(meter, mtuStart)];
    }

    /// @inheritdoc IMeterLedger
    function transformerOf(uint32 zone) external view returns (Transformer memory) {
        return _transformers[zone];
    }

    /// @inheritdoc IMeterLedger
    function templateOf(uint32 meter) external view returns (bytes32) {
        return _templates[meter];
    }

    /// @inheritdoc IMeterLedger
    function rootOf(uint64 sequence) public view returns (bytes32) {
        uint64 count = _head.count;
        return sequence < count && sequence + KEPT_ROOTS >= count ? _roots[sequence % KEPT_ROOTS] : bytes32(0);
    }

    /// @inheritdoc IMeterLedger
    function verify(
        uint64 sequence,
        uint32 meter,
        uint64 mtuStart,
        uint64 importWh,
        uint64 exportWh,
        bytes32 salt,
        bytes32[] calldata proof
    ) external view returns (bool) {
        bytes32 root = rootOf(sequence);
        // Leaves are hashed twice so that no inner node can pass for a leaf.
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(meter, mtuStart, importWh, exportWh, salt))));
        return root != 0 && MerkleProof.verifyCalldata(proof, root, leaf);
    }

    /// @dev The registers in a text, if it has the device's form and signature and says this moment.
    function _registersOf(Device memory device, uint64 takenAt, SignedText calldata text)
        private
        view
        returns (SignedRegisters.Registers memory registers)
    {
        bytes32 template = SignedRegisters.templateHash(text.payload, text.spans, text.decimals);
        if (template != device.template) revert TemplateDiffers(device.meter, device.template, template);
        registers = SignedRegisters.read(text.payload, text.spans, text.decimals);
        if (registers.takenAt != takenAt) revert MomentRefused(device.meter, takenAt, registers.takenAt);
        // Of the two signatures that say the same, only the one with the low s passes.
        uint256 s = uint256(text.s);
        if (s > P256.N / 2 && s < P256.N) s = P256.N - s;
        if (!P256.verify(sha256(text.payload), text.r, bytes32(s), device.keyX, device.keyY)) {
            revert TextNotSigned(device.meter);
        }
    }

    function _key(uint32 meter, uint64 mtuStart) private pure returns (uint256) {
        return (uint256(meter) << 64) | mtuStart;
    }
}
