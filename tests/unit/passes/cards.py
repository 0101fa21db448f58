"""Cards and pictures that the tests of `passes` share."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from passes.apple.development import DevelopmentCertificates
from passes.apple.signing import Signer
from passes.content import (
    CardCode,
    Colors,
    PassContent,
    PassField,
    PassImages,
    Picture,
    Place,
    Scaled,
)

NOW = datetime(2026, 11, 23, 16, 30, tzinfo=UTC)
PASS_TYPE_ID = "pass.com.example.loyalty"
TEAM_ID = "TEAM123456"


def loaded_signer(certificates: DevelopmentCertificates, **changes: Any) -> Signer:
    """The signer of these certificates, some of its parts replaced."""
    parts = {
        "certificate_pem": certificates.pass_certificate,
        "key_pem": certificates.pass_key,
        "intermediates_pem": certificates.intermediate,
        "pass_type_id": PASS_TYPE_ID,
        "team_id": TEAM_ID,
    }
    return Signer.load(**{**parts, **changes})


def a_png(width: int = 38, height: int = 38) -> bytes:
    """Return a small grey PNG, made here so that these tests do not depend on the artwork."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + b"\x80" * width for _ in range(height))
    header = struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pictures(width: int, height: int) -> Scaled:
    return Scaled(*(Picture.of(a_png(width * scale, height * scale)) for scale in (1, 2, 3)))


IMAGES = PassImages(icon=pictures(38, 38), logo=pictures(160, 50), strip=pictures(375, 144))


def a_card(**changes) -> PassContent:
    card = PassContent(
        serial_number="0193-card.1",
        organization_name="Cafe Ohrid",
        program_name="Cafe Ohrid",
        description="Cafe Ohrid loyalty card",
        colors=Colors(background="#1F3A5F", foreground="#FFFFFF", label="#C9D6E8"),
        card=CardCode(number="4821 0077 3310", message="482100773310", caption="4821 0077 3310"),
        points=PassField(key="points", label="POINTS", value=126, change_message="You have %@ points"),
        tier=PassField(key="tier", label="STATUS", value="Silver"),
        member=PassField(key="member", label="MEMBER", value="Ana"),
        progress=(PassField(key="challenge.dinner", label="DINNER", value="2 of 3"),),
        news=PassField(key="news", label="News", value="Welcome!", change_message="%@"),
        back=(
            PassField(
                key="page",
                label="My page",
                value="Open my page",
                link="https://wallet.example.com/m/1?a=b&c=d",
            ),
            PassField(
                key="ends",
                label="Points expire",
                value=datetime(2027, 1, 31, 22, 59, tzinfo=UTC),
                date_style="medium",
                time_style="none",
            ),
            PassField(key="worth", label="Worth", value=12.5, currency_code="EUR"),
        ),
        places=(Place(latitude=41.11, longitude=20.8, relevant_text="Dobredojde!"),),
        max_distance_meters=200,
        images=IMAGES,
        translations={"mk": {"POINTS": "ПОЕНИ", 'Say "hi"\\': 'Кажи\n"здраво"'}, "ru": {"POINTS": "БАЛЛЫ"}},
        update_url="https://wallet.example.com/apple",
        authentication_token="0123456789abcdef0123",
        expires_at=datetime(2027, 12, 31, 23, 0, tzinfo=UTC),
    )
    return replace(card, **changes)
