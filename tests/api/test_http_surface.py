"""What every client may rely on: documented routes, problems for every error, health, metrics, decimals."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.running import (
    BUY_METER,
    BUYER,
    GENESIS_TIME_S,
    MTU_START,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
)

from gridledger.market.model import Pricing, Product, Side

LARGEST_BODY_BYTES = 2 * 1024 * 1024
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A market with two members and nothing traded."""
    with onboarded.served(tmp_path_factory.mktemp("surface") / "data") as running:
        yield running


# ---- errors that come before any route


def test_a_route_that_does_not_exist_is_a_problem(market: RunningNode) -> None:
    assert_problem(market.http.get("/v1/nowhere"), 404, "about:blank", title="Not Found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/v1/orders", "POST"), ("DELETE", "/v1/market", "GET"), ("POST", "/healthz", "GET")],
)
def test_a_method_that_is_not_allowed_is_a_problem_that_says_which_is(
    market: RunningNode, method: str, path: str, allowed: str
) -> None:
    answer = market.http.request(method, path)
    assert_problem(answer, 405, "about:blank", title="Method Not Allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"order"', b"null", b'{"owner": NaN}'])
def test_json_that_is_malformed_or_no_order_is_a_problem(market: RunningNode, body: bytes) -> None:
    assert_problem(market.http.post("/v1/orders", content=body, headers=JSON), 422, "request-malformed")


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000, b'{"meter": ' + b"9" * 5_000 + b"}"])
def test_bytes_no_reader_of_json_takes_are_a_problem(market: RunningNode, body: bytes) -> None:
    assert_problem(market.http.post("/v1/orders", content=body, headers=JSON), 400, "about:blank")


@pytest.mark.parametrize("text", ["\ud800", "", "x" * 65])
def test_a_client_id_is_one_to_64_characters_of_unicode(market: RunningNode, text: str) -> None:
    body = market.order_body(market.order(Side.BUY)) | {"client_id": text}
    answer = market.http.post("/v1/orders", content=json.dumps(body), headers=JSON)
    assert_problem(answer, 422, "request-malformed")


def test_a_body_of_the_largest_size_is_read_and_a_larger_one_is_not(market: RunningNode) -> None:
    body = json.dumps({"readings": ["x"]}).encode()
    padded = body[:-1] + b" " * (LARGEST_BODY_BYTES - len(body)) + b"}"
    assert len(padded) == LARGEST_BODY_BYTES
    assert market.http.post("/v1/readings", content=padded, headers=JSON).status_code == 200
    too_large = market.http.post("/v1/readings", content=padded + b" ", headers=JSON)
    assert_problem(too_large, 413, "about:blank", title="Content Too Large")


def test_a_body_of_unknown_length_is_not_read(market: RunningNode) -> None:
    answer = market.http.post("/v1/readings", content=iter([b"{", b"}"]), headers=JSON)
    assert_problem(answer, 411, "about:blank", title="Length Required")


def test_a_malformed_request_says_every_wrong_field(market: RunningNode) -> None:
    body = market.order_body(market.order(Side.BUY)) | {"side": "hold", "meter": 0, "colour": "green"}
    answer = market.post("/v1/orders", body)
    assert_problem(answer, 422, "request-malformed")
    assert {place["field"] for place in answer.json()["errors"]} == {"body.side", "body.meter", "body.colour"}


# ---- operations


def test_a_ready_node_is_alive_and_ready(market: RunningNode) -> None:
    assert market.get("/healthz") == {"status": "alive"}
    assert market.get("/readyz") == {"ready": True, "reasons": []}


def test_metrics_count_what_was_accepted_and_how_requests_were_answered(market: RunningNode) -> None:
    uid = market.accept(market.order(Side.BUY, quantity_wh=1))["uid"]
    market.http.get(f"/v1/orders/{uid}")
    market.http.get("/v1/orders/0x" + "ab" * 32)
    answer = market.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    counts = {name: int(float(value)) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
    orders = len(market.memory()["market_order"])
    assert (counts["gridledger_orders"], counts["gridledger_readings"]) == (orders, 0)
    assert counts["gridledger_block_number"] == market.get("/v1/market")["block"]["number"]
    assert (counts["gridledger_open_transactions"], counts["gridledger_ready"]) == (0, 1)
    route = 'gridledger_http_requests_total{{method="GET",route="/v1/orders/{{uid}}",status="{}"}}'
    assert counts[route.format(200)] >= 1
    assert counts[route.format(404)] >= 1
    assert market.cancel(uid, BUYER).status_code == 200


def test_no_metric_has_a_label_per_order_or_account(market: RunningNode) -> None:
    market.http.get(f"/v1/participants/{SELLER.address}")
    market.http.get("/v1/nowhere/" + "ab" * 16)
    text = market.http.get("/metrics").text
    assert SELLER.address not in text
    assert "ab" * 16 not in text
    assert 'route="unmatched"' in text


def test_the_documented_routes_are_the_public_names(market: RunningNode) -> None:
    document = market.get("/openapi.json")
    routes = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert {
        ("POST", "/v1/orders"),
        ("POST", "/v1/orders/batch"),
        ("POST", "/v1/orders/cancellations"),
        ("POST", "/v1/deals"),
        ("GET", "/v1/deals/{uid}"),
        ("GET", "/v1/orders/{uid}"),
        ("DELETE", "/v1/orders/{uid}"),
        ("POST", "/v1/readings"),
        ("GET", "/v1/readings"),
        ("GET", "/v1/readings/sums"),
        ("GET", "/v1/readings/accesses"),
        ("GET", "/v1/proofs/readings/{meter}/{mtu_start}"),
        ("GET", "/v1/market"),
        ("GET", "/v1/market/summary"),
        ("GET", "/v1/market/prices/{mtu_start}"),
        ("GET", "/v1/market/mtus"),
        ("GET", "/v1/participants/{address}"),
        ("GET", "/v1/dispatch/events"),
        ("GET", "/v1/dispatch/schedules"),
        ("POST", "/v1/dispatch/answers"),
        ("POST", "/v1/transactions"),
        ("GET", "/v1/transactions/{transaction_hash}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    } <= routes


# ---- what the market says of itself


def test_the_market_says_where_it_is_and_what_signatures_must_cover(market: RunningNode) -> None:
    facts = market.get("/v1/market")
    contracts = facts["contracts"]
    assert (facts["chain_id"], facts["mtu_length_s"], facts["embedded_chain"]) == (31_337, 900, True)
    assert facts["order_domain"] == {
        "name": "gridledger",
        "version": "1",
        "chainId": 31_337,
        "verifyingContract": contracts["EnergyTrading"],
    }
    assert facts["dispatch_domain"]["verifyingContract"] == contracts["EnergyDispatching"]
    assert facts["zones"] == [{"zone": 1, "grid_operator": key("grid_operator").address, "meters": 2}]
    assert facts["accounts"]["supplier"] == key("supplier").address
    assert facts["block"]["time"] >= GENESIS_TIME_S
    assert facts["now"] == market.node.now
    assert "detectable" in facts["promise"]


def test_the_prices_of_an_mtu_come_with_its_gate(market: RunningNode) -> None:
    assert market.get(f"/v1/market/prices/{MTU_START}") == {
        "mtu_start": MTU_START,
        "gate_closure": MTU_START - 300,
        "feed_in_cents_per_mwh": 8_000,
        "retail_cents_per_mwh": 32_000,
        "floor_cents_per_mwh": 8_000,
        "cap_cents_per_mwh": 32_000,
        "surplus_cents_per_mwh": 7_500,
        "shortage_cents_per_mwh": 32_500,
        "grid_fee_cents_per_mwh": 2_000,
        "low_carbon_relief_cents_per_mwh": 1_000,
    }


def test_a_role_holder_has_a_page_without_being_a_member(market: RunningNode) -> None:
    told = market.participant(key("oracle"))
    assert (told["supplier"], told["meters"], told["next_nonce"]) == (None, [], 0)
    assert market.participant(key("supplier"))["supplier"] is None


# ---- orders


@pytest.mark.parametrize(
    ("quantity", "price"), [("0.6", "20"), ("0.600", "20.000"), ("0.600000000", "20.0"), ("00.6", "020")]
)
def test_decimals_mean_the_same_however_they_are_written(market: RunningNode, quantity: str, price: str) -> None:
    body = market.order_body(market.order(Side.BUY)) | {"quantity_kwh": quantity, "price_cents_per_kwh": price}
    answer = market.post("/v1/orders", body)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["quantity_wh"], answer.json()["limit_cents_per_mwh"]) == (600, 20_000)
    assert market.cancel(answer.json()["uid"], BUYER).status_code == 200


def test_an_address_in_lower_case_is_the_same_owner(market: RunningNode) -> None:
    body = market.order_body(market.order(Side.BUY)) | {"owner": BUYER.address.lower()}
    answer = market.post("/v1/orders", body)
    assert (answer.status_code, answer.json()["owner"]) == (201, BUYER.address)
    assert market.cancel(answer.json()["uid"], BUYER).status_code == 200


def test_an_order_may_leave_out_what_has_a_default(market: RunningNode) -> None:
    body = market.order_body(market.order(Side.SELL))
    for name in ("product", "pricing", "last_mtu_start"):
        del body[name]
    answer = market.post("/v1/orders", body)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["product"], told["pricing"], told["last_mtu_start"]) == ("any", "limit", MTU_START)
    assert market.cancel(told["uid"], SELLER).status_code == 200


def test_a_posted_order_is_told_again_with_the_same_receipt(market: RunningNode) -> None:
    posted = market.accept(market.order(Side.BUY, quantity_wh=7), client_id="seven")
    told = market.get(f"/v1/orders/{posted['uid']}")
    assert told == posted | {"mtus": []}
    assert (told["state"], told["client_id"], told["quantity_wh"], told["zone"]) == ("open", "seven", 7, 1)
    assert (told["meter"], told["side"]) == (BUY_METER, "buy")
    committed = int(market.participant(BUYER)["committed_microcents"])
    assert committed == 7 * 22_000
    answer = market.cancel(posted["uid"], BUYER)
    assert answer.headers["cache-control"] == "no-store"
    assert market.participant(BUYER)["committed_microcents"] == "0"


def test_a_bulk_cancellation_says_which_orders_it_took(market: RunningNode) -> None:
    uids = [market.accept(market.order(Side.BUY, quantity_wh=1))["uid"] for _ in range(3)]
    cancelled = market.salt - 1
    body = market.cancel_up_to_body(BUYER, cancelled)
    answer = market.post("/v1/orders/cancellations", body)
    assert (answer.status_code, answer.json()["cancelled"]) == (200, uids[:2])
    again = market.post("/v1/orders/cancellations", body).json()
    assert (again["cancelled"], again["receipt"]) == ([], answer.json()["receipt"])
    later = market.post("/v1/orders", market.order_body(market.order(Side.BUY, quantity_wh=2, salt=cancelled)))
    assert_problem(later, 409, "salt-cancelled", cancelled_up_to=cancelled)
    assert [market.get(f"/v1/orders/{uid}")["state"] for uid in uids] == ["cancelled", "cancelled", "open"]
    assert market.cancel(uids[2], BUYER).status_code == 200


def test_a_standing_pegged_low_carbon_order_is_told_as_it_was_signed(market: RunningNode) -> None:
    order = market.order(
        Side.BUY, last_mtu_start=MTU_START + 900, product=Product.LOW_CARBON, pricing=Pricing.PEGGED, quantity_wh=1
    )
    told = market.get(f"/v1/orders/{market.accept(order)['uid']}")
    assert (told["product"], told["pricing"]) == ("low_carbon", "pegged")
    assert (told["first_mtu_start"], told["last_mtu_start"], told["mtus"]) == (MTU_START, MTU_START + 900, [])
    assert market.cancel(told["uid"], BUYER).status_code == 200


def test_a_deal_is_told_again_with_the_same_receipt_and_committed_by_its_buyer(market: RunningNode) -> None:
    later = MTU_START + 9_000
    offer = market.accept(market.order(Side.SELL, mtu_start=later))["uid"]
    before = int(market.participant(BUYER)["committed_microcents"])
    deal = market.deal(offer, mtu_start=later, quantity_wh=250)
    assert market.get(f"/v1/deals/{deal['uid']}") == deal
    assert (deal["state"], deal["offer_uid"], deal["mtu_start"], deal["quantity_wh"]) == ("open", offer, later, 250)
    assert (deal["meter"], deal["zone"], deal["receipt"]["order_uid"]) == (BUY_METER, 1, deal["uid"])
    assert int(market.participant(BUYER)["committed_microcents"]) - before == 250 * 12_000


def test_a_salt_of_64_bits_is_kept_exactly(market: RunningNode) -> None:
    posted = market.accept(market.order(Side.BUY, quantity_wh=1, salt=2**64 - 1))
    assert posted["salt"] == "18446744073709551615"
    assert market.cancel(posted["uid"], BUYER).status_code == 200


def test_500_orders_of_a_batch_are_answered_in_their_order(market: RunningNode) -> None:
    bodies: list[dict[str, Any]] = [market.order_body(market.order(Side.BUY, quantity_wh=1)) for _ in range(20)] * 25
    results = market.post("/v1/orders/batch", {"orders": bodies}).json()["results"]
    assert [result["status"] for result in results] == [201] * 500
    numbers = [result["order"]["receipt"]["running_number"] for result in results]
    assert numbers == numbers[:20] * 25
    assert numbers[:20] == list(range(numbers[0], numbers[0] + 20))
    for result in results[:20]:
        assert market.cancel(result["order"]["uid"], BUYER).status_code == 200


def test_mtus_are_listed_oldest_first_between_two_moments(market: RunningNode) -> None:
    assert market.get("/v1/market/mtus", zone=1)["mtus"] == []
    assert market.get("/v1/market/mtus", zone=2)["mtus"] == []
    assert market.view("ParticipantRegistry", "meterCount") == (len((SELL_METER, BUY_METER)),)
