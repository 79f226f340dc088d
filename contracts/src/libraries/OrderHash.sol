// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title OrderHash
/// @notice EIP-712 digests of orders and acceptances, built in one reused piece of memory: a clearing hashes hundreds,
/// and memory that grew with each would cost more than the hashing. The tests hold both against a plain encoder.
library OrderHash {
    uint256 internal constant LINE_BYTES = 40;
    bytes32 internal constant ORDER_TYPEHASH = keccak256(
        "Order(address owner,uint32 meter,uint8 side,uint8 product,uint8 pricing,uint64 firstMtuStart,"
        "uint64 lastMtuStart,uint64 quantityWh,int64 limitCentsPerMwh,uint64 expiry,uint64 salt)"
    );
    bytes32 internal constant ACCEPTANCE_TYPEHASH = keccak256(
        "Acceptance(address owner,uint32 meter,bytes32 offerUid,uint64 mtuStart,uint64 quantityWh,uint64 salt)"
    );

    /// @notice Digest of an order in the words of OrderTerms as signed by `owner`.
    function orderUid(bytes32 domainSeparator, uint256 terms, uint256 guard, address owner)
        internal
        pure
        returns (bytes32 uid)
    {
        bytes32 typehash = ORDER_TYPEHASH;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typehash)
            mstore(add(start, 0x20), owner)
            mstore(add(start, 0x40), and(terms, 0xffffffff))
            mstore(add(start, 0x60), and(shr(32, terms), 1))
            mstore(add(start, 0x80), and(shr(33, terms), 1))
            mstore(add(start, 0xa0), and(shr(34, terms), 1))
            mstore(add(start, 0xc0), and(shr(40, terms), 0xffffffffff))
            mstore(add(start, 0xe0), and(shr(80, terms), 0xffffffffff))
            mstore(add(start, 0x100), and(shr(160, terms), 0xffffffffff))
            mstore(add(start, 0x120), signextend(7, guard))
            mstore(add(start, 0x140), and(shr(120, terms), 0xffffffffff))
            mstore(add(start, 0x160), and(shr(64, guard), 0xffffffffffffffff))
            let structHash := keccak256(start, 0x180)
            mstore(start, shl(240, 0x1901))
            mstore(add(start, 0x02), domainSeparator)
            mstore(add(start, 0x22), structHash)
            uid := keccak256(start, 0x42)
        }
    }

    /// @notice Puts a uid at its place of a book without running numbers. False if there is one already.
    /// @param place below the number of lines
    function list(bytes memory book, uint256 place, bytes32 uid) internal pure returns (bool isNew) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let entry := add(add(book, 0x28), mul(place, LINE_BYTES))
            isNew := iszero(mload(entry))
            mstore(entry, uid)
        }
    }

    /// @notice Commitment to a book: per line 8 bytes running number, 32 bytes uid.
    /// @param book lines of LINE_BYTES, with some uids in place
    /// @param numbers running numbers, 8 bytes each, as many as lines
    /// @param otherUids uids of the lines that have none, in their order
    function bookHash(bytes memory book, bytes calldata numbers, bytes32[] calldata otherUids)
        internal
        pure
        returns (bytes32 hash)
    {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let line := add(book, 0x20)
            let source := numbers.offset
            let other := otherUids.offset
            for { let end := add(line, mload(book)) } lt(line, end) { line := add(line, LINE_BYTES) } {
                let uid := mload(add(line, 8))
                if iszero(uid) {
                    uid := calldataload(other)
                    other := add(other, 0x20)
                }
                // The uid overwrites all but the first 8 bytes of the word with the number.
                mstore(line, calldataload(source))
                mstore(add(line, 8), uid)
                source := add(source, 8)
            }
            hash := keccak256(add(book, 0x20), mload(book))
        }
    }

    /// @notice Digest of an acceptance in the words of OrderTerms as signed by `owner`.
    function acceptanceUid(bytes32 domainSeparator, uint256 terms, uint256 guard, address owner)
        internal
        pure
        returns (bytes32 uid)
    {
        bytes32 typehash = ACCEPTANCE_TYPEHASH;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typehash)
            mstore(add(start, 0x20), owner)
            mstore(add(start, 0x40), and(terms, 0xffffffff))
            mstore(add(start, 0x60), guard)
            mstore(add(start, 0x80), and(shr(40, terms), 0xffffffffff))
            mstore(add(start, 0xa0), and(shr(160, terms), 0xffffffffff))
            mstore(add(start, 0xc0), and(shr(80, terms), 0xffffffffff))
            let structHash := keccak256(start, 0xe0)
            mstore(start, shl(240, 0x1901))
            mstore(add(start, 0x02), domainSeparator)
            mstore(add(start, 0x22), structHash)
            uid := keccak256(start, 0x42)
        }
    }
}
