// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title PlainExchange
/// @notice What a trade costs on chain if it is done the plain way, in three transactions: both sides post an order, and
/// anybody settles the pair. Nothing about meters, gates, readings or fees. It exists only to be measured.
contract PlainExchange {
    struct Order {
        address owner;
        bool sells;
        uint64 quantityWh;
        int64 limitCentsPerMwh;
    }

    Order[] private _orders;
    mapping(address account => int256 microcents) private _balances;

    event Posted(uint256 indexed id, address indexed owner, bool sells, uint64 quantityWh, int64 limitCentsPerMwh);
    event Settled(uint256 indexed bid, uint256 indexed offer, uint64 energyWh, int64 priceCentsPerMwh);

    error NotAPair(uint256 bid, uint256 offer);

    /// @notice Gives the caller money to trade with.
    function fund(uint128 microcents) external {
        _balances[msg.sender] += int256(uint256(microcents));
    }

    /// @notice Posts an order of the caller; cents per MWh, Wh.
    function post(bool sells, uint64 quantityWh, int64 limitCentsPerMwh) external {
        _orders.push(Order(msg.sender, sells, quantityWh, limitCentsPerMwh));
        emit Posted(_orders.length - 1, msg.sender, sells, quantityWh, limitCentsPerMwh);
    }

    /// @notice Settles a bid and an offer whose limits cross, at the offer's limit.
    function settle(uint256 bid, uint256 offer) external {
        Order storage buyer = _orders[bid];
        Order storage seller = _orders[offer];
        if (buyer.sells || !seller.sells || buyer.limitCentsPerMwh < seller.limitCentsPerMwh) revert NotAPair(bid, offer);
        uint64 energyWh = buyer.quantityWh < seller.quantityWh ? buyer.quantityWh : seller.quantityWh;
        if (energyWh == 0) revert NotAPair(bid, offer);
        buyer.quantityWh -= energyWh;
        seller.quantityWh -= energyWh;
        int256 cost = int256(uint256(energyWh)) * seller.limitCentsPerMwh;
        _balances[buyer.owner] -= cost;
        _balances[seller.owner] += cost;
        emit Settled(bid, offer, energyWh, seller.limitCentsPerMwh);
    }
}
