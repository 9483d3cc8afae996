"""Addresses that somebody else chose: what is public by IANA's registries; what cannot be asked is refused at once."""

import ipaddress

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions._shared.errors import InvalidRequest
from functions._shared.web.addresses import host_of, is_public, literal, parse, pinned, public_https
from functions._shared.web.special_addresses import SPECIAL_IPV4, SPECIAL_IPV6
from tests.conftest import Edge
from tests.help import BODY, eventually

# Every entry of the three registries, written down a second time, by hand.
REGISTERED = [
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32",
    "192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32",
    "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
    "240.0.0.0/4", "255.255.255.255/32", "168.63.129.16/32", "::1/128", "::/128", "::/96", "64:ff9b:1::/48",
    "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128",
    "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28",
    "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
    "fec0::/10", "ff00::/8", "200::/7", "400::/6", "800::/5", "1000::/4", "4000::/3", "6000::/3", "8000::/3",
    "a000::/3", "c000::/3", "e000::/4", "f000::/5", "f800::/6", "fe00::/9", "::ffff:0:0:0/96",
]  # fmt: skip
EDGES = [
    (network, edge)
    for network in map(ipaddress.ip_network, REGISTERED)
    for edge in sorted({network[0], network[-1], network[network.num_addresses // 2]})
]
BESIDE = [
    "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0",
    "192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0", "192.88.98.255", "192.88.100.0",
    "192.167.255.255", "192.169.0.0", "192.175.47.255", "192.175.49.0", "198.17.255.255", "198.20.0.0",
    "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "168.63.129.15",
    "168.63.129.17", "93.184.216.34", "2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "2003::", "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",
    "2620:4f:8001::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", "2606:2800:220:1::1",
    "::ffff:93.184.216.34", "64:ff9b::5db8:d822",
]  # fmt: skip


@pytest.mark.parametrize(("network", "edge"), EDGES, ids=lambda it: str(it))
def test_no_block_that_iana_keeps_is_public(network, edge):
    assert not is_public(edge)


@pytest.mark.parametrize("address", BESIDE)
def test_what_lies_beside_is(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("network", [n for n in SPECIAL_IPV4 if n.prefixlen > 0], ids=str)
def test_an_ipv4_address_inside_an_ipv6_one_is_judged_as_itself(network):
    for prefix in ("::ffff:", "64:ff9b::"):
        assert not is_public(ipaddress.ip_address(f"{prefix}{network[-1]}"))


def test_no_entry_is_written_down_that_does_nothing():
    listed = {ipaddress.ip_network(entry) for entry in REGISTERED}
    known = set(SPECIAL_IPV4) | set(SPECIAL_IPV6)
    for network in known - {ipaddress.ip_network("192.0.0.170/31")}:
        carried = str(network) in {"::ffff:0:0/96", "64:ff9b::/96"}
        assert carried or network in listed, network


@given(st.ip_addresses())
@settings(max_examples=500)
def test_what_python_calls_private_is_never_public(address):
    if is_public(address):
        inner = getattr(address, "ipv4_mapped", None) or address
        assert inner.is_global or inner in ipaddress.ip_network("64:ff9b::/96")
        assert not inner.is_multicast


# What neither DNS nor a socket could be asked for.
IMPOSSIBLE = [
    "https://xn--/",
    "https://xn--a/",
    "https://pictures.xn--/x.png",
    "https://xn--zzzzzzzzzzz\u00e9/",
    "https://h:0/",
    "https://h:99999/",
    "https://h:-1/",
    "https://h:8a/",
    "https://a..b/",
    "https://.../",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 127 + "com/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[::1/",
    "https://%31.com/",
    "https://a%00b.com/",
    "https://a\\b/",
    "https://a b/",
    "https://a\tb/",
    "https://\u2460.com/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://1.2.3.4.5/",
    "https://127.0.0.1./",
    "https://user@h/",
    "https://:@h/",
    "https:///x",
    "https://" + "x" * 70_000,
]


@pytest.mark.parametrize("url", IMPOSSIBLE, ids=lambda url: ascii(url[:30]))
@pytest.mark.parametrize("field", ["source_image_url", "webhook_url"])
def test_an_address_that_cannot_be_asked_is_refused_at_once(idle_edge: Edge, db, field, url):
    answer = idle_edge.post("start-generation", {**BODY, field: url})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert answer.json()["error"].startswith(f"{field}: ")
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 0}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x.png",
        "https://127.0.0.1/x.png",
        "https://[fec0::1]/x.png",
        "https://[64:ff9b::a9fe:a9fe]/x.png",
        "https://localhost/x.png",
        "https://168.63.129.16/metadata",
    ],
)
def test_a_source_that_would_not_be_fetched_is_refused_at_once(idle_edge: Edge, db, url):
    answer = idle_edge.post("start-generation", {**BODY, "source_image_url": url})
    assert answer.status_code == 400
    assert answer.json()["error"] in {
        "source_image_url: must be an https address",
        "source_image_url: the host is not on the public internet",
    }
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 0}


@pytest.mark.parametrize("name", ["process-generation", "generate-image"])
@pytest.mark.parametrize("url", ["https://xn--/", "https://h:0/", "https://2130706433/"])
def test_the_other_functions_refuse_it_too(idle_edge: Edge, name, url):
    body = {**BODY, "model_id": "google/nano-banana", "source_image_url": url}
    answer = idle_edge.post(name, body, idle_edge.service_role_key if "process" in name else "")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


def test_a_job_with_such_an_address_fails_at_once(edge: Edge, db):
    """Queued before it was refused, or by hand."""
    user = "11111111-1111-4111-8111-111111111111"
    [made] = db.execute(
        "select * from picture_edge.start_generation(%s, %s)",
        (
            user,
            '{"prompt": "x", "model_id": "google/nano-banana", "source_image_url": "https://xn--/"}',
        ),
    ).fetchall()
    query = "select errors from job_queue where id = %s and status = 'failed'"
    job = eventually(lambda: db.execute(query, (made["job_id"],)).fetchone())
    [error] = job["errors"]
    assert (error["class"], error["text"]) == (
        "bad_input",
        "source_image_url: is not a valid URL",
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com./x",
        "https://a_b.example.com:8443/x?y#z",
        "https://faß.de/",
        "https://xn--fa-hia.de/",
        "https://[2606:2800:220:1::1]:443/",
        "HTTPS://EXAMPLE.COM/",
        "https://1.1.1.1/",
    ],
)
def test_what_can_be_asked_is_taken(url):
    assert public_https(parse(url)).scheme == "https"


@given(st.text(max_size=40), st.sampled_from(["https://", "https://xn--", "https://[", "//", ""]))
@settings(max_examples=500)
def test_whatever_the_text_it_is_an_address_or_refused(text, start):
    base = httpx.URL("https://example.com/x")
    for given_base in (None, base):
        try:
            url = parse(start + text, relative_to=given_base)
        except InvalidRequest:
            continue
        assert literal(url) or host_of(url).isascii()


async def test_a_name_is_asked_for_in_the_spelling_it_was_decided_in(monkeypatch):
    """IDNA 2003, which sockets speak, has another host for faß.de than IDNA 2008."""
    asked = []

    async def resolve(_self, host, port, **_):
        asked.append(host)
        return [(2, 1, 6, "", ("93.184.216.34", port))]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", resolve)
    target = await pinned(parse("https://faß.de/x.png"))
    assert asked == ["xn--fa-hia.de"]
    assert target.headers["Host"] == target.extensions["sni_hostname"] == "xn--fa-hia.de"
