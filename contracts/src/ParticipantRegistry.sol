// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {Lists} from "./libraries/Lists.sol";
import {MeterPages} from "./libraries/MeterPages.sol";
import {MeterWord} from "./libraries/MeterWord.sol";

/// @title ParticipantRegistry
/// @dev The grid operator can admit accounts and meters that do not exist; it cannot move money or sign orders for
/// anybody. It is shut down by withdrawing the roles in the access manager.
contract ParticipantRegistry is IParticipantRegistry, AccessManaged {
    using Lists for uint256[];

    struct DeviceKey {
        bytes32 x;
        bytes32 y;
    }

    uint32 private _meterCount;
    /// @dev Words of MeterWord.
    mapping(uint256 number => address page) private _pages;
    mapping(uint32 meter => DeviceKey) private _deviceKeys;
    /// @dev Supplier numbers start at 1.
    mapping(address account => uint16 supplier) private _supplierOf;
    mapping(address supplier => uint16 number) private _suppliers;
    mapping(uint16 number => address supplier) private _supplierAt;
    uint16 private _supplierCount;
    mapping(uint32 zone => address gridOperator) private _gridOperators;

    constructor(address accessManager) AccessManaged(accessManager) {}

    /// @inheritdoc IParticipantRegistry
    function registerZone(uint32 zone, address gridOperator) external restricted {
        if (gridOperator == address(0)) revert AccountIsZero();
        // Zone 0 stands for the whole market when halting.
        if (zone == 0 || zone > type(uint24).max) revert ZoneUnknown(zone);
        if (_gridOperators[zone] != address(0)) revert ZoneAlreadyRegistered(zone);
        _gridOperators[zone] = gridOperator;
        emit ZoneRegistered(zone, gridOperator);
    }

    /// @inheritdoc IParticipantRegistry
    function registerSupplier(address supplier) external restricted {
        if (supplier == address(0)) revert AccountIsZero();
        if (_suppliers[supplier] != 0) revert SupplierAlreadyRegistered(supplier);
        uint16 number = ++_supplierCount;
        (_suppliers[supplier], _supplierAt[number]) = (number, supplier);
        emit SupplierRegistered(supplier);
    }

    /// @inheritdoc IParticipantRegistry
    function admitParticipants(address[] calldata accounts, address supplier) external restricted {
        uint16 number = _suppliers[supplier];
        if (number == 0) revert SupplierUnknown(supplier);
        for (uint256 i = 0; i < accounts.length; ++i) {
            address account = accounts[i];
            if (account == address(0)) revert AccountIsZero();
            if (_supplierOf[account] != 0) revert ParticipantAlreadyAdmitted(account);
            _supplierOf[account] = number;
            emit ParticipantAdmitted(account, supplier);
        }
    }

    /// @inheritdoc IParticipantRegistry
    function registerMeters(MeterRegistration[] calldata registrations)
        external
        restricted
        returns (uint32 firstMeter)
    {
        uint256 meter = _meterCount;
        firstMeter = uint32(++meter);
        uint256[] memory words = _page(meter / MeterPages.METERS);
        for (uint256 i = 0; i < registrations.length; ++i) {
            uint256 place = meter % MeterPages.METERS;
            words.put(place, _register(uint32(meter), registrations[i]));
            bool full = place == MeterPages.METERS - 1;
            if (full || i == registrations.length - 1) {
                _pages[meter / MeterPages.METERS] = MeterPages.write(words, place + 1);
            }
            if (full) words = new uint256[](MeterPages.METERS);
            ++meter;
        }
        _meterCount = uint32(meter - 1);
    }

    /// @inheritdoc IParticipantRegistry
    function replaceDeviceKey(uint32 meter, bytes32 deviceKeyX, bytes32 deviceKeyY) external restricted {
        _wordOf(meter);
        _setDeviceKey(meter, deviceKeyX, deviceKeyY);
        emit DeviceKeyReplaced(meter, deviceKeyX, deviceKeyY);
    }

    /// @inheritdoc IParticipantRegistry
    function meterWords(uint256[] calldata meters) external view returns (uint256[] memory words) {
        words = new uint256[](meters.length);
        for (uint256 i = 0; i < meters.length; ++i) {
            words.put(i, _wordOf(uint32(meters[i])));
        }
    }

    /// @inheritdoc IParticipantRegistry
    function meterPage(uint256 number) external view returns (address) {
        return _pages[number];
    }

    /// @inheritdoc IParticipantRegistry
    function meterOf(uint32 meter) external view returns (MeterView memory) {
        uint256 word = _wordOf(meter);
        return MeterView({
            owner: MeterWord.owner(word),
            supplier: _supplierAt[MeterWord.supplier(word)],
            zone: MeterWord.zone(word),
            importCapacityW: MeterWord.importCapacityW(word),
            exportCapacityW: MeterWord.exportCapacityW(word),
            source: MeterWord.source(word)
        });
    }

    /// @inheritdoc IParticipantRegistry
    function deviceKey(uint32 meter) external view returns (bytes32 x, bytes32 y) {
        _wordOf(meter);
        return (_deviceKeys[meter].x, _deviceKeys[meter].y);
    }

    /// @inheritdoc IParticipantRegistry
    function supplierOf(address account) external view returns (address) {
        return _supplierAt[_supplierOf[account]];
    }

    /// @inheritdoc IParticipantRegistry
    function supplierAt(uint16 number) external view returns (address) {
        return _supplierAt[number];
    }

    /// @inheritdoc IParticipantRegistry
    function isSupplier(address account) external view returns (bool) {
        return _suppliers[account] != 0;
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

    function _register(uint32 meter, MeterRegistration calldata registration) private returns (uint256 word) {
        uint16 supplier = _supplierOf[registration.owner];
        if (supplier == 0) revert ParticipantUnknown(registration.owner);
        if (_gridOperators[registration.zone] == address(0)) revert ZoneUnknown(registration.zone);
        _setDeviceKey(meter, registration.deviceKeyX, registration.deviceKeyY);
        // A registered zone fits 24 bits.
        word = MeterWord.pack(
            registration.owner,
            uint24(registration.zone),
            registration.importCapacityW,
            registration.exportCapacityW,
            registration.source,
            supplier
        );
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

    function _wordOf(uint32 meter) private view returns (uint256 word) {
        word = _page(meter / MeterPages.METERS).at(meter % MeterPages.METERS);
        if (word == 0) revert MeterUnknown(meter);
    }

    function _page(uint256 number) private view returns (uint256[] memory words) {
        words = new uint256[](MeterPages.METERS);
        MeterPages.read(_pages[number], words);
    }
}
