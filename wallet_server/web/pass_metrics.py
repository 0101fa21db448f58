"""What the tick found of passes, for Prometheus: of all programs together, from the database."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from wallet_server.issuance.delivery import LAG_BOUNDS_S
from wallet_server.issuance.watch import Watched


class PassMetrics(Collector):
    """What the tick found of passes, as metrics."""

    def __init__(self, found: Watched) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """The families, each with all its labels."""
        passes = GaugeMetricFamily("wallet_passes", "Passes by wallet and state.", labels=("wallet", "state"))
        for (wallet, state), number in sorted(self._found.passes.items()):
            passes.add_metric((wallet, state), number)
        yield passes
        updates = CounterMetricFamily(
            "wallet_pass_updates", "Updates of passes that were accepted, and fetched.", labels=("wallet", "step")
        )
        lags = HistogramMetricFamily(
            "wallet_pass_update_lag_seconds",
            "Time from a change to its update being accepted, and fetched.",
            labels=("wallet", "step"),
        )
        for (wallet, step), total in sorted(self._found.totals.items()):
            sums = list(accumulate(total.buckets))
            updates.add_metric((wallet, step), sums[-1])
            ends = [*(str(float(bound)) for bound in LAG_BOUNDS_S), "+Inf"]
            lags.add_metric((wallet, step), list(zip(ends, sums, strict=True)), total.seconds)
        yield updates
        yield lags
        alarms = GaugeMetricFamily(
            "wallet_delivery_alarms", "Programs in which phones do not fetch, or updates are refused.", labels=("kind",)
        )
        for kind, programs in sorted(self._found.alarms.items()):
            alarms.add_metric((kind,), programs)
        yield alarms
        if self._found.watched_at is not None:
            yield GaugeMetricFamily(
                "wallet_delivery_watched_timestamp_seconds",
                "When the tick last looked at the passes; programs without passes are not looked at.",
                value=self._found.watched_at.timestamp(),
            )
