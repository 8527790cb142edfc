"""The runs of an output folder, and the models that they used."""

import json
from typing import Any, NamedTuple, TypeVar

from duckdb import DuckDBPyConnection

from transforms.choices import IMAGENET
from transforms.layout import ledger_name
from transforms.ledger import LedgerLine
from transforms.models.cards import ModelCard, model_card
from transforms.models.labels import imagenet_labels
from transforms.models.zoo import ARCHITECTURES
from transforms.storage import join, storage_for

T = TypeVar("T")


class RunFacts(NamedTuple):
    """One run: what runs/<run>.json says, and for an unfinished one what is there."""

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


def read_runs(db: DuckDBPyConnection, output: str) -> list[RunFacts]:
    """All runs, the latest first."""
    columns = ", ".join(RunFacts._fields)
    rows = db.execute(f"SELECT {columns} FROM runs ORDER BY run_id DESC").fetchall()
    runs = [
        RunFacts._make(
            [*plain, _value(differences, []), _value(configuration, {}), _value(versions, {})]
        )
        for *plain, differences, configuration, versions in rows
    ]
    return [run if run.is_finished else _unfinished(db, output, run) for run in runs]


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


def _unfinished(db: DuckDBPyConnection, output: str, run: RunFacts) -> RunFacts:
    """A run that was killed, or is still running: its ledger and the shards it finished."""
    rows, failed, model = one_row(
        db,
        "SELECT count(*), count(error), any_value(model) FROM predictions WHERE run_id = ?",
        [run.run_id],
    )
    path = join(output, ledger_name(run.run_id))
    try:
        with storage_for(path).open(path) as file:
            lines = [LedgerLine(**json.loads(line)) for line in file.read().splitlines()]
    except (OSError, ValueError, TypeError):  # killed before its listing was done
        return run._replace(predicted=rows - failed, failed=failed, model=model)
    listed, skipped = (
        sum(line.images for line in lines if line.kind == kind) for kind in ("bucket", "part")
    )
    return run._replace(
        listed=listed, predicted=rows - failed, failed=failed, skipped=skipped, model=model
    )


def _value(text: str | None, default: T) -> T:
    """JSON of the type of `default`, or that if it is missing or of another."""
    value = json.loads(text) if text else default
    return value if isinstance(value, type(default)) else default
