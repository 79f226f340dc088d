// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IParticipantRegistry
/// @notice Who takes part, behind which meter, in which zone, with which supplier. Only the grid operator registers
/// participants, meters and device keys; only the regulator registers suppliers and zones. Nobody can remove history.
interface IParticipantRegistry {
    /// @notice A meter to be registered.
    /// @param owner account that signs orders for the meter
    /// @param zone low-voltage feeder
    /// @param importCapacityW largest power taken from the grid, W, at most 2^24 - 1
    /// @param exportCapacityW largest power fed into the grid, W, at most 2^24 - 1
    /// @param source code of the generation behind the meter; 0 = none
    /// @param deviceKeyX P-256 public key of the device, x
    /// @param deviceKeyY P-256 public key of the device, y
    struct MeterRegistration {
        address owner;
        uint32 zone;
        uint24 importCapacityW;
        uint24 exportCapacityW;
        uint8 source;
        bytes32 deviceKeyX;
        bytes32 deviceKeyY;
    }

    /// @notice What the market needs to know of a meter, in one answer.
    struct MeterView {
        address owner;
        address supplier;
        uint32 zone;
        uint24 importCapacityW;
        uint24 exportCapacityW;
        uint8 source;
    }

    event ZoneRegistered(uint32 indexed zone, address gridOperator);
    event SupplierRegistered(address indexed supplier);
    event ParticipantAdmitted(address indexed account, address indexed supplier);
    event MeterRegistered(
        uint32 indexed meter,
        address indexed owner,
        uint32 indexed zone,
        uint24 importCapacityW,
        uint24 exportCapacityW,
        uint8 source,
        bytes32 deviceKeyX,
        bytes32 deviceKeyY
    );
    event DeviceKeyReplaced(uint32 indexed meter, bytes32 deviceKeyX, bytes32 deviceKeyY);

    error ZoneAlreadyRegistered(uint32 zone);
    error ZoneUnknown(uint32 zone);
    error SupplierAlreadyRegistered(address supplier);
    error SupplierUnknown(address supplier);
    error ParticipantAlreadyAdmitted(address account);
    error ParticipantUnknown(address account);
    error MeterUnknown(uint32 meter);
    error AccountIsZero();
    error DeviceKeyInvalid(bytes32 deviceKeyX, bytes32 deviceKeyY);

    /// @notice Opens a zone whose dispatch is answered, and whose grid fees are received, by `gridOperator`.
    function registerZone(uint32 zone, address gridOperator) external;

    /// @notice Names a supplier of residual energy.
    function registerSupplier(address supplier) external;

    /// @notice Admits accounts to the market, served by `supplier`.
    function admitParticipants(address[] calldata accounts, address supplier) external;

    /// @notice Registers meters; each gets the next number. Numbers start at 1.
    /// @return firstMeter number of the first meter of this call
    function registerMeters(MeterRegistration[] calldata registrations) external returns (uint32 firstMeter);

    /// @notice Replaces a meter's device key after an exchange or a compromise.
    function replaceDeviceKey(uint32 meter, bytes32 deviceKeyX, bytes32 deviceKeyY) external;

    /// @notice Looks up many meters at once, each as a packed word of MeterWord. Reverts with MeterUnknown.
    /// @param meters numbers in the lowest 32 bits; what stands above is ignored, so that orders' terms can be passed
    function meterWords(uint256[] calldata meters) external view returns (uint256[] memory words);

    /// @notice The contract whose code keeps the words of a page of meters, see MeterPages; zero when there is none.
    function meterPage(uint256 number) external view returns (address);

    /// @notice One meter. Reverts with MeterUnknown.
    function meterOf(uint32 meter) external view returns (MeterView memory);

    /// @notice The device key of a meter. Reverts with MeterUnknown.
    function deviceKey(uint32 meter) external view returns (bytes32 x, bytes32 y);

    /// @notice The supplier of an admitted account; zero when not admitted.
    function supplierOf(address account) external view returns (address);

    /// @notice The supplier with this number; zero when there is none.
    function supplierAt(uint16 number) external view returns (address);

    /// @notice Whether the account is a registered supplier.
    function isSupplier(address account) external view returns (bool);

    /// @notice The grid operator of a zone. Reverts with ZoneUnknown.
    function gridOperatorOf(uint32 zone) external view returns (address);

    /// @notice How many meters are registered.
    function meterCount() external view returns (uint32);
}
