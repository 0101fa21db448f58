"""Where messages may go: nowhere near this server's own network, however the address is dressed up."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from wallet_server.errors import DomainError
from wallet_server.webhooks.address import (
    METADATA_ADDRESSES,
    AddressPolicy,
    ForbiddenAddressError,
    check_address,
    ip_url,
    parse_target,
)

STRICT = AddressPolicy()
PRIVATE = AddressPolicy(private=True)
SANDBOX = AddressPolicy(loopback=True)

PUBLIC = ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
OWN = ["10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "fd12:3456::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]
LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
NEVER = [
    *map(str, METADATA_ADDRESSES),
    *("169.254.0.1", "fe80::1", "224.0.0.1", "239.255.255.250", "ff02::1", "0.0.0.0", "::"),
    *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
]


def is_allowed(address: str, policy: AddressPolicy, scheme: str = "https") -> bool:
    try:
        check_address(scheme, ip_address(address), policy)
    except ForbiddenAddressError:
        return False
    return True


@pytest.mark.parametrize("address", sorted(PUBLIC))
def test_the_public_internet_is_allowed(address) -> None:
    assert is_allowed(address, STRICT)
    assert not is_allowed(address, SANDBOX, "http")


@pytest.mark.parametrize("address", sorted([*OWN, *LOOPBACK]))
def test_ones_own_network_is_refused_unless_the_setting_allows_it(address) -> None:
    assert not is_allowed(address, STRICT)
    assert is_allowed(address, PRIVATE)
    assert not is_allowed(address, PRIVATE, "http")


@pytest.mark.parametrize("address", sorted(LOOPBACK))
def test_a_sandbox_may_write_to_its_own_machine_also_over_http(address) -> None:
    assert is_allowed(address, SANDBOX)
    assert is_allowed(address, SANDBOX, "http")


@pytest.mark.parametrize("address", sorted(OWN))
def test_a_sandbox_may_not_write_to_the_network_around_it(address) -> None:
    assert not is_allowed(address, SANDBOX)
    assert not is_allowed(address, SANDBOX, "http")


@pytest.mark.parametrize("address", sorted(NEVER))
def test_some_addresses_are_refused_whatever_is_allowed(address) -> None:
    for policy in (STRICT, PRIVATE, SANDBOX, AddressPolicy(private=True, loopback=True)):
        assert not is_allowed(address, policy), policy


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "url_form"),
        ("hooks.example.com", "url_form"),
        ("https://", "url_form"),
        ("https://[::1", "url_form"),
        ("https://shop.example:99999/", "url_form"),
        ("https://shop.example:0/", "url_form"),
        ("https://shop.example/a b", "url_form"),
        ("https://shop.example/\x00", "url_form"),
        ("https://shop.example/#part", "url_form"),
        ("https://shop.example/продажи", "url_form"),
        (f"https://{'a' * 64}.example/", "url_form"),
        ("https://shop.example/" + "a" * 2000, "url_form"),
        ("https://ana:secret@shop.example/", "url_login"),
        ("https://ana@shop.example/", "url_login"),
        ("http://shop.example/", "url_https"),
        ("ftp://shop.example/", "url_https"),
        ("file://host/etc/passwd", "url_https"),
        ("gopher://shop.example/", "url_https"),
        ("https://10.1.2.3/", "url_private"),
        ("https://[::1]/", "url_private"),
        ("https://169.254.169.254/latest/meta-data/", "url_private"),
        ("https://localhost/", "url_private"),
        ("https://LOCALHOST./", "url_private"),
        ("https://a.localhost/", "url_private"),
        ("http://localhost/", "url_https"),
    ],
)
def test_what_is_typed_is_refused_with_a_reason(url, reason) -> None:
    with pytest.raises(DomainError) as refused:
        parse_target(url, STRICT)
    assert (refused.value.code, refused.value.extra) == ("validation", {"field": "url", "reason": reason})


def test_an_address_is_kept_in_one_form() -> None:
    assert parse_target(" https://Shop.Example./hook?a=1 ", STRICT).url == "https://shop.example/hook?a=1"
    assert parse_target("https://shop.example:443", STRICT).url == "https://shop.example/"
    assert parse_target("https://охрид.мкд:8443/x", STRICT).url == "https://xn--d1ahriy.xn--d1alf:8443/x"
    assert parse_target("https://[2606:2800::1]:8443/", STRICT).url == "https://[2606:2800::1]:8443/"
    assert parse_target("http://127.0.0.1:8080/x", SANDBOX).url == "http://127.0.0.1:8080/x"
    assert parse_target("https://10.0.0.7/x", PRIVATE).url == "https://10.0.0.7/x"


def test_the_name_is_replaced_by_the_number_that_was_judged() -> None:
    target = parse_target("https://shop.example:8443/hook?a=1", STRICT)
    assert ip_url(target, ip_address("93.184.215.14")) == "https://93.184.215.14:8443/hook?a=1"
    assert ip_url(target, ip_address("2606:2800::1")) == "https://[2606:2800::1]:8443/hook?a=1"
    assert target.authority == "shop.example:8443"
