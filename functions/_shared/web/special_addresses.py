"""IANA's special-purpose address registries: blocks without public hosts, refused by the SSRF protection.

A copy, as Python's ``ipaddress`` has the registries of its release: 3.11 takes fec0::/10, 3fff::/20 and 192.88.99.0/24
for public. Blocks that IANA calls globally reachable are listed, too (anycast relays, AS112): infrastructure protocols
answer there, no host that serves pictures or receives webhooks.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network

# IANA IPv4 Special-Purpose Address Registry, as of 2025.
_IPV4_SPECIAL_PURPOSE = {
    "0.0.0.0/8": "This network",
    "10.0.0.0/8": "Private-Use",
    "100.64.0.0/10": "Shared Address Space",
    "127.0.0.0/8": "Loopback",
    "169.254.0.0/16": "Link Local",
    "172.16.0.0/12": "Private-Use",
    "192.0.0.0/24": "IETF Protocol Assignments",
    "192.0.0.0/29": "IPv4 Service Continuity Prefix",
    "192.0.0.8/32": "IPv4 dummy address",
    "192.0.0.9/32": "Port Control Protocol Anycast",
    "192.0.0.10/32": "Traversal Using Relays around NAT Anycast",
    "192.0.0.170/31": "NAT64/DNS64 Discovery",
    "192.0.2.0/24": "Documentation (TEST-NET-1)",
    "192.31.196.0/24": "AS112-v4",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "Deprecated (6to4 Relay Anycast)",
    "192.88.99.2/32": "6a44-relay anycast address",
    "192.168.0.0/16": "Private-Use",
    "192.175.48.0/24": "Direct Delegation AS112 Service",
    "198.18.0.0/15": "Benchmarking",
    "198.51.100.0/24": "Documentation (TEST-NET-2)",
    "203.0.113.0/24": "Documentation (TEST-NET-3)",
    "240.0.0.0/4": "Reserved",
    "255.255.255.255/32": "Limited Broadcast",
}
# IANA IPv4 Address Space Registry; and a cloud's metadata service on a formally public address.
_IPV4_OTHERS = {
    "224.0.0.0/4": "Multicast",
    "168.63.129.16/32": "Azure: the platform's own host, reached from inside every virtual machine",
}
# IANA IPv6 Special-Purpose Address Registry, as of 2025.
_IPV6_SPECIAL_PURPOSE = {
    "::1/128": "Loopback Address",
    "::/128": "Unspecified Address",
    "::ffff:0:0/96": "IPv4-mapped Address",
    "64:ff9b::/96": "IPv4-IPv6 Translat.",
    "64:ff9b:1::/48": "IPv4-IPv6 Translat.",
    "100::/64": "Discard-Only Address Block",
    "100:0:0:1::/64": "Dummy IPv6 Prefix",
    "2001::/23": "IETF Protocol Assignments",
    "2001::/32": "TEREDO",
    "2001:1::1/128": "Port Control Protocol Anycast",
    "2001:1::2/128": "Traversal Using Relays around NAT Anycast",
    "2001:1::3/128": "DNS-SD Service Registration Protocol Anycast",
    "2001:2::/48": "Benchmarking",
    "2001:3::/32": "AMT",
    "2001:4:112::/48": "AS112-v6",
    "2001:10::/28": "Deprecated (previously ORCHID)",
    "2001:20::/28": "ORCHIDv2",
    "2001:30::/28": "Drone Remote ID Protocol Entity Tags (DETs) Prefix",
    "2001:db8::/32": "Documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "Direct Delegation AS112 Service",
    "3fff::/20": "Documentation",
    "5f00::/16": "Segment Routing (SRv6) SIDs",
    "fc00::/7": "Unique-Local",
    "fe80::/10": "Link-Local Unicast",
}
# IANA Internet Protocol Version 6 Address Space, and RFC 4291.
_IPV6_OTHERS = {
    "::/96": "IPv4-Compatible Addresses (deprecated)",
    "fec0::/10": "Reserved by IETF (formerly Site-Local)",
    "ff00::/8": "Multicast",
}

IPV6_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only IPv6 block that IANA allocates from; the rest is reserved."""
NAT64 = IPv6Network("64:ff9b::/96")
"""Well-known NAT64 prefix (RFC 6052): a translator leads to the embedded IPv4 address."""
SPECIAL_IPV4: Mapping[IPv4Network, str] = {
    IPv4Network(network): name for network, name in (_IPV4_SPECIAL_PURPOSE | _IPV4_OTHERS).items()
}
SPECIAL_IPV6: Mapping[IPv6Network, str] = {
    IPv6Network(network): name for network, name in (_IPV6_SPECIAL_PURPOSE | _IPV6_OTHERS).items()
}
