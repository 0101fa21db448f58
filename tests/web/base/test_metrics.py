"""Metrics of passes, and the page of the docs that lists all metrics."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from tests.web.conftest import Cast
from tests.web.helpers import StoppedClock
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.deliveries import Counts, add_counts
from wallet_server.issuance.watch import look, take_stock
from wallet_server.members.services import Enrolled
from wallet_server.web.context import KEEPER

ORDER = ["method", "route", "status", "wallet", "state", "step", "kind", "key", "le"]
DOCS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


def watch(server: ServerContext, clock: StoppedClock) -> None:
    with reading(server.engine, ALL_PROGRAMS) as session:
        found = look(session, clock.now())
    with transaction(server.engine, ALL_PROGRAMS) as session:
        take_stock(session, found, clock.now())


def test_passes_are_counted_over_all_programs_with_their_lags(
    client: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, member: Enrolled
) -> None:
    counts = Counts.none()
    for program in (cast.cafe, cast.bakery):
        for seconds in (0.5, 4, 10 * 86_400):
            late = clock.now() + timedelta(seconds=seconds)
            counts.add(program.id, "apple", "fetched", changed_at=clock.now(), now=late)
    with transaction(server.engine, ALL_PROGRAMS) as session:
        add_counts(session, counts)
    watch(server, clock)
    text = client.get("/metrics").get_data(as_text=True)
    samples = {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels, key=ORDER.index))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["wallet_passes", "apple", "new"] == 1
    assert samples["wallet_pass_updates_total", "apple", "fetched"] == 6
    lag = "wallet_pass_update_lag_seconds"
    buckets = {
        key[-1]: value
        for key, value in samples.items()
        if key[0] == f"{lag}_bucket" and key[1:3] == ("apple", "fetched")
    }
    assert (buckets["1.0"], buckets["5.0"], buckets["604800.0"], buckets["+Inf"]) == (2, 4, 4, 6)
    assert samples[f"{lag}_count", "apple", "fetched"] == 6
    assert samples[f"{lag}_sum", "apple", "fetched"] == 2 * (0.5 + 4 + 10 * 86_400)
    assert samples["wallet_delivery_alarms", "unfetched"] == 0
    assert samples["wallet_delivery_watched_timestamp_seconds",] == clock.now().timestamp()
    assert "cafe-ohrid" not in text


def test_the_docs_list_every_metric_and_its_labels(
    client: FlaskClient, server: ServerContext, clock: StoppedClock, cast: Cast, member: Enrolled
) -> None:
    counts = Counts.none()
    counts.add(cast.cafe.id, "google", "accepted", changed_at=clock.now(), now=clock.now())
    with transaction(server.engine, ALL_PROGRAMS) as session:
        add_counts(session, counts)
    watch(server, clock)
    client.get("/healthz")
    served = {}
    for family in text_string_to_metric_families(client.get("/metrics").get_data(as_text=True)):
        if not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            served[name] = (family.type, labels)
    rows = re.findall(r"^\| `(wallet_\w+)` \| (\w+) \| (.*?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert served == listed


def test_trouble_with_imported_keys_is_told(client: FlaskClient, app: Flask) -> None:
    assert 'wallet_key_trouble{key="imported"} 0.0' in client.get("/metrics").get_data(as_text=True)
    app.extensions[KEEPER].trouble = "The key cannot be opened."
    assert 'wallet_key_trouble{key="imported"} 1.0' in client.get("/metrics").get_data(as_text=True)
