"""Just enough DER to write a CMS signature and to take one apart (X.690).

The signature's structure is the same for every pass but for a digest, a time and the RSA value, so it is
laid out by hand once per certificate: that is what makes signing cost little more than RSA itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

INTEGER = 0x02
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31
CONTEXT_0 = 0xA0


class DerError(ValueError):
    """The bytes are not the DER that was expected."""


def encode(tag: int, *contents: bytes) -> bytes:
    """Return one tag-length-value of the joined contents."""
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + content


def encode_set(elements: Iterable[bytes], tag: int = SET) -> bytes:
    """Return a SET OF: DER wants its elements sorted by their encodings (X.690 11.6)."""
    return encode(tag, *sorted(elements))


def encode_integer(value: int) -> bytes:
    return encode(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def encode_oid(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    content = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | (arc & 0x7F))
        content.extend(reversed(septets))
    return encode(OBJECT_IDENTIFIER, bytes(content))


@dataclass(frozen=True, slots=True)
class Element:
    """One decoded tag-length-value. `raw` is the whole, `content` the value."""

    tag: int
    content: bytes
    raw: bytes

    def children(self) -> list[Element]:
        """Return the elements inside a constructed element."""
        if not self.tag & 0x20:
            raise DerError("a constructed element was expected")
        elements: list[Element] = []
        rest = self.content
        while rest:
            element, rest = _decode_first(rest)
            elements.append(element)
        return elements

    def integer(self) -> int:
        if self.tag != INTEGER or not self.content:
            raise DerError("an integer was expected")
        return int.from_bytes(self.content, "big", signed=True)

    def expect(self, tag: int) -> Element:
        if self.tag != tag:
            raise DerError(f"tag {tag:#04x} was expected, not {self.tag:#04x}")
        return self


def decode(data: bytes) -> Element:
    """Return the one element that `data` is. Raises `DerError` on anything more or less."""
    element, rest = _decode_first(data)
    if rest:
        raise DerError("bytes follow the end of the structure")
    return element


def _decode_first(data: bytes) -> tuple[Element, bytes]:
    if len(data) < 2:
        raise DerError("the structure is cut short")
    tag, length, start = data[0], data[1], 2
    if tag & 0x1F == 0x1F:
        raise DerError("tags of several bytes do not occur in a signature")
    if length == 0x80:
        raise DerError("the length is indefinite: that is BER, not DER")
    if length > 0x80:
        size = length & 0x7F
        if size > 4:
            raise DerError("the length is absurd")
        start += size
        length = int.from_bytes(data[2:start], "big")
    end = start + length
    if end > len(data):
        raise DerError("the structure is cut short")
    return Element(tag, data[start:end], data[:end]), data[end:]
