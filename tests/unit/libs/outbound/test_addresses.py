"""What may be called, by its looks and by what it resolves to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from libs.outbound.addresses import AddressRefused, check_resolved, check_url, is_public

REFUSED = """
    http://send.example.com
    HTTP://send.example.com
    ftp://send.example.com
    file:///etc/passwd
    gopher://send.example.com
    unix:///var/run/docker.sock
    //send.example.com
    send.example.com
    https://
    https:///path
    https://[broken
    https://send.example.com:80
    https://send.example.com:22
    https://send.example.com:0
    https://send.example.com:99999
    https://user@send.example.com
    https://user:password@send.example.com
    https://@send.example.com
    https://send.example.com@10.0.0.1
    https://send.example.com\\@10.0.0.1
    https://send.example.com/?next=1
    https://send.example.com/#a
    https://send.example.com?
    https://127.0.0.1
    https://127.0.0.1:8443
    https://127.0.0.1.
    https://127.1
    https://127.0.1
    https://2130706433
    https://0x7f000001
    https://0x7f.1
    https://0177.0.0.1
    https://017700000001
    https://0
    https://0.0.0.0
    https://10.1.2.3
    https://100.64.0.1
    https://100.100.100.200
    https://168.63.129.16
    https://169.254.169.254
    https://172.16.0.1
    https://172.31.255.255
    https://192.0.0.192
    https://192.0.2.1
    https://192.168.1.1
    https://198.18.0.1
    https://224.0.0.1
    https://240.0.0.1
    https://255.255.255.255
    https://127。0。0。1
    https://１２７.0.0.1
    https://[::1]
    https://[::]
    https://[::ffff:127.0.0.1]
    https://[::ffff:169.254.169.254]
    https://[::ffff:8.8.8.8]
    https://[::127.0.0.1]
    https://[64:ff9b::a9fe:a9fe]
    https://[64:ff9b:1::1]
    https://[2002:7f00:1::]
    https://[2001:0:7f00:1::]
    https://[2001:db8::1]
    https://[fc00::1]
    https://[fd00:ec2::254]
    https://[fe80::1]
    https://[fe80::1%25eth0]
    https://[fec0::1]
    https://[ff02::1]
    https://[100::1]
    https://localhost
    https://LOCALHOST
    https://localhost.
    https://foo.localhost
    https://metadata
    https://metadata.google.internal
    https://metadata.google.internal.
    https://printer.local
    https://router.home.arpa
    https://send..example.com
    https://-send.example.com
    https://send_%00.example.com
    https://send.example.com%2e10.0.0.1
    https://例え。localhost
""".split()

ALLOWED = """
    https://send.example.com
    https://SEND.example.com/panel/api
    https://send.example.com:443
    https://send.example.com:8443/x
    https://send.example.com.
    https://bücher.example.com
    https://xn--bcher-kva.example.com
    https://8.8.8.8
    https://[2606:4700::1111]
    https://my_panel.example.com
""".split()


@pytest.mark.parametrize(
    "url", [*REFUSED, "https://send.example.com/ x", "https://send.example.com/\n", "https://a\tb.example.com"]
)
def test_what_is_not_called(url):
    with pytest.raises(AddressRefused) as refused:
        check_url(url)

    assert "127.0.0.1" not in str(refused.value)


def test_there_is_an_end_to_an_address():
    with pytest.raises(AddressRefused):
        check_url("https://send.example.com/" + "a" * 500)


@pytest.mark.parametrize("url", ALLOWED)
def test_what_is_called(url):
    check_url(url)


SIMULATORS = "http://127.0.0.1:8123/api https://127.0.0.1 http://localhost:9 http://[::1]:8123 http://127.9.9.9".split()


@pytest.mark.parametrize("url", SIMULATORS)
def test_this_machine_is_called_where_that_is_allowed_and_nothing_else_by_that(url):
    check_url(url, allow_loopback=True)
    with pytest.raises(AddressRefused):
        check_url(url)


OWN = ("127.0.0.1", "127。0。0。1", "[::1]", "localhost", "LOCALHOST")


@pytest.mark.parametrize("url", [one for one in REFUSED if not any(own in one for own in OWN)])
def test_allowing_this_machine_allows_nothing_else(url):
    with pytest.raises(AddressRefused):
        check_url(url, allow_loopback=True)


# Of each network its first and last address, and what lies beside it where that is public.
EDGES = {
    "0.0.0.0": False, "0.255.255.255": False, "1.0.0.0": True,
    "9.255.255.255": True, "10.0.0.0": False, "10.255.255.255": False, "11.0.0.0": True,
    "100.63.255.255": True, "100.64.0.0": False, "100.127.255.255": False, "100.128.0.0": True,
    "126.255.255.255": True, "127.0.0.0": False, "127.255.255.255": False, "128.0.0.0": True,
    "169.253.255.255": True, "169.254.0.0": False, "169.254.255.255": False, "169.255.0.0": True,
    "172.15.255.255": True, "172.16.0.0": False, "172.31.255.255": False, "172.32.0.0": True,
    "191.255.255.255": True, "192.0.0.0": False, "192.0.0.255": False, "192.0.1.0": True, "192.0.2.0": False,
    "192.88.99.1": False, "192.167.255.255": True, "192.168.0.0": False, "192.168.255.255": False,
    "198.17.255.255": True, "198.18.0.0": False, "198.19.255.255": False, "198.20.0.0": True, "198.51.100.9": False,
    "203.0.113.9": False, "223.255.255.255": True, "224.0.0.0": False, "239.255.255.255": False,
    "240.0.0.0": False, "255.255.255.255": False, "168.63.129.15": True, "168.63.129.16": False,
    "1fff:ffff::": False, "2000::": True, "2001:1ff:ffff::": False, "2001:200::": True, "2001:db8::": False,
    "2001:db9::": True, "2001:db7::": True, "2002::": False, "2003::": True, "3ffe:ffff::": True, "3fff::": False,
    "3fff:1000::": True, "4000::": False, "::ffff:8.8.8.8": False, "64:ff9b::808:808": False, "fe80::1%eth0": False,
}  # fmt: skip


@pytest.mark.parametrize(("address", "public"), EDGES.items())
def test_where_the_public_internet_ends(address, public):
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        ["10.0.0.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["10.0.0.1", "8.8.8.8"],
        ["8.8.8.8", "::1"],
        ["2606:4700::1", "fd00::1"],
    ],
)
def test_all_that_a_name_resolves_to_must_do(addresses):
    for allow_loopback in (False, True):
        with pytest.raises(AddressRefused) as refused:
            check_resolved(addresses, 443, allow_loopback=allow_loopback)
        assert not any(one in str(refused.value) for one in addresses)


def test_a_name_of_this_machine_is_all_of_this_machine():
    check_resolved(["127.0.0.1", "::1"], 8123, allow_loopback=True)
    for mixed in (["127.0.0.1", "8.8.8.8"], ["127.0.0.1", "10.0.0.1"]):
        with pytest.raises(AddressRefused):
            check_resolved(mixed, 443, allow_loopback=True)
    with pytest.raises(AddressRefused):
        check_resolved(["8.8.8.8"], 8123, allow_loopback=True)
