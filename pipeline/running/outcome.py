"""What came of a run that has ended, said in its runs/<run>.json."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.running.account import Account, read_account, write_run
from pipeline.running.metrics import Metrics
from pipeline.running.run_facts import Start


class Outcome(NamedTuple):
    """A run that has ended."""

    run_id: str
    model: str
    seconds: float  # of the pipeline itself, listing to last file
    account: Account
    notes: tuple[str, ...] = ()  # what was found out on a model of the user's own

    @property
    def images_per_second(self) -> float:
        """Rows written in this run for each second."""
        tried = self.account.predicted + self.account.failed
        return tried / self.seconds if self.seconds else 0.0


def conclude(
    start: Start, seconds: float, metrics: Metrics | None, began_meanwhile: Sequence[str] = ()
) -> Outcome:
    """Accounts for a run that has ended after `seconds`, and puts its runs/<run>.json in place."""
    account = read_account(start.output, start.run_id, began_meanwhile)
    outcome = Outcome(start.run_id, start.model, seconds, account, start.notes)
    facts = {
        "complete": not account.differences,
        "seconds": round(seconds, 3),
        "images_per_second": round(outcome.images_per_second, 1),
        "listed": account.listed,
        "duplicates": account.duplicates,
        "predicted": account.predicted,
        "failed": account.failed,
        "skipped": account.skipped,
        "skipped_errors": account.skipped_errors,
        "errors": account.errors,
        "differences": list(account.differences),
        "metrics": metrics.facts() if metrics else {},
        "files": [file._asdict() for file in account.files],
    }
    write_run(start.output, start.run_id, start.facts() | facts)
    return outcome
