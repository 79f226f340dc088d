"""Which URLs the node posts to: nothing a member may name leads into the network the node stands in."""

import pytest

from gridledger.webhooks.targets import AllowList, TargetGuard, WebhookAllowMalformed, WebhookUrlRefused, resolve_host

PUBLIC = "93.184.215.14"
PRIVATE = {
    "loopback": "127.0.0.1",
    "another loopback": "127.8.9.1",
    "private 10": "10.1.2.3",
    "private 172": "172.16.0.1",
    "private 192": "192.168.1.1",
    "link-local": "169.254.0.7",
    "metadata": "169.254.169.254",
    "carrier's": "100.64.0.1",
    "unspecified": "0.0.0.0",
    "broadcast": "255.255.255.255",
    "multicast": "224.0.1.1",
    "reserved": "240.0.0.1",
    "benchmark": "198.18.0.1",
    "IPv6 loopback": "::1",
    "IPv6 unspecified": "::",
    "IPv6 link-local": "fe80::1",
    "IPv6 link-local with scope": "fe80::1%lo",
    "IPv6 unique local": "fd00:ec2::254",
    "IPv6 site-local": "fec0::1",
    "IPv6 multicast": "ff02::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "compatible loopback": "::7f00:1",
    "NAT64 loopback": "64:ff9b::7f00:1",
    "local NAT64": "64:ff9b:1::1",
    "6to4 private": "2002:a00:1::",
    "Teredo": "2001:0:7f00:1::",
    "segment routing": "5f00::1",
}


def guard(allow: str = "", **names: list[str]) -> TargetGuard:
    """A guard whose resolver knows `example.org`, the given names with a dot for each underscore, and addresses."""
    known = {"example.org": [PUBLIC]} | {name.replace("_", "."): found for name, found in names.items()}

    def resolve(host: str, port: int) -> list[str]:
        return known[host] if host in known else resolve_host(host, port)

    return TargetGuard(AllowList.parse(allow), resolve)


def refusal(url: str, allow: str = "", **names: list[str]) -> str:
    with pytest.raises(WebhookUrlRefused) as caught:
        guard(allow, **names).check(url)
    return caught.value.reason


@pytest.mark.parametrize("address", PRIVATE.values(), ids=PRIVATE.keys())
def test_a_name_that_leads_to_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert "not public" in refusal("https://inside.test/hook", inside_test=[address])


@pytest.mark.parametrize("address", PRIVATE.values(), ids=PRIVATE.keys())
def test_one_private_address_among_public_ones_is_enough_to_refuse(address: str) -> None:
    assert "not public" in refusal("https://inside.test/hook", inside_test=[PUBLIC, address])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0"],
)
def test_no_way_to_write_a_private_address_helps(host: str) -> None:
    assert refusal(f"https://{host}/hook")


def test_a_name_without_an_address_is_refused_in_the_same_words_as_a_private_one() -> None:
    nowhere = refusal("https://nowhere.test/", nowhere_test=[])
    assert nowhere == refusal("https://inside.test/", inside_test=["10.0.0.1"])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "https:///hook",
        "example.org",
        "",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "https://example.org/#part",
        "https://exa mple.org/",
        "https://example.org\\@inside.test/",
        "https://example%2eorg/",
        "https://a\n.org/",
        "https://[fe80::1%25lo]/",
        "https://example.org:99999999/",
        "https://" + "a" * 2_048,
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    assert refusal(url)


@pytest.mark.parametrize("url", ["http://example.org/", "https://example.org:22/", "https://example.org:8080/"])
def test_only_https_on_its_usual_ports_is_called(url: str) -> None:
    assert "only" in refusal(url)


@pytest.mark.parametrize("url", ["https://example.org/hook?a=b", "https://EXAMPLE.org:8443/", "https://example.org."])
def test_a_public_https_address_is_called_at_the_address_that_was_checked(url: str) -> None:
    assert guard().check(url).addresses == (PUBLIC,)


def test_an_allowed_network_may_be_called_by_http_on_any_port_and_no_other_may() -> None:
    target = guard("127.0.0.0/8, ::1").check("http://127.0.0.1:5000/hook")
    assert (target.addresses, target.url.port) == (("127.0.0.1",), 5000)
    assert guard("::1").check("http://[::1]:5000/").addresses == ("::1",)
    assert refusal("http://10.0.0.1/", "127.0.0.0/8")
    assert refusal("http://127.0.0.1/", "10.0.0.0/8")
    assert refusal("http://both.test/", "127.0.0.0/8", both_test=["127.0.0.1", "10.0.0.1"])


def test_an_allowed_name_may_be_called_wherever_it_leads() -> None:
    assert guard("inside.test", inside_test=["10.0.0.1"]).check("http://Inside.test:81/").addresses == ("10.0.0.1",)
    assert refusal("https://deep.inside.test/", "inside.test", deep_inside_test=["10.0.0.1"])


@pytest.mark.parametrize("text", ["10.0.0.1/8", "a b", "http://x", "*", "-x"])
def test_an_allow_list_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(WebhookAllowMalformed):
        AllowList.parse(f"127.0.0.1,{text}")


def test_an_empty_allow_list_allows_nothing() -> None:
    assert AllowList.parse(" , ,") == AllowList()
