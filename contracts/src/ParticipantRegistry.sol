// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";

/// @title ParticipantRegistry
/// @dev The grid operator can admit accounts and meters that do not exist; it cannot move money or sign orders for
/// anybody. It is shut down by withdrawing the roles in the access manager.
contract ParticipantRegistry is IParticipantRegistry, AccessManaged {
    /// @dev One slot: 160 + 32 + 24 + 24 + 8 = 248 bits.
    struct Meter {
        address owner;
        uint32 zone;
        uint24 importCapacityW;
        uint24 exportCapacityW;
        uint8 source;
    }

    struct DeviceKey {
        bytes32 x;
        bytes32 y;
    }

    uint32 private _meterCount;
    mapping(uint32 meter => Meter) private _meters;
    mapping(uint32 meter => DeviceKey) private _deviceKeys;
    mapping(address account => address supplier) private _supplierOf;
    mapping(address supplier => bool) private _suppliers;
    mapping(uint32 zone => address gridOperator) private _gridOperators;

    constructor(address accessManager) AccessManaged(accessManager) {}

    /// @inheritdoc IParticipantRegistry
    function registerZone(uint32 zone, address gridOperator) external restricted {
        if (gridOperator == address(0)) revert AccountIsZero();
        // Zone 0 stands for the whole market when halting.
        if (zone == 0) revert ZoneUnknown(zone);
        if (_gridOperators[zone] != address(0)) revert ZoneAlreadyRegistered(zone);
        _gridOperators[zone] = gridOperator;
        emit ZoneRegistered(zone, gridOperator);
    }

    /// @inheritdoc IParticipantRegistry
    function registerSupplier(address supplier) external restricted {
        if (supplier == address(0)) revert AccountIsZero();
        if (_suppliers[supplier]) revert SupplierAlreadyRegistered(supplier);
        _suppliers[supplier] = true;
        emit SupplierRegistered(supplier);
    }

    /// @inheritdoc IParticipantRegistry
    function admitParticipants(address[] calldata accounts, address supplier) external restricted {
        if (!_suppliers[supplier]) revert SupplierUnknown(supplier);
        for (uint256 i = 0; i < accounts.length; ++i) {
            address account = accounts[i];
            if (account == address(0)) revert AccountIsZero();
            if (_supplierOf[account] != address(0)) revert ParticipantAlreadyAdmitted(account);
            _supplierOf[account] = supplier;
            emit ParticipantAdmitted(account, supplier);
        }
    }

    /// @inheritdoc IParticipantRegistry
    function registerMeters(MeterRegistration[] calldata registrations)
        external
        restricted
        returns (uint32 firstMeter)
    {
        firstMeter = _meterCount + 1;
        uint32 meter = _meterCount;
        for (uint256 i = 0; i < registrations.length; ++i) {
            _register(++meter, registrations[i]);
        }
        _meterCount = meter;
    }

    /// @inheritdoc IParticipantRegistry
    function replaceDeviceKey(uint32 meter, bytes32 deviceKeyX, bytes32 deviceKeyY) external restricted {
        if (_meters[meter].owner == address(0)) revert MeterUnknown(meter);
        _setDeviceKey(meter, deviceKeyX, deviceKeyY);
        emit DeviceKeyReplaced(meter, deviceKeyX, deviceKeyY);
    }

    /// @inheritdoc IParticipantRegistry
    function lookup(uint32[] calldata meters) external view returns (MeterView[] memory views) {
        views = new MeterView[](meters.length);
        for (uint256 i = 0; i < meters.length; ++i) {
            Meter memory meter = _meters[meters[i]];
            if (meter.owner == address(0)) revert MeterUnknown(meters[i]);
            views[i] = MeterView({
                owner: meter.owner,
                supplier: _supplierOf[meter.owner],
                zone: meter.zone,
                importCapacityW: meter.importCapacityW,
                exportCapacityW: meter.exportCapacityW,
                source: meter.source
            });
        }
    }

    /// @inheritdoc IParticipantRegistry
    function deviceKey(uint32 meter) external view returns (bytes32 x, bytes32 y) {
        if (_meters[meter].owner == address(0)) revert MeterUnknown(meter);
        return (_deviceKeys[meter].x, _deviceKeys[meter].y);
    }

    /// @inheritdoc IParticipantRegistry
    function supplierOf(address account) external view returns (address) {
        return _supplierOf[account];
    }

    /// @inheritdoc IParticipantRegistry
    function isSupplier(address account) external view returns (bool) {
        return _suppliers[account];
    }

    /// @inheritdoc IParticipantRegistry
    function gridOperatorOf(uint32 zone) external view returns (address gridOperator) {
        gridOperator = _gridOperators[zone];
        if (gridOperator == address(0)) revert ZoneUnknown(zone);
    }

    /// @inheritdoc IParticipantRegistry
    function meterCount() external view returns (uint32) {
        return _meterCount;
    }

    function _register(uint32 meter, MeterRegistration calldata registration) private {
        if (_supplierOf[registration.owner] == address(0)) revert ParticipantUnknown(registration.owner);
        if (_gridOperators[registration.zone] == address(0)) revert ZoneUnknown(registration.zone);
        _setDeviceKey(meter, registration.deviceKeyX, registration.deviceKeyY);
        _meters[meter] = Meter({
            owner: registration.owner,
            zone: registration.zone,
            importCapacityW: registration.importCapacityW,
            exportCapacityW: registration.exportCapacityW,
            source: registration.source
        });
        emit MeterRegistered(
            meter,
            registration.owner,
            registration.zone,
            registration.importCapacityW,
            registration.exportCapacityW,
            registration.source,
            registration.deviceKeyX,
            registration.deviceKeyY
        );
    }

    function _setDeviceKey(uint32 meter, bytes32 x, bytes32 y) private {
        if (!P256.isValidPublicKey(x, y)) revert DeviceKeyInvalid(x, y);
        _deviceKeys[meter] = DeviceKey({x: x, y: y});
    }
}
