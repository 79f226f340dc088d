// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title CompactSignature
/// @notice The signer of an EIP-2098 signature, refused as OpenZeppelin's ECDSA refuses it, for a third of its gas.
library CompactSignature {
    uint256 private constant S_MASK = (1 << 255) - 1;
    /// @dev Half the order of secp256k1: of the two signatures of one message only that with the lower s is good.
    uint256 private constant HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    function signer(bytes32 digest, bytes32 r, bytes32 vs) internal view returns (address found) {
        uint256 s = uint256(vs) & S_MASK;
        if (s > HIGHEST_S) revert ECDSA.ECDSAInvalidSignatureS(bytes32(s));
        // The precompile answers nothing where there is no signer, and leaves the zero.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, digest)
            mstore(add(start, 0x20), add(27, shr(255, vs)))
            mstore(add(start, 0x40), r)
            mstore(add(start, 0x60), s)
            mstore(0, 0)
            pop(staticcall(gas(), 1, start, 0x80, 0, 0x20))
            found := mload(0)
        }
        if (found == address(0)) revert ECDSA.ECDSAInvalidSignature();
    }
}
