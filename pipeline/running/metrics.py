"""The metrics of a run, as any runner gives them, added up over the steps of the graph."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from apache_beam.metrics.cells import DistributionResult
from apache_beam.metrics.execution import MetricResult
from apache_beam.runners.runner import PipelineResult

from transforms.metrics import NAMESPACE


class Distribution(NamedTuple):
    """How many integer `values` there are, and their sum, minimum and maximum."""

    values: int
    total: int
    least: int
    most: int

    def merged(self, other: "Distribution") -> "Distribution":
        """That of the values of both."""
        return Distribution(
            self.values + other.values,
            self.total + other.total,
            min(self.least, other.least),
            max(self.most, other.most),
        )


class Metrics(NamedTuple):
    """By name, see `transforms.metrics`."""

    counters: dict[str, int]
    distributions: dict[str, Distribution]

    def facts(self) -> dict[str, Any]:
        """As they stand in runs/<run>.json."""
        return {
            **dict(sorted(self.counters.items())),
            **{
                name: {
                    "count": each.values,
                    "mean": round(each.total / each.values, 1),
                    "min": each.least,
                    "max": each.most,
                }
                for name, each in sorted(self.distributions.items())
            },
        }


def metrics_of(result: PipelineResult) -> Metrics:
    """The metrics of a run that has ended."""
    return totals(each for kind in result.metrics().query().values() for each in kind)


def totals(results: Iterable[MetricResult]) -> Metrics:
    """One number a name; a runner gives one for each step that counts."""
    counters: dict[str, int] = {}
    distributions: dict[str, Distribution] = {}
    for each in results:
        name, value = each.key.metric.name, each.result
        if each.key.metric.namespace != NAMESPACE:
            continue
        if isinstance(value, DistributionResult):
            data = value.data
            one = Distribution(data.count, data.sum, data.min, data.max)
            known = distributions.get(name)
            distributions[name] = known.merged(one) if known else one
        elif value is not None:
            counters[name] = counters.get(name, 0) + int(value)
    return Metrics(counters, distributions)
