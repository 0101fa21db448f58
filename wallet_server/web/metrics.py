"""Numbers for Prometheus: requests by route and status, how long they took, the outbox's backlog, and passes.

What is said of passes is of all programs together, as the tick found it; docs/operations.md lists everything.

With several web processes each keeps its own numbers unless ``PROMETHEUS_MULTIPROC_DIR`` names a folder that
they share (``wallet-server up`` and ``web`` set it); then any of them answers for all.
"""

from __future__ import annotations

import time
from typing import Final

from flask import Blueprint, Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.issuance.watch import watched
from wallet_server.outbox.queries import backlog
from wallet_server.web.context import key_trouble, server
from wallet_server.web.pass_metrics import PassMetrics
from wallet_server.web.security import permission

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

blueprint = Blueprint("metrics", __name__)


class WebMetrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "wallet_http_requests_total",
            "Answers by route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "wallet_http_request_seconds", "Time to answer.", ("route",), buckets=BUCKETS_S, registry=self.registry
        )
        self.signed = Counter("wallet_passes_signed_total", "Apple passes signed.", registry=self.registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer; ``route`` is a rule and not an address: addresses are endless, and some are secrets."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)


def init_app(app: Flask) -> None:
    """Count every request and serve ``/metrics``."""
    app.extensions["metrics"] = WebMetrics()
    app.before_request(_start)
    app.after_request(_count)
    app.register_blueprint(blueprint)


def _start() -> None:
    g.started_at = time.perf_counter()


def _count(response: Response) -> Response:
    metrics: WebMetrics = current_app.extensions["metrics"]
    route = str(request.url_rule) if request.url_rule else "(unknown)"
    method = request.method if request.method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} else "(other)"
    metrics.count(method, route, response.status_code, time.perf_counter() - g.started_at)
    return response


@blueprint.get("/metrics")
@permission("public")
def show() -> Response:
    metrics: WebMetrics = current_app.extensions["metrics"]
    registry = CollectorRegistry()
    try:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        body = generate_latest(registry)
    except ValueError:  # no shared folder: this process alone
        body = generate_latest(metrics.registry)
    with reading(server().engine, ALL_PROGRAMS) as session:
        outbox = backlog(session)
        passes = watched(session)
    own = CollectorRegistry()
    own.register(PassMetrics(passes))
    rows = Gauge("wallet_outbox_rows", "Outbox rows that wait or were given up.", ("state",), registry=own)
    rows.labels("open").set(outbox.open)
    rows.labels("failed").set(outbox.failed)
    trouble = Gauge(
        "wallet_key_trouble", "Keys that cannot be read: 1. What is in use goes on.", ("key",), registry=own
    )
    for key, unreadable in key_trouble().items():
        trouble.labels(key).set(unreadable)
    return Response(body + generate_latest(own), content_type=CONTENT_TYPE_LATEST)
