"""The columns of the output, and how a shard's rows become them."""

from collections.abc import Sequence
from itertools import accumulate
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


def table_of(images: Sequence[ClassifiedImage], labels: Sequence[Label], model: str) -> pa.Table:
    """A row of `SCHEMA` for each image, in order; `labels` by class index."""
    listed = [image.slot.image for image in images]
    failures = [image.failure for image in images]
    best = [image.top_k[0] if image.top_k else None for image in images]
    best_labels = [labels[each.class_index] if each else None for each in best]
    columns: dict[str, Any] = {
        "uri": [image.uri for image in listed],
        "label": [label and label.name for label in best_labels],
        "score": [each and each.score for each in best],
        "class_index": [each and each.class_index for each in best],
        "wnid": [label and label.wnid for label in best_labels],
        "top_k": _top_k(images, labels),
        "width": [image.width for image in images],
        "height": [image.height for image in images],
        "format": [image.format for image in images],
        "byte_size": [image.byte_size for image in listed],
        "last_modified": [image.last_modified for image in listed],
        "model": [model] * len(images),
        "error": [failure and failure.error for failure in failures],
        "error_stage": [failure and failure.stage for failure in failures],
        "error_message": [failure and failure.message for failure in failures],
        "retryable": [failure and failure.retryable for failure in failures],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], SCHEMA)


def _top_k(images: Sequence[ClassifiedImage], labels: Sequence[Label]) -> pa.ListArray:
    """The lists of predictions, null for an image that has none."""
    predictions = [each for image in images for each in image.top_k]
    named = [labels[each.class_index] for each in predictions]
    values = (
        [each.class_index for each in predictions],
        [label.wnid for label in named],
        [label.name for label in named],
        [each.score for each in predictions],
    )
    fields = list(_PREDICTION)
    arrays = [pa.array(each, field.type) for each, field in zip(values, fields, strict=True)]
    ends = accumulate(len(image.top_k) for image in images)
    return pa.ListArray.from_arrays(
        pa.array([0, *ends], pa.int32()),
        pa.StructArray.from_arrays(arrays, fields=fields),
        SCHEMA.field("top_k").type,
        mask=pa.array([not image.top_k for image in images], pa.bool_()),
    )


def parquet_bytes(table: pa.Table) -> bytes:
    """A whole Parquet file of rows of `SCHEMA`: zstd, list items named `element`."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        write_page_checksum=True,
        row_group_size=_ROWS_A_GROUP,
    )
    return sink.getvalue().to_pybytes()
