"""The graph as a whole; what it gives is compared with Keras in end_to_end/test_run.py."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.run import main
from tests.helpers.model_fixtures import PHOTOS, TinyModel
from transforms.storage.base import Content
from transforms.storage.local import LocalStorage


@pytest.mark.usefixtures("own_caches")
def test_the_ledger_is_on_disk_before_the_first_image_is_read(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, read = tmp_path / "out", LocalStorage.read
    listed: list[list[Path]] = []

    def note_ledgers(self: LocalStorage, uri: str, max_bytes: int) -> Content:
        listed.append(list(output.glob("ledger/*.jsonl")))
        return read(self, uri, max_bytes)

    monkeypatch.setattr(LocalStorage, "read", note_ledgers)
    options = ["--input", str(PHOTOS), "--output", str(output), "--shard-size", "5"]
    result = CliRunner().invoke(main, [*options, *tiny_model.options()])
    assert result.exit_code == 0, result.output
    assert [len(ledgers) for ledgers in listed] == [1] * len(list(PHOTOS.iterdir()))
