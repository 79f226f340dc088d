// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {OrderDesk} from "./OrderDesk.sol";
import {IEnergyDispatching} from "./interfaces/IEnergyDispatching.sol";
import {IEnergyPricing} from "./interfaces/IEnergyPricing.sol";
import {IEnergyTrading} from "./interfaces/IEnergyTrading.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {IntegerMath} from "./libraries/IntegerMath.sol";
import {Lists} from "./libraries/Lists.sol";
import {Product} from "./libraries/MarketTypes.sol";
import {MeterWord} from "./libraries/MeterWord.sol";
import {OrderRows, Row} from "./libraries/OrderRows.sol";
import {OrderTerms} from "./libraries/OrderTerms.sol";
import {Pairing} from "./libraries/Pairing.sol";
import {Positions} from "./libraries/Positions.sol";
import {SettlementRules} from "./libraries/SettlementRules.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title EnergyTrading
/// @dev The market operator can leave orders out of a book, or clear late; the receipts and the
/// committed book prove it. It cannot fill an order its owner did not
/// sign, beyond its limit, quantity, expiry or cancellation, nor move money otherwise than the rules say. Positions are
/// kept by hash and presented again, so that one storage word carries a whole clearing. It is shut down by a halt of
/// the whole market: open positions still settle, deposits can still be withdrawn.
contract EnergyTrading is OrderDesk {
    using Lists for uint256[];
    using OrderRows for Row;
    using OrderRows for uint256[];
    using OrderTerms for uint256;
    using Positions for uint256[];

    /// @dev The contracts around this one.
    struct Neighbours {
        IGridPolicy policy;
        IParticipantRegistry registry;
        IEnergyPricing pricing;
        IEnergyDispatching dispatching;
    }

    /// @dev Three slots: hash, hash, 40 + 40 + 40 + 32 + 16 + 56 + 16 + 8 + 8 = 256 bits. `tradedWh` and `openCarries`
    /// count over all chunks; the latter counts meters that have to go on in a later chunk.
    struct ClearingState {
        bytes32 bookHash;
        bytes32 resultHash;
        int40 anyPrice;
        int40 lowCarbonPrice;
        uint40 clearedAt;
        uint32 openPositions;
        uint16 chunkCount;
        uint56 tradedWh;
        uint16 openCarries;
        bool merged;
        Status status;
    }

    /// @dev A meter whose last order is filled further in a later chunk; one slot: 48 + 40 + 16 + 8 bits.
    struct Carry {
        uint48 contractedWh;
        uint40 filledWh;
        uint16 bookIndex;
        bool open;
    }

    /// @dev Limits of the ends of one interval.
    struct Interval {
        int64 lower;
        int64 upper;
    }

    /// @dev Positions in the making. Of the position in work: all its energy so far, as a sum and by parts, and what
    /// all chunks so far have filled of its last order. The lists of both lasts are per position, made for chunks only.
    struct Opening {
        uint256[] positions;
        uint256[] deals;
        uint256 count;
        uint256 energyWh;
        uint256 energies;
        uint256 filledWh;
        bool several;
        uint256[] lastFilledWh;
        uint256[] lastOrder;
        uint256 takenCarries;
    }

    /// @notice Stands for "no order names this end" in a clearing.
    uint16 public constant NO_ORDER = type(uint16).max;
    uint256 private constant SECONDS_PER_HOUR = 3600;

    IEnergyDispatching private immutable _dispatching;
    uint32 private immutable _mtuLengthS;

    mapping(uint256 slotKey => ClearingState) private _clearings;
    /// @dev By slot key and chunk above it.
    mapping(uint256 chunkKey => bytes32) private _stateHashes;
    /// @dev Meters presented in the chunks of an unfinished clearing, 256 to a word.
    mapping(uint256 slotKey => mapping(uint256 word => uint256)) private _presentedMeters;
    mapping(uint256 slotKey => mapping(uint32 meter => Carry)) private _carries;

    constructor(address accessManager, IERC20 settlementToken, Neighbours memory neighbours)
        AccessManaged(accessManager)
        OrderDesk(settlementToken, neighbours.registry, neighbours.policy, neighbours.pricing)
    {
        _dispatching = neighbours.dispatching;
        _mtuLengthS = neighbours.policy.mtuLengthS();
    }

    /// @inheritdoc IEnergyTrading
    function commitBook(uint32 zone, uint64 mtuStart, bytes32 bookHash, uint32 orderCount) external restricted {
        _policy.requireGateClosed(mtuStart);
        if (bookHash == 0) revert BookMissing(zone, mtuStart);
        ClearingState storage state = _clearings[SlotKey.pack(zone, mtuStart)];
        if (state.bookHash != 0) revert BookAlreadyCommitted(zone, mtuStart);
        state.bookHash = bookHash;
        emit BookCommitted(zone, mtuStart, bookHash, orderCount);
    }

    /// @inheritdoc IEnergyTrading
    function clear(Clearing calldata clearing) external restricted {
        ClearingState storage state = _clearings[SlotKey.pack(clearing.zone, clearing.mtuStart)];
        Rules memory rules = _requireClearable(clearing, state);
        Checked memory checked = _checkOrders(clearing, rules);
        _requireBook(clearing, checked, state.bookHash);
        bytes32 resultHash = state.resultHash;
        if (clearing.chunk == 0) resultHash = _checkPrices(clearing, checked, rules);
        else _requireSamePrices(clearing, state);
        Opening memory opening = _openPositions(clearing, checked);
        uint256 tradedWh = _lockTrades(clearing, checked, opening, rules);
        _keep(clearing, state, checked, opening, resultHash, tradedWh);
    }

    /// @inheritdoc IEnergyTrading
    function applyOutcome(Outcome calldata outcome) external restricted returns (uint32 openPositions) {
        uint256 chunkKey = _chunkKey(outcome.zone, outcome.mtuStart, outcome.chunk);
        if (_stateHashes[chunkKey] != outcome.keptHash) revert StateMismatch(_stateHashes[chunkKey], outcome.keptHash);
        _stateHashes[chunkKey] = outcome.stateHash;
        ClearingState storage state = _clearings[SlotKey.pack(outcome.zone, outcome.mtuStart)];
        openPositions = state.openPositions - outcome.closedPositions;
        state.openPositions = openPositions;
        int256 movedBefore = _movedMicrocents;
        int256 outOfEscrow = int256(outcome.feesMicrocents) + _settleAccounts(outcome.payments);
        if (outcome.feesMicrocents > 0) _change(outcome.feeReceiver, int256(outcome.feesMicrocents));
        _changeEscrow(-outOfEscrow);
        _requireConserved(movedBefore);
    }

    /// @inheritdoc IEnergyTrading
    function clearingOf(uint32 zone, uint64 mtuStart) external view returns (ClearingView memory) {
        ClearingState memory state = _clearings[SlotKey.pack(zone, mtuStart)];
        return ClearingView({
            bookHash: state.bookHash,
            resultHash: state.resultHash,
            status: state.status,
            anyPrice: state.anyPrice,
            lowCarbonPrice: state.lowCarbonPrice,
            openPositions: state.openPositions,
            chunkCount: state.chunkCount,
            clearedAt: state.clearedAt
        });
    }

    /// @inheritdoc IEnergyTrading
    function stateHashOf(uint32 zone, uint64 mtuStart, uint16 chunk) external view returns (bytes32) {
        return _stateHashes[_chunkKey(zone, mtuStart, chunk)];
    }

    function _requireClearable(Clearing calldata clearing, ClearingState storage state)
        private
        view
        returns (Rules memory rules)
    {
        rules.policy = _policy.clearingRulesAt(clearing.zone, clearing.mtuStart);
        if (state.bookHash == 0) revert BookMissing(clearing.zone, clearing.mtuStart);
        if (state.status == Status.Cleared) revert AlreadyCleared(clearing.zone, clearing.mtuStart);
        if (clearing.chunk != state.chunkCount) revert ChunkOutOfSequence(state.chunkCount, clearing.chunk);
        uint64 deadline = rules.policy.clearingDeadline;
        if (block.timestamp > deadline) {
            revert ClearingTooLate(clearing.mtuStart, deadline, uint64(block.timestamp));
        }
    }

    /// @dev Chunks after the first state the same prices of as many books; their intervals were checked then.
    function _requireSamePrices(Clearing calldata clearing, ClearingState storage state) private view {
        bool same = clearing.anyPrice == state.anyPrice && clearing.lowCarbonPrice == state.lowCarbonPrice
            && clearing.merged == state.merged;
        if (!same) revert ChunkDiffers(clearing.zone, clearing.mtuStart);
    }

    /// @dev Each price is the floored midpoint of its interval. Returns the head of the result's hash chain.
    function _checkPrices(Clearing calldata clearing, Checked memory checked, Rules memory rules)
        private
        view
        returns (bytes32)
    {
        bool merged = clearing.merged;
        Interval memory any =
            _checkInterval(clearing, checked, rules, clearing.anyEnds, clearing.anyPrice, merged, false);
        Interval memory lowCarbon = any;
        if (merged) {
            if (clearing.anyPrice != clearing.lowCarbonPrice) {
                revert PricesDiffer(clearing.anyPrice, clearing.lowCarbonPrice);
            }
        } else {
            lowCarbon = _checkInterval(
                clearing, checked, rules, clearing.lowCarbonEnds, clearing.lowCarbonPrice, false, true
            );
            if (clearing.lowCarbonPrice < clearing.anyPrice) {
                revert PricesDiffer(clearing.anyPrice, clearing.lowCarbonPrice);
            }
        }
        return keccak256(abi.encode(merged, any, lowCarbon));
    }

    function _checkInterval(
        Clearing calldata clearing,
        Checked memory checked,
        Rules memory rules,
        Ends calldata ends,
        int64 price,
        bool merged,
        bool lowCarbon
    ) private view returns (Interval memory interval) {
        interval.lower = _endLimit(clearing, checked, rules, ends.lower, true, merged, lowCarbon);
        interval.upper = _endLimit(clearing, checked, rules, ends.upper, false, merged, lowCarbon);
        if (interval.lower > interval.upper) revert EndsCrossed(interval.lower, interval.upper);
        if (price != IntegerMath.floorMidpoint(interval.lower, interval.upper)) {
            revert PriceNotMidpoint(price, interval.lower, interval.upper);
        }
    }

    /// @dev The lower end is a filled offer or a bid with energy left, the upper end a filled bid or an offer with
    /// energy left, of the book in question. What was dealt directly is not the auction's. A position that goes on in
    /// the next chunk is no end, for what is left of it is not known yet. Ends are read before anything is locked.
    function _endLimit(
        Clearing calldata clearing,
        Checked memory checked,
        Rules memory rules,
        uint16 index,
        bool lower,
        bool merged,
        bool lowCarbon
    ) private view returns (int64) {
        if (index == NO_ORDER) return lower ? rules.policy.floor : rules.policy.cap;
        if (index >= checked.rows.rowCount()) revert EndInvalid(index);
        Row row = checked.rows.rowAt(index);
        uint256 terms = row.terms();
        if (terms.isAcceptance()) revert EndInvalid(index);
        bool filled = index < checked.filled;
        uint256 fillWh = filled ? terms.fillWh() - row.dealtWh() : 0;
        bool filledSide = terms.sells() == lower;
        bool valid = filledSide ? fillWh > 0 : fillWh + row.dealtWh() < terms.quantityWh();
        bool ofBook = terms.sells()
            ? (MeterWord.source(row.meter()) != 0) == lowCarbon
            : (terms.product() == Product.LowCarbon) == lowCarbon;
        if (!valid || !(merged || ofBook)) revert EndInvalid(index);
        for (uint256 i = 0; i < clearing.continuedMeters.length; ++i) {
            if (clearing.continuedMeters[i] == terms.meter()) revert EndInvalid(index);
        }
        if (!filledSide) {
            uint256 count = clearing.orders.length;
            uint256 guard = index < count ? clearing.orders[index].guard : clearing.ends[index - count].guard;
            _requireAble(terms, guard.limit(), row.meter(), rules);
        }
        return row.limit();
    }

    /// @dev An order that sets a price by what it has left must be one that could trade: its meter can carry all of it
    /// and its owner could lock the worst case, as for an order in the book (node: market/book).
    function _requireAble(uint256 terms, int64 limit, uint256 meter, Rules memory rules) private view {
        uint256 quantityWh = terms.quantityWh();
        _requireCapacity(terms, quantityWh, meter);
        uint256 worst = terms.sells()
            ? SettlementRules.sellerLock(quantityWh, limit, rules.policy.shortage)
            : SettlementRules.buyerLock(quantityWh, limit) + quantityWh * rules.policy.gridFeeCentsPerMwh;
        _requireAvailable(MeterWord.owner(meter), worst, rules.policy.gateClosure);
    }

    /// @dev One position per meter: consecutive orders of a meter are added up.
    function _openPositions(Clearing calldata clearing, Checked memory checked)
        private
        returns (Opening memory opening)
    {
        uint256 filled = checked.filled;
        opening.positions = new uint256[](Positions.WORDS * filled);
        opening.several = clearing.chunk > 0 || !clearing.last || clearing.continuedMeters.length > 0;
        if (opening.several) (opening.lastFilledWh, opening.lastOrder) = (new uint256[](filled), new uint256[](filled));
        (Row row, Row end) = (checked.rows.rowAt(0), checked.rows.rowAt(filled));
        for (; row.isBefore(end); ++opening.count) {
            row = _openPosition(clearing, opening, row, end);
        }
        uint256[] memory positions = opening.positions;
        uint256 words = opening.count * Positions.WORDS;
        // Shortens the array to the positions used; the length word is the only thing written.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(positions, words)
        }
        if (opening.several) _carryOver(clearing, checked, opening);
        _requireBalanced(clearing, opening.positions);
    }

    /// @dev Returns the first order after those of the meter.
    function _openPosition(Clearing calldata clearing, Opening memory opening, Row first, Row end)
        private
        returns (Row next)
    {
        (uint256 firstTerms, uint256 terms, uint256 meter) = (first.terms(), first.terms(), first.meter());
        (opening.energyWh, opening.energies) = (0, 0);
        bool goesOn = opening.several && _takeCarry(clearing, opening, firstTerms);
        next = first;
        do {
            if (terms.sells() != firstTerms.sells()) revert SidesMixed(terms.meter());
            if (first.isBefore(next)) {
                // Only the one order that the chunk before left unfinished: any other might be a line it has filled
                // already.
                if (goesOn) revert MeterPresentedTwice(terms.meter());
                _requireNew(first, next);
            }
            _addOrder(clearing, opening, next, terms);
            next = next.next();
            if (!next.isBefore(end)) break;
            terms = next.terms();
        } while (terms.meter() == firstTerms.meter());
        _requireCapacity(firstTerms, opening.energyWh, meter);
        (uint256[] memory positions, uint256 count) = (opening.positions, opening.count);
        positions.open(count, firstTerms.meter(), meter, firstTerms.sells(), opening.energies);
        if (opening.several) _noteLast(opening, next.previous());
    }

    function _noteLast(Opening memory opening, Row last) private pure {
        opening.lastOrder[opening.count] = Row.unwrap(last);
        opening.lastFilledWh[opening.count] = opening.filledWh + last.terms().fillWh();
    }

    /// @dev Adds one order's energy to the position in work.
    function _addOrder(Clearing calldata clearing, Opening memory opening, Row row, uint256 terms) private pure {
        uint256 fillWh = terms.fillWh();
        uint256 openWh = terms.quantityWh() - opening.filledWh;
        if (fillWh > openWh) revert OrderOverfilled(row.uid(), openWh, fillWh);
        uint256 dealtWh = terms.isAcceptance() ? fillWh : row.dealtWh();
        uint256 auctionWh;
        // 2^16 orders of less than 2^40 Wh do not run over, and no offer has dealt more than its fill.
        unchecked {
            opening.energyWh += fillWh;
            auctionWh = fillWh - dealtWh;
        }
        row.setPosition(opening.count);
        uint256 lowCarbonWh = 0;
        if (auctionWh > 0) {
            bool sells = terms.sells();
            bool lowCarbon = sells ? MeterWord.source(row.meter()) != 0 : terms.product() == Product.LowCarbon;
            _requireLimit(row, lowCarbon ? clearing.lowCarbonPrice : clearing.anyPrice, sells);
            if (lowCarbon && !sells) (auctionWh, lowCarbonWh) = (0, auctionWh);
        }
        unchecked {
            opening.energies += Positions.energy(auctionWh, lowCarbonWh, dealtWh);
        }
    }

    /// @dev What an order has in the auction must be within its limit.
    function _requireLimit(Row row, int64 price, bool sells) private pure {
        int64 limit = row.limit();
        if (sells ? limit > price : limit < price) revert LimitViolated(row.uid(), limit, price);
    }

    /// @dev Where the two prices differ, low-carbon energy serves low-carbon bids only.
    function _requireBalanced(Clearing calldata clearing, uint256[] memory positions) private pure {
        if (clearing.anyPrice == clearing.lowCarbonPrice) return;
        (uint256 boughtWh, uint256 soldWh) = (0, 0);
        for (uint256 i = 0; i < positions.count(); ++i) {
            if (!positions.sells(i)) boughtWh += positions.lowCarbonWh(i);
            else if (positions.source(i) != 0) soldWh += positions.auctionWh(i);
        }
        if (boughtWh != soldWh) revert LowCarbonNotBalanced(boughtWh, soldWh);
    }

    /// @dev Derives the trades, charges the buyers' grid fees, and locks what every position may have to pay.
    function _lockTrades(Clearing calldata clearing, Checked memory checked, Opening memory opening, Rules memory rules)
        private
        returns (uint256 tradedWh)
    {
        uint256[] memory positions = opening.positions;
        _dealPositions(clearing, checked, opening, rules);
        tradedWh = _chargeFees(positions, opening.deals, rules);
        tradedWh += _chargeFees(positions, Pairing.derive(positions), rules);
        int256 movedBefore = _movedMicrocents;
        (uint256 lockedMicrocents, int256 takenMicrocents) = (0, 0);
        (int64 anyPrice, int64 lowCarbonPrice) = (clearing.anyPrice, clearing.lowCarbonPrice);
        uint256 count = opening.count;
        for (uint256 i = 0; i < count; ++i) {
            uint256 locked =
                positions.addLock(i, _auctionLock(positions, i, anyPrice, lowCarbonPrice, rules.policy.shortage));
            // 2^16 amounts of less than 2^88.
            unchecked {
                lockedMicrocents += locked;
                takenMicrocents += _take(positions.owner(i), locked, rules.policy.gateClosure);
            }
        }
        _movedMicrocents -= takenMicrocents;
        _changeEscrow(int256(lockedMicrocents));
        _requireConserved(movedBefore);
    }

    /// @dev What a position may have to pay for its energy in the auction, and a buyer's fees.
    function _auctionLock(
        uint256[] memory positions,
        uint256 index,
        int64 anyPrice,
        int64 lowCarbonPrice,
        int64 shortage
    ) private pure returns (uint256) {
        uint256 auction = positions.auctionWh(index);
        if (positions.sells(index)) {
            int64 price = positions.source(index) == 0 ? anyPrice : lowCarbonPrice;
            return SettlementRules.sellerLock(auction, price, shortage);
        }
        // Each part is far below 2^88.
        unchecked {
            return SettlementRules.buyerLock(auction, anyPrice) + positions.feeMicrocents(index)
                + SettlementRules.buyerLock(positions.lowCarbonWh(index), lowCarbonPrice);
        }
    }

    function _dealPositions(
        Clearing calldata clearing,
        Checked memory checked,
        Opening memory opening,
        Rules memory rules
    ) private pure {
        opening.deals = new uint256[](clearing.acceptedOffers.length);
        uint256[] memory positions = opening.positions;
        uint256 deal = 0;
        for (uint256 i = 0; deal < opening.deals.length; ++i) {
            Row row = checked.rows.rowAt(i);
            if (!row.terms().isAcceptance()) continue;
            uint256 offer = clearing.acceptedOffers[deal];
            (uint256 sell, uint256 buy) = (checked.rows.rowAt(offer).position(), row.position());
            if (positions.owner(sell) == positions.owner(buy)) revert Pairing.SelfMatch(positions.owner(buy));
            uint256 energyWh = row.terms().fillWh();
            int64 price = clearing.orders[offer].guard.limit();
            int256 cash = int256(energyWh) * price;
            positions.addDealCash(sell, cash);
            positions.addDealCash(buy, -cash);
            positions.addLock(sell, SettlementRules.sellerLock(energyWh, price, rules.policy.shortage));
            positions.addLock(buy, SettlementRules.buyerLock(energyWh, price));
            opening.deals[deal++] = Pairing.pack(sell, buy, energyWh, price);
        }
    }

    function _chargeFees(uint256[] memory positions, uint256[] memory trades, Rules memory rules)
        private
        returns (uint256 tradedWh)
    {
        (uint256 fee, uint256 relief) = (rules.policy.gridFeeCentsPerMwh, rules.policy.lowCarbonReliefCentsPerMwh);
        for (uint256 i = 0; i < trades.length; ++i) {
            uint256 trade = trades.at(i);
            (uint256 sell, uint256 buy) = (Pairing.sell(trade), Pairing.buy(trade));
            uint256 energyWh = Pairing.energyWh(trade);
            // Twice 2^17 trades of less than 2^48 Wh.
            unchecked {
                tradedWh += energyWh;
            }
            positions.addFee(buy, SettlementRules.gridFee(energyWh, fee, relief, positions.source(sell) != 0));
            emit EnergyTraded(positions.meter(sell) | (uint256(positions.meter(buy)) << 32) | (energyWh << 64));
        }
    }

    function _keep(
        Clearing calldata clearing,
        ClearingState storage state,
        Checked memory checked,
        Opening memory opening,
        bytes32 resultHash,
        uint256 tradedWh
    ) private {
        bytes32 stateHash = Positions.stateHash(opening.positions, opening.deals);
        _stateHashes[_chunkKey(clearing.zone, clearing.mtuStart, clearing.chunk)] = stateHash;
        resultHash = keccak256(abi.encode(resultHash, checked.rows.termsHash(checked.filled), stateHash));
        state.resultHash = resultHash;
        // Prices lie within four times the policy's limit of 1e7, times within 2^32.
        (state.anyPrice, state.lowCarbonPrice) = (int40(clearing.anyPrice), int40(clearing.lowCarbonPrice));
        (state.clearedAt, state.merged) = (uint40(block.timestamp), clearing.merged);
        state.openPositions += uint32(opening.count);
        state.chunkCount = clearing.chunk + 1;
        // At most 2^16 orders of 2^24 Wh each.
        state.tradedWh += uint56(tradedWh);
        uint256 openCarries = state.openCarries + clearing.continuedMeters.length - opening.takenCarries;
        if (clearing.last && openCarries > 0) revert MeterNotContinued(0);
        state.openCarries = uint16(openCarries);
        state.status = clearing.last ? Status.Cleared : Status.Partial;
        emit MarketCleared(
            clearing.zone,
            clearing.mtuStart,
            clearing.chunk,
            clearing.last,
            clearing.anyPrice,
            clearing.lowCarbonPrice,
            tradedWh,
            opening.count
        );
        if (clearing.last && state.openPositions > 0) {
            _dispatching.schedule(
                clearing.zone, clearing.mtuStart, resultHash, clearing.setpointsRoot, state.tradedWh
            );
        }
    }

    /// @dev Money moved since `movedBefore` sums to zero over all accounts and the escrow.
    function _requireConserved(int256 movedBefore) private view {
        if (_movedMicrocents != movedBefore) revert CashNotConserved(_movedMicrocents - movedBefore);
    }

    function _chunkKey(uint32 zone, uint64 mtuStart, uint16 chunk) private pure returns (uint256) {
        return (uint256(chunk) << 96) | SlotKey.pack(zone, mtuStart);
    }

    /// @dev `energyWh` is summed outside the packed words, so that no part of them can have run over unnoticed.
    function _requireCapacity(uint256 terms, uint256 energyWh, uint256 meter) private view {
        uint256 capacityW = terms.sells() ? MeterWord.exportCapacityW(meter) : MeterWord.importCapacityW(meter);
        // 24 and 32 bits.
        unchecked {
            uint256 capacityWh = (capacityW * _mtuLengthS) / SECONDS_PER_HOUR;
            if (energyWh > capacityWh) revert CapacityExceeded(terms.meter(), energyWh, capacityWh);
        }
    }

    /// @dev In a clearing of several chunks a meter appears once, or goes on where an earlier chunk left it. Returns
    /// whether it goes on.
    function _takeCarry(Clearing calldata clearing, Opening memory opening, uint256 firstTerms)
        private
        returns (bool)
    {
        opening.filledWh = 0;
        uint32 meter = firstTerms.meter();
        if (_markPresented(clearing, meter)) return false;
        Carry storage carry = _carries[SlotKey.pack(clearing.zone, clearing.mtuStart)][meter];
        if (!carry.open || firstTerms.bookIndex() != carry.bookIndex) revert MeterPresentedTwice(meter);
        carry.open = false;
        ++opening.takenCarries;
        (opening.energyWh, opening.energies) = (carry.contractedWh, Positions.prior(carry.contractedWh));
        opening.filledWh = carry.filledWh;
        return true;
    }

    /// @dev Marks positions that go on in a later chunk, and the meters of unfilled ends as done.
    function _carryOver(Clearing calldata clearing, Checked memory checked, Opening memory opening) private {
        uint256 position = 0;
        uint256[] memory positions = opening.positions;
        for (uint256 i = 0; i < clearing.continuedMeters.length; ++i) {
            uint32 meter = clearing.continuedMeters[i];
            while (position < opening.count && positions.meter(position) != meter) ++position;
            if (position == opening.count || clearing.last) revert MeterNotContinued(meter);
            positions.setContinued(position);
            _carries[SlotKey.pack(clearing.zone, clearing.mtuStart)][meter] = Carry({
                contractedWh: uint48(positions.priorWh(position) + positions.contractedWh(position)),
                filledWh: uint40(opening.lastFilledWh[position]),
                bookIndex: uint16(Row.wrap(opening.lastOrder[position]).terms().bookIndex()),
                open: true
            });
            ++position;
        }
        for (uint256 i = checked.filled; i < checked.rows.rowCount(); ++i) {
            _markPresented(clearing, checked.rows.rowAt(i).terms().meter());
        }
    }

    /// @dev Returns whether the meter had not been presented before.
    function _markPresented(Clearing calldata clearing, uint32 meter) private returns (bool isNew) {
        mapping(uint256 => uint256) storage words =
            _presentedMeters[SlotKey.pack(clearing.zone, clearing.mtuStart)];
        uint256 bit = 1 << (meter & 0xff);
        uint256 word = words[meter >> 8];
        isNew = word & bit == 0;
        if (isNew) words[meter >> 8] = word | bit;
    }
}
