"""Collects what the report shows from the output folder and from the images as they are now."""

from datetime import datetime, timezone
from typing import NamedTuple

from pipeline import __version__
from pipeline.report.compare import Comparison, compare
from pipeline.report.facts import Current, hold_current, read_current
from pipeline.report.pictures import (
    Key,
    Shown,
    drawn,
    least_confident,
    make_thumbnails,
    read_shown,
)
from pipeline.report.runs import (
    Coverage,
    RunFacts,
    card_of,
    has_own_weights,
    read_coverage,
    read_runs,
)
from pipeline.report.thumbnail import Thumbnail
from pipeline.results.views import connect
from transforms.models.cards import ModelCard


class ModelFacts(NamedTuple):
    """A model of some run; `card` is None for a user's own."""

    model: str  # name@fingerprint
    images: int  # whose current prediction is its
    coverage: Coverage
    card: ModelCard | None
    has_own_weights: bool


class Report(NamedTuple):
    """Everything the report shows; `thumbnails` by URI."""

    output: str
    seed: int
    version: str
    written: datetime
    runs: list[RunFacts]  # the latest first
    current: Current
    models: list[ModelFacts]
    comparison: Comparison | None
    uncertain: list[Shown]
    drawn: list[Shown]
    disagreements: list[tuple[Shown, Shown]]  # by the older and by the newer model
    thumbnails: dict[str, Thumbnail]

    @property
    def uses_seed(self) -> bool:
        """Whether anything here was drawn by chance."""
        return bool(self.drawn) or any(
            reason.images > len(reason.examples) for reason in self.current.reasons
        )

    @property
    def missing(self) -> int:
        """The number of pictures that can no longer be read."""
        return sum(thumbnail.jpeg is None for thumbnail in self.thumbnails.values())

    @property
    def changed(self) -> int:
        """The number of pictures whose files have changed since the run."""
        return sum(
            thumbnail.is_changed and thumbnail.jpeg is not None
            for thumbnail in self.thumbnails.values()
        )


def gather(output: str, seed: int) -> Report:
    """Reads an output folder, and the few images that the report shows.

    Raises:
        UsageError: there are no predictions in it.
    """
    with connect(output) as db:
        runs = read_runs(db)
        hold_current(db)
        current = read_current(db, seed)
        models = [
            ModelFacts(
                model,
                images,
                read_coverage(db, model, runs),
                card_of(model, runs),
                has_own_weights(model, runs),
            )
            for model, images in current.models
        ]
        uncertain, comparison = least_confident(db), compare(db)
        # A few images are all among the least confident: none is left to draw.
        sample = drawn(db, seed) if current.predicted > len(uncertain) else []
        pairs = comparison.disagreements if comparison else []
        before: list[Key] = [(pair.uri, pair.before_run) for pair in pairs]
        after: list[Key] = [(pair.uri, pair.after_run) for pair in pairs]
        shown = read_shown(db, [*uncertain, *sample, *before, *after])
    return Report(
        output=output,
        seed=seed,
        version=__version__,
        written=datetime.now(timezone.utc),
        runs=runs,
        current=current,
        models=models,
        comparison=comparison,
        uncertain=[shown[key] for key in uncertain],
        drawn=[shown[key] for key in sample],
        disagreements=[(shown[b], shown[a]) for b, a in zip(before, after, strict=True)],
        thumbnails=make_thumbnails(list(shown.values()), runs),
    )
