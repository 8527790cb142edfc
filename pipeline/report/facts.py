"""The report's counts, computed in DuckDB; only aggregates are read into Python."""

from typing import Final, NamedTuple

from duckdb import DuckDBPyConnection

from pipeline.report.runs import one_row

MOST_LABELS: Final = 400
EXAMPLES: Final = 3  # of each reason
BINS: Final = 20  # of the histogram of scores


class LabelCount(NamedTuple):
    """A label with the number of images it is the best class of, and their mean score."""

    label: str
    images: int
    mean_score: float


class Example(NamedTuple):
    """One image without a prediction."""

    uri: str
    stage: str | None
    message: str | None


class Reason(NamedTuple):
    """Images without a prediction for one reason."""

    error: str
    images: int
    retryable: int
    examples: list[Example]


class Current(NamedTuple):
    """The state over all runs: one row for each image, that of its latest run."""

    images: int
    predicted: int
    failed: int
    bytes: int
    formats: list[tuple[str, int]]
    models: list[tuple[str, int]]  # of all runs, with the images whose current prediction is theirs
    labels: list[LabelCount]  # the most frequent MOST_LABELS
    distinct_labels: int
    histogram: list[int]  # images by score, BINS equal steps from 0 to 1
    quartiles: tuple[float, float, float]
    reasons: list[Reason]


def hold_current(db: DuckDBPyConnection) -> None:
    """Makes the table `latest`, the narrow columns of `current`, which many queries read."""
    db.execute(
        "CREATE TEMP TABLE latest AS SELECT uri, run_id, label, score, model, error, error_stage, "
        "retryable, format, byte_size FROM current"
    )


def read_current(db: DuckDBPyConnection, seed: int) -> Current:
    """Counts over `latest`; the examples of failures are drawn by `seed`."""
    images, predicted, failed, size, distinct, *quartiles = one_row(
        db,
        "SELECT count(*), count(label), count(error), coalesce(sum(byte_size), 0)::BIGINT, "
        "count(DISTINCT label), quantile_cont(score, 0.25), quantile_cont(score, 0.5), "
        "quantile_cont(score, 0.75) FROM latest",
    )
    labels = db.execute(
        "SELECT label, count(*) AS images, avg(score) FROM latest WHERE label IS NOT NULL "
        "GROUP BY label ORDER BY images DESC, label LIMIT ?",
        [MOST_LABELS],
    ).fetchall()
    return Current(
        images=images,
        predicted=predicted,
        failed=failed,
        bytes=size,
        formats=_formats(db),
        models=_models(db),
        labels=[LabelCount(*row) for row in labels],
        distinct_labels=distinct,
        histogram=_histogram(db),
        quartiles=(quartiles[0] or 0.0, quartiles[1] or 0.0, quartiles[2] or 0.0),
        reasons=_reasons(db, seed),
    )


def _histogram(db: DuckDBPyConnection) -> list[int]:
    rows = db.execute(
        "SELECT least(floor(score * ?)::INTEGER, ?) AS bin, count(*) FROM latest "
        "WHERE score IS NOT NULL GROUP BY bin",
        [BINS, BINS - 1],
    ).fetchall()
    found = dict(rows)
    return [found.get(index, 0) for index in range(BINS)]


def _reasons(db: DuckDBPyConnection, seed: int) -> list[Reason]:
    examples: dict[str, list[Example]] = {}
    for error, uri, stage, message in db.execute(
        "SELECT error, uri, error_stage, error_message FROM errors "
        f"QUALIFY row_number() OVER (PARTITION BY error ORDER BY {drawn_by('uri', seed)}) <= ? "
        f"ORDER BY {drawn_by('uri', seed)}",
        [EXAMPLES],
    ).fetchall():
        examples.setdefault(error, []).append(Example(uri, stage, message))
    counts = db.execute(
        "SELECT error, count(*) AS images, count(*) FILTER (retryable) FROM latest "
        "WHERE error IS NOT NULL GROUP BY error ORDER BY images DESC, error"
    ).fetchall()
    return [
        Reason(error, images, retryable, examples.get(error, []))
        for error, images, retryable in counts
    ]


def drawn_by(column: str, seed: int) -> str:
    """A random order that is the same for the same `seed` on every machine."""
    return f"md5('{seed:d}' || {column})"


def _formats(db: DuckDBPyConnection) -> list[tuple[str, int]]:
    return db.execute(
        "SELECT format, count(*) AS images FROM latest WHERE format IS NOT NULL "
        "GROUP BY format ORDER BY images DESC, format LIMIT 12"
    ).fetchall()


def _models(db: DuckDBPyConnection) -> list[tuple[str, int]]:
    # All runs: a second model leaves the first one no current row, and both are compared.
    return db.execute(
        "SELECT model, coalesce(images, 0) FROM ("
        "SELECT model, max(run_id) AS last FROM predictions WHERE model IS NOT NULL GROUP BY model"
        ") LEFT JOIN ("
        "SELECT model, count(score) AS images FROM latest GROUP BY model"
        ") USING (model) ORDER BY 2 DESC, last DESC, model LIMIT 12"
    ).fetchall()
