// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";

/// @title MarketAccessManager
/// @notice Who may call which restricted function. The deployer is its first admin, hands the role to the community's
/// delayed account and renounces its own.
contract MarketAccessManager is AccessManager {
    constructor(address initialAdmin) AccessManager(initialAdmin) {}
}
