"""Output folders made by hand, in the schema of the pipeline, without running it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from transforms.ledger import LedgerLine, write_ledger
from transforms.schema import SCHEMA, parquet_bytes

MODEL = "mobilenet_v1_0.25_224@0123456789ab"
OTHER = "mobilenet_v1_1_224@ba9876543210"
FIRST, SECOND, THIRD = (f"r-2026112{day}T101500-a1b{day}" for day in (1, 2, 3))


def predicted(
    uri: str, label: str, score: float, *others: tuple[str, float], **columns: Any
) -> dict[str, Any]:
    """A row with a prediction; `others` follow in its top-k."""
    top_k = [
        {"class_index": index, "wnid": None, "label": name, "score": value}
        for index, (name, value) in enumerate([(label, score), *others])
    ]
    return {"uri": uri, "model": MODEL, "top_k": top_k, **top_k[0], **columns}


def failed(uri: str, error: str, message: str = "", **columns: Any) -> dict[str, Any]:
    """A row without a prediction."""
    why = {"error": error, "error_stage": "decode", "error_message": message}
    return {"uri": uri, "model": MODEL, "retryable": error == "unreadable", **why, **columns}


def write_run(
    output: Path,
    run_id: str,
    rows: Sequence[dict[str, Any]],
    *,
    finished: bool = True,
    listed: int | None = None,
    skipped: int = 0,
    **facts: Any,
) -> None:
    """One part file, a ledger, and the run's own file unless it was killed before that."""
    folder = output / "predictions" / f"run_id={run_id}"
    folder.mkdir(parents=True)
    (folder / "part-00000-00000.parquet").write_bytes(
        parquet_bytes(pa.Table.from_pylist(list(rows), SCHEMA))
    )
    errors = sum("error" in row for row in rows)
    ledger = (
        LedgerLine("bucket", "00000", listed or len(rows) + skipped, 0, 0),
        LedgerLine("part", "predictions/earlier", skipped, 0, 0),
    )
    write_ledger(ledger, str(output), run_id)
    if finished:
        (output / "runs").mkdir(exist_ok=True)
        account = {
            "run_id": run_id,
            "complete": True,
            "started": "2026-11-21T10:15:00+00:00",
            "seconds": 2.0,
            "images_per_second": len(rows) / 2,
            "listed": listed or len(rows) + skipped,
            "duplicates": 0,
            "predicted": len(rows) - errors,
            "failed": errors,
            "skipped": skipped,
            "model": rows[0]["model"] if rows else MODEL,
        }
        (output / "runs" / f"{run_id}.json").write_text(json.dumps(account | facts))
