"""The demo program of ``up --demo``: a café with logins, a till key, and eight weeks of history.

Everything goes through the same services as real life; the random choices are seeded, so that two
newcomers see the same café.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.members.services import Enrol, enrol_many
from wallet_server.programs.definition import OutletRef, ProgramDefinition
from wallet_server.programs.file import ProductSection
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program, create_api_key
from wallet_server.programs.yaml_file import parse_program
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.purchases.services import record_purchases
from wallet_server.staff.passwords import one_time_password
from wallet_server.staff.services import create_staff

if TYPE_CHECKING:
    from wallet_server.context import ServerContext

ACTOR = "system:demo"
WEEKS = 8
SHARE_PAID_WITH_POINTS = 0.08
SCOPES = ("earn", "redeem", "refund", "members", "adjust")
CHANNELS = ("poster", "till", "web", "social", "referral")
PEOPLE = (
    "Ана Петровска", "Марко Стојановски", "Елена Димитрова", "Никола Ристески", "Ивана Трајковска",
    "Дејан Николоски", "Сара Илиеска", "Филип Јованов", "Марија Костова", "Бојан Здравески",
    "Olivia Hartmann", "Luca Moretti", "Emma Lindqvist", "Noah Fischer", "Sofia Almeida",
    "Jonas Weber", "Mila Novak", "Theo Laurent", "Clara Jensen", "Adam Kowalski",
    "Анна Соколова", "Дмитрий Орлов", "Мария Волкова", "Алексей Морозов", "Ольга Лебедева",
    "Тамара Георгиева", "Стефан Митрев", "Катерина Божиновска", "Горан Велков", "Весна Попова",
    "Kristijan Matevski", "Lara Simonovska", "David Petkov", "Nina Angelova", "Viktor Spasov",
    "Hana Berisha", "Arben Krasniqi", "Elira Hoxha", "Dora Mihajlova", "Petar Cvetkov",
)  # fmt: skip


@dataclass(frozen=True)
class Logins:
    """What a newcomer needs to look around; kept in the data folder, readable by its owner only."""

    program: str
    staff: tuple[tuple[str, str, str], ...]
    """(e-mail, password, role)"""
    api_key: str


def install(context: ServerContext) -> Logins:
    """Install the demo program once; later starts only read the logins again."""
    path = context.settings.WALLET_DATA_DIR / "demo-logins.json"
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Logins(stored["program"], tuple(tuple(row) for row in stored["staff"]), stored["api_key"])
    now = context.clock.now()
    text = resources.files("wallet_server.programs").joinpath("data/cafe-ohrid.yaml").read_text(encoding="utf-8")
    definition = parse_program(text)
    with transaction(context.engine, ALL_PROGRAMS) as session:
        applied = apply_program(session, definition, now=now, actor=ACTOR)
        program = load_program(session, program_id=applied.program_id)
        staff = []
        for role in ("owner", "manager", "cashier"):
            email = f"{role}@demo.example"
            # Given, so that nobody is asked to replace it: every later start prints the same one again.
            password = one_time_password()
            create_staff(
                session, program_id=program.id, email=email, role=role, password=password, now=now, actor=ACTOR
            )
            staff.append((email, password, role))
        _key, secret = create_api_key(session, program.id, outlet_id=None, scopes=SCOPES, now=now, actor=ACTOR)
        if applied.created:
            _play_history(session, program, definition.catalog.products, now)
    logins = Logins(program.slug, tuple(staff), secret)
    # Written last: a start that was killed half-way rolled the rows back and begins again.
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(logins), file, ensure_ascii=False, indent=2)
    return logins


def _play_history(
    session: Session, program: ProgramDefinition, products: Sequence[ProductSection], now: datetime
) -> None:
    """Forty members who joined and bought over the last eight weeks, some daily, some who went quiet."""
    dice = random.Random(program.slug)  # noqa: S311 - a story, not a secret
    start = now - timedelta(weeks=WEEKS)
    outlets = sorted(program.outlets)
    purchases: list[RecordPurchase] = []
    for index, name in enumerate(PEOPLE):
        joined = start + timedelta(days=dice.uniform(0, WEEKS * 7 - 4))
        language = "en" if name.isascii() else "mk" if index % 10 < 6 else "ru"
        person = Enrol(
            email=f"member{index + 1}@demo.example",
            name=name,
            language=language,
            channel=dice.choices(CHANNELS, weights=(5, 4, 2, 2, 1))[0],
            outlet=dice.choice(outlets),
            marketing=dice.random() < 0.8,
        )
        [enrolled] = enrol_many(session, program, [person], now=joined, actor=ACTOR)
        habit = dice.choice((0.7, 2.5, 2.5, 5.0, 9.0))  # days between visits
        quiet_from = now - timedelta(days=dice.choice((0, 0, 0, 18, 30)))
        purchases += _visits(
            dice,
            products,
            enrolled.card_number,
            program.outlets[dice.choice(outlets)],
            joined=joined,
            until=quiet_from,
            days_between=habit,
        )
    purchases.sort(key=lambda purchase: purchase.occurred_at)
    for first in range(0, len(purchases), 200):
        record_purchases(session, program, purchases[first : first + 200], now=now, source="import", recorded_by=ACTOR)


def _visits(
    dice: random.Random,
    products: Sequence[ProductSection],
    card_number: str,
    outlet: OutletRef,
    *,
    joined: datetime,
    until: datetime,
    days_between: float,
) -> list[RecordPurchase]:
    zone = ZoneInfo(outlet.zone)
    priced = [product for product in products if product.price_minor]
    visits: list[RecordPurchase] = []
    moment = joined
    while True:
        moment += timedelta(days=dice.expovariate(1 / days_between))
        hour = dice.choice((8, 9, 12, 13, 13, 16, 17, 19, 20))
        local = moment.astimezone(zone).replace(hour=hour, minute=dice.randrange(60))
        if local >= until:
            return visits
        if local <= joined:
            continue
        basket = dice.sample(priced, k=min(len(priced), dice.choice((1, 1, 2, 2, 3))))
        lines = tuple(
            LineInput(
                sku=product.sku,
                category=product.category,
                quantity_thousandths=1000 * dice.choice((1, 1, 1, 2)),
                unit_price_minor=product.price_minor or 0,
            )
            for product in basket
        )
        visits.append(
            RecordPurchase(
                receipt_id=f"D-{card_number[-5:]}-{len(visits) + 1:03}",
                card_number=card_number,
                outlet=outlet.section.code,
                occurred_at=local,
                payment_type=dice.choice(("card", "cash")),
                redeem_points="max" if dice.random() < SHARE_PAID_WITH_POINTS else 0,
                lines=lines,
            )
        )
