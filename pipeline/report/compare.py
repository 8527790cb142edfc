"""Two models over the same images: where they agree and where not, without ground truth."""

from typing import Final, NamedTuple

from duckdb import DuckDBPyConnection

from pipeline.report.runs import one_row

MOST_MOVERS: Final = 12
MOST_SWAPS: Final = 12
SHOWN: Final = 12


class Mover(NamedTuple):
    """A label and how many images each model gives it to."""

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
    disagreements: list[Disagreement]  # those of which the less sure model is the surest
    models: int  # in this output, all in all


def compare(db: DuckDBPyConnection) -> Comparison | None:
    """Compares the two models that ran last, or None if there is but one."""
    models = db.execute(
        "SELECT model FROM predictions GROUP BY model ORDER BY max(run_id) DESC, model"
    ).fetchall()
    if len(models) < 2:
        return None
    after, before = models[0][0], models[1][0]
    _pair(db, before, after)
    numbers = one_row(
        db,
        "SELECT count(*) FILTER (b.label IS NOT NULL AND a.label IS NOT NULL), "
        "count(*) FILTER (b.label = a.label), "
        "count(*) FILTER (b.label <> a.label AND "
        "(list_contains(a.labels, hash(b.label)) OR list_contains(b.labels, hash(a.label)))), "
        "count(*) FILTER (b.label IS NOT NULL AND a.label IS NULL), "
        "count(*) FILTER (a.label IS NOT NULL AND b.label IS NULL), "
        "coalesce(avg(b.score) FILTER (a.label IS NOT NULL), 0), "
        "coalesce(avg(a.score) FILTER (b.label IS NOT NULL), 0) FROM pairs",
    )
    pairs = (_movers(db), _swaps(db), _disagreements(db))
    return Comparison._make([before, after, *numbers, *pairs, len(models)])


def _pair(db: DuckDBPyConnection, before: str, after: str) -> None:
    """Makes the table `pairs`: each image's latest row by either model, as structs b and a."""
    row = "{label: label, score: score, run_id: run_id, labels: [hash(x.label) for x in top_k]}"
    rows = (
        f"SELECT uri, arg_max({row}, run_id) AS row FROM predictions WHERE model = ? GROUP BY uri"
    )
    db.execute(
        f"CREATE TEMP TABLE pairs AS SELECT uri, b.row AS b, a.row AS a "
        f"FROM ({rows}) AS b FULL JOIN ({rows}) AS a USING (uri)",
        [before, after],
    )


def _movers(db: DuckDBPyConnection) -> list[Mover]:
    rows = db.execute(
        "WITH named AS ("
        "SELECT b.label AS label, 1 AS by_b, 0 AS by_a FROM pairs WHERE a.label IS NOT NULL "
        "UNION ALL SELECT a.label, 0, 1 FROM pairs WHERE b.label IS NOT NULL) "
        "SELECT label, sum(by_b)::BIGINT AS before, sum(by_a)::BIGINT AS after FROM named "
        "WHERE label IS NOT NULL GROUP BY label HAVING sum(by_b) <> sum(by_a) "
        "ORDER BY abs(sum(by_a) - sum(by_b)) DESC, label LIMIT ?",
        [MOST_MOVERS],
    ).fetchall()
    return [Mover(*row) for row in rows]


def _swaps(db: DuckDBPyConnection) -> list[Swap]:
    rows = db.execute(
        "SELECT b.label, a.label, count(*) AS images FROM pairs WHERE b.label <> a.label "
        "GROUP BY ALL ORDER BY images DESC, b.label, a.label LIMIT ?",
        [MOST_SWAPS],
    ).fetchall()
    return [Swap(*row) for row in rows]


def _disagreements(db: DuckDBPyConnection) -> list[Disagreement]:
    rows = db.execute(
        "SELECT uri, b.run_id, a.run_id FROM pairs WHERE b.label <> a.label "
        "ORDER BY least(b.score, a.score) DESC, uri LIMIT ?",
        [SHOWN],
    ).fetchall()
    return [Disagreement(*row) for row in rows]
