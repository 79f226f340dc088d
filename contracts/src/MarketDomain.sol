// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";

/// @title MarketDomain
/// @dev EIP-712 domain of orders and their like. Written here, for OpenZeppelin's takes names of any length, which
/// costs a fortieth of the largest contract a chain accepts.
abstract contract MarketDomain is IERC5267 {
    string private constant NAME = "gridledger";
    string private constant VERSION = "1";
    bytes32 private constant TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    /// @dev Name, version, chain id and contract are used; no salt.
    bytes1 private constant FIELDS = 0x0f;

    uint256 private immutable _chainId;
    bytes32 private immutable _separator;

    constructor() {
        (_chainId, _separator) = (block.chainid, _computedSeparator());
    }

    /// @inheritdoc IERC5267
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        return (FIELDS, NAME, VERSION, block.chainid, address(this), 0, extensions);
    }

    /// @dev A fork of the chain has another id, and its orders another domain.
    function _domainSeparator() internal view returns (bytes32) {
        return block.chainid == _chainId ? _separator : _computedSeparator();
    }

    function _computedSeparator() private view returns (bytes32) {
        return
            keccak256(abi.encode(TYPEHASH, keccak256(bytes(NAME)), keccak256(bytes(VERSION)), block.chainid, this));
    }
}
