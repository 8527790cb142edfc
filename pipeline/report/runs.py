"""The runs of an output folder, and the models that they used."""

import json
from typing import Any, NamedTuple, TypeVar

from duckdb import DuckDBPyConnection

from transforms.choices import IMAGENET
from transforms.models.cards import ModelCard, model_card
from transforms.models.labels import imagenet_labels
from transforms.models.zoo import ARCHITECTURES

T = TypeVar("T")


class RunFacts(NamedTuple):
    """One run, as a row of the view `runs`."""

    run_id: str
    state: str
    started: str | None
    seconds: float | None
    images_per_second: float | None
    listed: int | None
    duplicates: int | None
    predicted: int | None
    failed: int | None
    skipped: int | None
    model: str | None
    engine: str | None
    classes: int | None
    differences: list[str]  # between listed and written, in words
    configuration: dict[str, Any]
    versions: dict[str, Any]

    @property
    def is_finished(self) -> bool:
        """Whether it wrote its account."""
        return self.state != "unfinished"

    @property
    def balances(self) -> bool:
        """Whether listed = predicted + failed + skipped; not if a count is unknown."""
        if self.predicted is None or self.failed is None:
            return False
        return self.listed == self.predicted + self.failed + (self.skipped or 0)


class Coverage(NamedTuple):
    """How many of a model's classes appear as the best one."""

    seen: int
    classes: int | None  # None: neither the run nor the model's name tells


def read_runs(db: DuckDBPyConnection) -> list[RunFacts]:
    """All runs, the latest first."""
    columns = ", ".join(RunFacts._fields)
    rows = db.execute(f"SELECT {columns} FROM runs ORDER BY run_id DESC").fetchall()
    return [
        RunFacts._make(
            [*plain, _value(differences, []), _value(configuration, {}), _value(versions, {})]
        )
        for *plain, differences, configuration, versions in rows
    ]


def read_coverage(db: DuckDBPyConnection, model: str, runs: list[RunFacts]) -> Coverage:
    """The labels that `model` gave to some image, of those it could give."""
    (seen,) = one_row(db, "SELECT count(DISTINCT label) FROM latest WHERE model = ?", [model])
    told = next((run.classes for run in runs if run.model == model and run.classes), None)
    has_own_labels = any(
        run.configuration.get("labels") is not None for run in runs if run.model == model
    )
    if told is None and card_of(model, runs) is not None and not has_own_labels:
        told = len(imagenet_labels())
    return Coverage(seen, told)


def card_of(model: str, runs: list[RunFacts]) -> ModelCard | None:
    """The card of the network that a value of the column `model` names, unless it is an own one."""
    chosen = [run.configuration.get("model") for run in runs if run.model == model]
    if any(isinstance(name, str) and name not in ARCHITECTURES for name in chosen):
        return None
    return model_card(model.partition("@")[0])


def has_own_weights(model: str, runs: list[RunFacts]) -> bool:
    """Whether a run of `model` was given its weights as a file."""
    return any(
        run.configuration.get("weights") not in (None, IMAGENET)
        for run in runs
        if run.model == model
    )


def one_row(db: DuckDBPyConnection, statement: str, values: list[Any] | None = None) -> Any:
    """The one row of an aggregate."""
    return db.execute(statement, values or []).fetchone()


def _value(text: str | None, default: T) -> T:
    """JSON of the type of `default`, or that if it is missing or of another."""
    value = json.loads(text) if text else default
    return value if isinstance(value, type(default)) else default
