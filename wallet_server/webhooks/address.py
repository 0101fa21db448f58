"""To which addresses messages may go: this server must not be a way into its own network. Pure.

The rules are applied twice: to what is typed, and to each address that a name stands for at the moment of
sending; the connection then goes to exactly the address that was looked at (no DNS rebinding).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from wallet_server.errors import DomainError
from wallet_server.settings import Settings

URL_LENGTH_MAX: Final = 2_000
METADATA_ADDRESSES: Final = frozenset(
    {
        ip_address("169.254.169.254"),
        ip_address("169.254.170.2"),
        ip_address("168.63.129.16"),  # Azure's is a public address
        ip_address("100.100.100.200"),
        ip_address("192.0.0.192"),
        ip_address("fd00:ec2::254"),
        ip_address("fd20:ce::254"),
    }
)
"""Where clouds tell a machine its own secrets: refused whatever is allowed."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_SHARED: Final = IPv4Network("100.64.0.0/10")  # RFC 6598, used by private networks over the internet
_PORTS: Final = {"https": 443, "http": 80}

IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """``private``: addresses of one's own network are allowed; ``loopback``: this machine's, also over http."""

    private: bool = False
    loopback: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """An address in its parts: ``host`` in ASCII without brackets, ``path`` with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What stands in the ``Host`` header."""
        return _authority(self.scheme, self.host, self.port)

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.authority}{self.path}"


class ForbiddenAddressError(Exception):
    """The address is none that messages may go to; says which and why."""


def address_policy(settings: Settings) -> AddressPolicy:
    """What this installation allows: ``WALLET_WEBHOOK_PRIVATE``, and in a sandbox this machine itself."""
    return AddressPolicy(private=settings.WALLET_WEBHOOK_PRIVATE, loopback=settings.WALLET_SANDBOX)


def parse_target(url: str, policy: AddressPolicy) -> Target:
    """Read an address that somebody typed.

    Raises ``DomainError(validation)`` with ``field`` ``url`` and ``reason``: ``url_form``, ``url_https``,
    ``url_login`` or ``url_private``. A name is not looked up here: what it stands for is judged when
    something is sent.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").encode("idna").decode("ascii")
        port = parts.port
    except ValueError:  # a port that is none, brackets that do not close, a label that is too long
        raise _refused("url_form", "the address is malformed") from None
    if not host or len(url) > URL_LENGTH_MAX or not url.isprintable() or " " in url or port == 0:
        raise _refused("url_form", f"the address is malformed, or longer than {URL_LENGTH_MAX} characters")
    if parts.username is not None or parts.password is not None:
        raise _refused("url_login", "a login does not belong into the address: check the signature instead")
    if parts.fragment:
        raise _refused("url_form", "the address has a fragment (#…), which is never sent")
    if parts.scheme not in _PORTS or (parts.scheme == "http" and not (policy.loopback and _is_loopback_name(host))):
        raise _refused("url_https", "the address must begin with https://")
    try:
        check_address(parts.scheme, _literal(host), policy)
    except ForbiddenAddressError as error:
        raise _refused("url_private", str(error)) from None
    path = parts.path or "/"
    target = Target(parts.scheme, host, port or _PORTS[parts.scheme], f"{path}?{parts.query}" if parts.query else path)
    if not target.path.isascii():
        raise _refused("url_form", "write the path of the address in ASCII, with %XX for other letters")
    return target


def check_address(scheme: str, address: IPAddress | None, policy: AddressPolicy) -> None:
    """Judge the address that a connection would go to; ``None`` is a name that nobody has looked up yet.

    Raises :class:`ForbiddenAddressError`.
    """
    if address is None:
        return
    address = _plain(address)
    if address in METADATA_ADDRESSES or address.is_multicast or address.is_unspecified:
        raise ForbiddenAddressError(f"{address} is no address that messages may go to")
    if address.is_loopback:
        if policy.loopback or (policy.private and scheme == "https"):
            return
        raise ForbiddenAddressError(f"{address} is this machine itself")
    if scheme != "https":
        raise ForbiddenAddressError("only this machine itself may be written to without https")
    if address.is_link_local:
        raise ForbiddenAddressError(f"{address} is a link-local address")
    if not address.is_global and not (policy.private and (address.is_private or address in _SHARED)):
        raise ForbiddenAddressError(f"{address} is no address of the public internet")


def ip_url(target: Target, address: IPAddress) -> str:
    """The target's address with the name replaced by what was looked up and judged."""
    return f"{target.scheme}://{_authority(target.scheme, str(address), target.port)}{target.path}"


def _authority(scheme: str, host: str, port: int) -> str:
    written = f"[{host}]" if ":" in host else host
    return written if port == _PORTS[scheme] else f"{written}:{port}"


def _plain(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 one only wraps: ::ffff:127.0.0.1, 64:ff9b::7f00:1, 2002:7f00:1::."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return address


def _literal(host: str) -> IPAddress | None:
    try:
        return ip_address(host)
    except ValueError:
        # "localhost" is looked up nowhere: say at once what would be said at sending.
        return ip_address("127.0.0.1") if _is_loopback_name(host) else None


def _is_loopback_name(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(reason: str, detail: str) -> DomainError:
    return DomainError("validation", detail, field="url", reason=reason)
