"""The columns of the output, and how a shard's rows become them."""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.models.labels import Label
from transforms.records import ClassifiedImage

_PREDICTION: Final = pa.struct(
    [
        ("class_index", pa.int32()),
        ("wnid", pa.string()),
        ("label", pa.string()),
        ("score", pa.float32()),
    ]
)

SCHEMA: Final = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        ("label", pa.string()),
        ("score", pa.float32()),
        ("class_index", pa.int32()),
        ("wnid", pa.string()),
        ("top_k", pa.list_(pa.field("element", _PREDICTION))),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("byte_size", pa.int64()),
        ("last_modified", pa.timestamp("us", tz="UTC")),
        pa.field("model", pa.string(), nullable=False),
        ("error", pa.string()),
        ("error_stage", pa.string()),
        ("error_message", pa.string()),
        ("retryable", pa.bool_()),
    ]
)

# A scan reads a few megabytes at a time; a default shard is one group.
_ROWS_A_GROUP = 64 * 1024


def row_of(image: ClassifiedImage, labels: Sequence[Label], model: str) -> dict[str, Any]:
    """One row of `SCHEMA`."""
    listed, failure = image.slot.image, image.failure
    top_k = [
        {
            "class_index": prediction.class_index,
            "wnid": labels[prediction.class_index].wnid,
            "label": labels[prediction.class_index].name,
            "score": prediction.score,
        }
        for prediction in image.top_k
    ]
    row: dict[str, Any] = {
        "uri": listed.uri,
        "top_k": top_k or None,
        "width": image.width,
        "height": image.height,
        "format": image.format,
        "byte_size": listed.byte_size,
        "last_modified": listed.last_modified,
        "model": model,
    }
    if top_k:
        row |= top_k[0]
    if failure is not None:
        row["error"] = failure.error
        row["error_stage"] = failure.stage
        row["error_message"] = failure.message
        row["retryable"] = failure.retryable
    return row


def parquet_bytes(rows: Sequence[dict[str, Any]]) -> bytes:
    """A whole Parquet file: zstd, list items named `element`, one schema for every file."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_pylist(list(rows), SCHEMA),
        sink,
        compression="zstd",
        write_page_checksum=True,
        row_group_size=_ROWS_A_GROUP,
    )
    return sink.getvalue().to_pybytes()
