// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IMeterLedger
/// @notice Merkle roots over salted commitments of accepted readings, and what devices have provably signed. Nothing
/// of a reading itself is on chain until somebody presents its signed texts.
interface IMeterLedger {
    /// @notice A text as its device has signed it.
    /// @param payload the signed bytes: the payload section of an OCMF text
    /// @param spans where the changing values stand, see SignedRegisters
    /// @param decimals 3 where the registers are in kWh, 0 where they are in Wh
    /// @param r and s of the ECDSA signature (P-256, SHA-256)
    struct SignedText {
        bytes payload;
        uint256 spans;
        uint8 decimals;
        bytes32 r;
        bytes32 s;
    }

    /// @notice What a device has provably measured.
    /// @param provenAt block time of the proof; 0 without one
    /// @param netWh export minus import of the MTU, Wh
    struct Proven {
        uint64 provenAt;
        int64 netWh;
    }

    /// @notice The meter at a zone's transformer, 0 without one, and the loss tolerated in basis points.
    struct Transformer {
        uint32 meter;
        uint16 lossToleranceBp;
    }

    event AnchorerAppointed(address indexed anchorer);
    event ReadingsAnchored(uint64 indexed sequence, bytes32 root, uint32 readingCount);
    event TemplateRegistered(uint32 indexed meter, bytes32 templateHash);
    event TransformerSet(uint32 indexed zone, uint32 indexed meter, uint16 lossToleranceBp);
    event ReadingProven(uint32 indexed meter, uint64 indexed mtuStart, uint32 zone, int64 netWh);

    error NotTheAnchorer(address caller, address anchorer);
    error AnchorOutOfSequence(uint64 sequence, uint64 expected);
    error AnchorEmpty(uint64 sequence);
    error AnchorerIsZero();
    error MeterOfAnotherZone(uint32 meter, uint32 zone, uint32 found);
    error ToleranceRefused(uint16 lossToleranceBp);
    error ListsDiffer(uint256 meters, uint256 templates);
    error TemplateDiffers(uint32 meter, bytes32 expected, bytes32 found);
    error TextNotSigned(uint32 meter);
    error MomentRefused(uint32 meter, uint64 expected, uint64 found);
    error RegisterFallen(uint32 meter, uint64 beforeWh, uint64 afterWh);
    error ReadingAlreadyProven(uint32 meter, uint64 mtuStart, int64 netWh);

    /// @notice Names the one account that may anchor.
    function appointAnchorer(address anchorer) external;

    /// @notice Anchors a batch of readings, of any zones and MTUs. The roots of the last 256 batches can be proven
    /// against; older ones are in the events.
    /// @param sequence number of the batch, from 0 without gaps
    /// @param root OpenZeppelin-compatible Merkle root over the readings' leaves, ascending by meter, then MTU
    function anchor(uint64 sequence, bytes32 root, uint32 readingCount) external;

    /// @notice Registers what all texts of a device have in common, see SignedRegisters.
    function registerTemplates(uint32[] calldata meters, bytes32[] calldata templateHashes) external;

    /// @notice Names the meter at a zone's transformer, import being what comes from upstream, and by how much the
    /// zone's own meters may miss it. An MTU that misses by more is not settled; the audit holds the node to it.
    function setTransformer(uint32 zone, uint32 meter, uint16 lossToleranceBp) external;

    /// @notice Proves what a device has measured in an MTU from the two texts it has signed at its start and end.
    /// Anybody may. From then on the MTU can be settled on nothing else for the meter.
    function dispute(uint32 meter, uint64 mtuStart, SignedText calldata first, SignedText calldata last) external;

    /// @notice The one account that may anchor, how many batches it has anchored, and when the last, Unix seconds.
    function anchors() external view returns (address anchorer, uint64 count, uint64 anchoredAt);

    /// @notice What a settlement needs to know.
    /// @return anchoredAt when the last batch was anchored, Unix seconds
    /// @return provenCount readings of the zone and MTU that were proven
    function settlementState(uint32 zone, uint64 mtuStart)
        external
        view
        returns (uint64 anchoredAt, uint32 provenCount);

    /// @notice What a device has provably measured in an MTU.
    function provenOf(uint32 meter, uint64 mtuStart) external view returns (Proven memory);

    /// @notice The meter at a zone's transformer.
    function transformerOf(uint32 zone) external view returns (Transformer memory);

    /// @notice The template of a device's texts; zero without one.
    function templateOf(uint32 meter) external view returns (bytes32);

    /// @notice The root of a batch; zero when not anchored, or no longer kept.
    function rootOf(uint64 sequence) external view returns (bytes32);

    /// @notice Whether a reading belongs to an anchored batch.
    function verify(
        uint64 sequence,
        uint32 meter,
        uint64 mtuStart,
        uint64 importWh,
        uint64 exportWh,
        bytes32 salt,
        bytes32[] calldata proof
    ) external view returns (bool);
}
