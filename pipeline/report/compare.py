"""Two models over the same images: where they agree and where not, without ground truth."""

from typing import Final, NamedTuple

from duckdb import DuckDBPyConnection

from pipeline.report.runs import one_row

MOST_MOVERS: Final = 12
MOST_SWAPS: Final = 12
SHOWN: Final = 12
SURE: Final = 0.5  # a score from which a model counts as sure


class Mover(NamedTuple):
    """A label and the number of images that each model gives it."""

    label: str
    before: int
    after: int

    @property
    def change(self) -> int:
        """Images that it gained."""
        return self.after - self.before


class Swap(NamedTuple):
    """Images that one model calls `before` and the other `after`."""

    before: str
    after: str
    images: int


class Disagreement(NamedTuple):
    """One image, and the run in which each model saw it."""

    uri: str
    before_run: str
    after_run: str


class Comparison(NamedTuple):
    """The two models that ran last; `before` is the one whose last run is the older."""

    before: str
    after: str
    both: int  # images with a prediction by either
    agreeing: int
    runner_up: int  # disagreeing, but the one's best class is among the other's top-k
    only_before: int  # images with a prediction by one alone
    only_after: int
    mean_before: float  # score over the images of both
    mean_after: float
    movers: list[Mover]
    swaps: list[Swap]
    both_sure: int  # disagreeing, and each with a score of SURE or more
    disagreements: list[Disagreement]  # of these, or of all if there are none: the surest first
    models: int  # in this output, all in all


def compare(db: DuckDBPyConnection) -> Comparison | None:
    """Compares the two models that ran last; None if there is only one."""
    models = db.execute(
        "SELECT model FROM predictions GROUP BY model ORDER BY max(run_id) DESC, model"
    ).fetchall()
    if len(models) < 2:
        return None
    after, before = models[0][0], models[1][0]
    _pair(db, before, after)
    numbers = one_row(
        db,
        "SELECT count(*) FILTER (b IS NOT NULL AND a IS NOT NULL), count(*) FILTER (b = a), "
        "count(*) FILTER (is_near AND b <> a), "
        "count(*) FILTER (b IS NOT NULL AND a IS NULL), "
        "count(*) FILTER (a IS NOT NULL AND b IS NULL), "
        "coalesce(avg(b_score) FILTER (a IS NOT NULL), 0), "
        "coalesce(avg(a_score) FILTER (b IS NOT NULL), 0) FROM pairs",
    )
    (both_sure,) = one_row(
        db, "SELECT count(*) FROM pairs WHERE b <> a AND least(b_score, a_score) >= ?", [SURE]
    )
    shown = _disagreements(db, SURE if both_sure else 0.0)
    pairs = (_movers(db), _swaps(db), both_sure, shown)
    return Comparison._make([before, after, *numbers, *pairs, len(models)])


def _pair(db: DuckDBPyConnection, before: str, after: str) -> None:
    """Makes the table `pairs`: for each image the label (b, a), score and run of either model."""
    b, a = _latest(db, "before", before), _latest(db, "after", after)
    db.execute(
        "CREATE TEMP TABLE pairs AS SELECT uri, b.label AS b, a.label AS a, "
        "b.score AS b_score, a.score AS a_score, b.run_id AS b_run, a.run_id AS a_run, "
        "list_contains(a.top, hash(b.label)) OR list_contains(b.top, hash(a.label)) AS is_near "
        f"FROM ({b}) AS b FULL JOIN ({a}) AS a USING (uri)",
        {"before": before, "after": after},
    )


def _latest(db: DuckDBPyConnection, name: str, model: str) -> str:
    """A query for the latest row of each image by the model that is its parameter `name`."""
    (runs,) = one_row(db, "SELECT count(DISTINCT run_id) FROM predictions WHERE model = ?", [model])
    latest = (
        "SEMI JOIN (SELECT uri, max(run_id) AS run_id FROM predictions "
        f"WHERE model = ${name} GROUP BY uri) AS latest USING (uri, run_id)"
    )
    # Hashes, since a million lists of names would have to go to the disk.
    columns = "uri, run_id, label, score, [hash(x.label) for x in top_k] AS top"
    # A run holds a URI once, so that only several runs have anything to choose between.
    return f"SELECT {columns} FROM predictions {latest if runs > 1 else ''} WHERE model = ${name}"


def _movers(db: DuckDBPyConnection) -> list[Mover]:
    rows = db.execute(
        "WITH named AS ("
        "SELECT b AS label, 1 AS by_b, 0 AS by_a FROM pairs WHERE a IS NOT NULL "
        "UNION ALL SELECT a, 0, 1 FROM pairs WHERE b IS NOT NULL) "
        "SELECT label, sum(by_b)::BIGINT, sum(by_a)::BIGINT FROM named "
        "WHERE label IS NOT NULL GROUP BY label HAVING sum(by_b) <> sum(by_a) "
        "ORDER BY abs(sum(by_a) - sum(by_b)) DESC, label LIMIT ?",
        [MOST_MOVERS],
    ).fetchall()
    return [Mover(*row) for row in rows]


def _swaps(db: DuckDBPyConnection) -> list[Swap]:
    rows = db.execute(
        "SELECT b, a, count(*) AS images FROM pairs WHERE b <> a "
        "GROUP BY b, a ORDER BY images DESC, b, a LIMIT ?",
        [MOST_SWAPS],
    ).fetchall()
    return [Swap(*row) for row in rows]


def _disagreements(db: DuckDBPyConnection, floor: float) -> list[Disagreement]:
    """Images where both scores are at least `floor`, by the lower of the two, highest first."""
    rows = db.execute(
        "SELECT uri, b_run, a_run FROM pairs WHERE b <> a AND least(b_score, a_score) >= ? "
        "ORDER BY least(b_score, a_score) DESC, uri LIMIT ?",
        [floor, SHOWN],
    ).fetchall()
    return [Disagreement(*row) for row in rows]
