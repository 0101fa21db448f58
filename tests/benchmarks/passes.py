"""Signed passes a second as a share of the machine's RSA signatures; what phones ask, one by one and all at once.

One card: eight fields, a QR code, icon, logo and strip at three scales, each pass with another balance, so that none
is signed twice. The cards are made a few at a time beside the clock and signed at once, as a server does: thousands
made beforehand would have left the processor's cache by their turn. ``openssl speed rsa2048`` is the limit: no pass
can be had without its signature. Both are measured in turns, many and short, on the same core; each share is the median
of its rounds. A share is by the clock on the wall, and once more without the time in which the machine gave the core
to others. What phones ask is in :mod:`tests.benchmarks.herd`.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from passes.apple.bundle import signed_pass
from passes.apple.development import DevelopmentCertificates, make_development_certificates
from passes.apple.signing import Signer
from passes.artwork import Look, pass_images
from passes.content import CardCode, Colors, PassContent, PassField, PassImages
from tests.benchmarks.herd import asked
from tests.benchmarks.pass_makers import LIBRARIES, made_by
from tests.passkit_generator import Generated, generate
from tests.tools import require_tool

PASS_TYPE_ID = "pass.com.example.bench"
TEAM_ID = "TEAM123456"
NAME = "Cafe Ohrid"
COLORS = Colors(background="#1F3A5F", foreground="#FFFFFF", label="#C9D6E8")
ROUNDS = 40
PASSES = 500
CARDS_AT_ONCE = 20
OTHERS_PASSES = 15
OTHERS_ROUNDS = 7
THREADS = 2
IN_THREADS = 4
"""So many times the passes of one thread: it takes a while until each has a core."""
LIMIT_SECONDS = 1
KINDS = ("by_clock", "by_core")
ASKED_ROUNDS = 7
REQUESTS = 5_000
PHONES = 10_000
_PADDING, _SHA256 = padding.PKCS1v15(), hashes.SHA256()


def measure(
    data: Path,
    *,
    rounds: int = ROUNDS,
    passes: int = PASSES,
    asked_rounds: int = ASKED_ROUNDS,
    requests: int = REQUESTS,
    phones: int = PHONES,
) -> dict[str, Any]:
    """Shares of the RSA limit on one core (with two threads, too), and of the server's trivial endpoint.

    No ``phones``: signing only.
    """
    result = _signing(rounds, passes)
    if phones:
        result |= asked(data / "asked", rounds=asked_rounds, requests=requests, phones=phones)
    return result


@dataclass(frozen=True, slots=True)
class _Rate:
    """So many a second, by the clock and by the time that was not spent waiting for a core."""

    by_clock: float
    by_core: float


def _signing(rounds: int, passes: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    certificates = make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=now)
    signer = Signer.load(
        certificate_pem=certificates.pass_certificate,
        key_pem=certificates.pass_key,
        intermediates_pem=certificates.intermediate,
        pass_type_id=PASS_TYPE_ID,
        team_id=TEAM_ID,
    )
    key = load_pem_private_key(certificates.pass_key, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    look = Look(name=NAME, background=COLORS.background, foreground=COLORS.foreground, accent=COLORS.label)
    card = _card(pass_images(look))
    size = len(_sign(_cards(card, range(50)), signer, now))
    limits: list[_Rate] = []
    found: dict[str, list[_Rate]] = {"ours": [], "two threads": [], "key": []}
    with ThreadPoolExecutor(THREADS) as threads:
        before = _rsa_signatures()
        for number in range(rounds):
            first = (1 + IN_THREADS) * number * passes
            with _on_one_core():
                found["ours"].append(_signed(card, range(first, first + passes), signer, now))
                found["key"].append(_rate(passes, partial(_only_sign, key, passes)))
            balances = range(first + passes, first + (1 + IN_THREADS) * passes)
            found["two threads"].append(_in_threads(threads, card, balances, signer, now))
            after = _rsa_signatures()
            limits.append(_Rate((before.by_clock + after.by_clock) / 2, (before.by_core + after.by_core) / 2))
            before = after
    by_clock, by_core = ({name: _share(rates, limits, kind) for name, rates in found.items()} for kind in KINDS)
    return {
        "bytes_of_a_pass": size,
        "rsa signatures per second, openssl": round(statistics.median(limit.by_clock for limit in limits)),
        "passes per second": round(statistics.median(rate.by_clock for rate in found["ours"])),
        "share of the limit": by_clock["ours"],
        "share of the limit, without waits for a core": by_core["ours"],
        "two threads, share of the limit of one core": by_clock["two threads"],
        "two threads, share of the limit of one core, without waits for a core": by_core["two threads"],
        "only the signature in Python, share of the limit, without waits for a core": by_core["key"],
        **{f"{name}, share of the limit": share for name, share in _shares_of_others(card, certificates).items()},
    }


def _shares_of_others(card: PassContent, certificates: DevelopmentCertificates) -> dict[str, float]:
    others = _others(card, certificates)
    shares: dict[str, list[float]] = {name: [] for name in others}
    for _round in range(OTHERS_ROUNDS):
        limit = _rsa_signatures().by_clock
        for name, make in others.items():
            shares[name].append(OTHERS_PASSES / make().seconds / limit)
    return {name: round(statistics.median(found), 4) for name, found in shares.items()}


def _share(rates: Sequence[_Rate], limits: Sequence[_Rate], kind: str) -> float:
    pairs = zip(rates, limits, strict=True)
    return round(statistics.median(getattr(rate, kind) / getattr(limit, kind) for rate, limit in pairs), 3)


def _card(images: PassImages) -> PassContent:
    return PassContent(
        serial_number="0193-bench",
        organization_name=NAME,
        program_name=NAME,
        description="Loyalty card of Cafe Ohrid",
        colors=COLORS,
        card=CardCode(number="4821 0077 3310 4412", message="4821007733104412", caption="4821 0077 3310 4412"),
        points=PassField(key="points", label="Points", value=0, number_style="decimal", change_message="Now %@"),
        tier=PassField(key="tier", label="Level", value="Silver"),
        member=PassField(key="member", label="Name", value="Ana"),
        progress=(PassField(key="dinner", label="Three visits", value="2 of 3"),),
        news=PassField(key="news", label="News", value="Nothing new yet.", change_message="%@"),
        back=(
            PassField(key="page", label="Your page", value="Open", link="https://wallet.example.com/m/1"),
            PassField(key="about", label="How points work", value="You get 5 % of what you pay back as points."),
        ),
        images=images,
        update_url="https://wallet.example.com/apple",
        authentication_token="0123456789abcdef0123",
    )


def _cards(card: PassContent, balances: range) -> list[PassContent]:
    """The same card with other balances."""
    return [replace(card, points=card.points._replace(value=balance)) for balance in balances]


def _sign(cards: Sequence[PassContent], signer: Signer, now: datetime) -> bytes:
    made = b""
    for card in cards:
        made = signed_pass(card, signer, now=now)
    return made


def _only_sign(key: rsa.RSAPrivateKey, count: int) -> None:
    for number in range(count):
        key.sign(b"%d" % number, _PADDING, _SHA256)


def _signed(card: PassContent, balances: range, signer: Signer, now: datetime) -> _Rate:
    """Make a few cards, sign them by the clock, and so on."""
    took = waited = 0.0
    for first in range(0, len(balances), CARDS_AT_ONCE):
        cards = _cards(card, balances[first : first + CARDS_AT_ONCE])
        waited_before, begun = _waited(), time.perf_counter()
        _sign(cards, signer, now)
        took += time.perf_counter() - begun
        waited += _waited() - waited_before
    return _Rate(len(balances) / took, len(balances) / (took - waited))


def _in_threads(
    threads: ThreadPoolExecutor, card: PassContent, balances: range, signer: Signer, now: datetime
) -> _Rate:
    """What threads sign side by side; while one makes its cards it stands in the way of the others."""
    shares = [balances[number::THREADS] for number in range(THREADS)]
    rates = [*threads.map(lambda share: _signed(card, share, signer, now), shares)]
    return _Rate(sum(rate.by_clock for rate in rates), sum(rate.by_core for rate in rates))


@contextmanager
def _on_one_core() -> Iterator[None]:
    """Stay on one core, and with us the processes that we start: two cores of a shared machine are not equally fast."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _others(card: PassContent, certificates: DevelopmentCertificates) -> dict[str, Callable[[], Generated]]:
    """What makes the same card, and what with."""
    balances = range(1, OTHERS_PASSES + 1)
    given: dict[str, Any] = {"pass_type_id": PASS_TYPE_ID, "team_id": TEAM_ID, "balances": balances}
    made = {name: partial(made_by, name, card, certificates, **given) for name in LIBRARIES}
    return {**made, "passkit-generator": partial(generate, card, certificates, **given)}


def _rate(count: int, work: Callable[[], object]) -> _Rate:
    waited, begun = _waited(), time.perf_counter()
    work()
    took = time.perf_counter() - begun
    return _Rate(count / took, count / (took - (_waited() - waited)))


def _waited() -> float:
    """For how many seconds this thread was ready to run and had no core, since it began (Linux counts that)."""
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


def _rsa_signatures() -> _Rate:
    """What the library signs in a second on one core; it is one thread that waits for nothing but cores."""
    command = [require_tool("openssl"), "speed", "-seconds", str(LIMIT_SECONDS), "rsa2048"]
    with _on_one_core():
        printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stderr
    found = re.search(r"private rsa.*?: (\d+) 2048 bits private RSA.*? in ([\d.]+)s", printed)
    assert found, printed
    # It stops by the clock on the wall, and says how long it had a core.
    return _Rate(int(found[1]) / LIMIT_SECONDS, int(found[1]) / float(found[2]))
