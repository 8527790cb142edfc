"""The cache of networks and the fingerprint of a model."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.model_fixtures import TinyModel
from transforms.models.artifact import Network, NetworkRequest, fingerprint, network_for
from transforms.models.errors import ModelError
from transforms.models.labels import Label

LABELS = (Label(0, None, "a"), Label(1, None, "b"))
NETWORK = Network("tiny.tflite", "litert", 32, 4, (1 / 127.5, -1.0), "logits", False, ())


def request(tiny: TinyModel, **changes: Any) -> NetworkRequest:
    whole = NetworkRequest("tiny", "float32", "litert", model_file=str(tiny.path))
    return whole._replace(**changes)


def test_a_network_is_built_once(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    first = network_for(request(tiny_model), said.append)
    assert (first.image_size, first.classes) == (32, 4)
    assert Path(first.path).stat().st_size > 1000
    assert network_for(request(tiny_model), said.append) == first
    assert said == ["building tiny for litert (once; some ten seconds)"]
    assert [path.name for path in (tmp_path / "mobilenet-beam" / "networks").iterdir()] == [
        Path(first.path).parent.name
    ]


@pytest.mark.usefixtures("own_caches")
def test_another_scaling_is_another_network(tiny_model: TinyModel) -> None:
    other = network_for(request(tiny_model, scaling="0..1"), print)
    assert other.path != network_for(request(tiny_model), print).path


def test_a_users_own_keras_settings_make_no_other_network(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = []
    for home, settings in (("one", {}), ("other", {"floatx": "float16", "backend": "jax"})):
        (tmp_path / home).mkdir()
        (tmp_path / home / "keras.json").write_text(json.dumps(settings))
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / home))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
        contents.append(Path(network_for(request(tiny_model), print).path).read_bytes())
    assert contents[0] == contents[1]


def test_a_file_that_is_no_model_is_a_model_error_with_nothing_kept(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 not a model")
    broken = request(tiny_model, model_file=str(tmp_path / "broken.keras"))
    with pytest.raises(ModelError, match=r"broken\.keras' cannot be loaded"):
        network_for(broken, print)
    assert list((tmp_path / "mobilenet-beam" / "networks").iterdir()) == []


def test_the_fingerprint_changes_with_all_that_changes_a_prediction(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    other = tmp_path / "other.keras"
    other.write_bytes(tiny_model.path.read_bytes() + b" ")
    base = request(tiny_model)
    prints = [
        fingerprint(base, NETWORK, LABELS, "crop"),
        fingerprint(base, NETWORK, LABELS, "squash"),
        fingerprint(base, NETWORK, LABELS[:1], "crop"),
        fingerprint(base._replace(precision="int8"), NETWORK, LABELS, "crop"),
        fingerprint(base._replace(alpha=0.5), NETWORK, LABELS, "crop"),
        fingerprint(base._replace(image_size=192), NETWORK, LABELS, "crop"),
        fingerprint(base._replace(model_file=str(other)), NETWORK, LABELS, "crop"),
        fingerprint(base._replace(classes=7), NETWORK, LABELS, "crop"),
        fingerprint(base, NETWORK._replace(scaling=(1.0, 0.0)), LABELS, "crop"),
        fingerprint(base, NETWORK._replace(outputs="probabilities"), LABELS, "crop"),
    ]
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_is_that_of_the_content_not_of_its_place_or_of_who_decided(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.keras"
    copy.write_bytes(tiny_model.path.read_bytes())
    base = request(tiny_model)
    expected = fingerprint(base, NETWORK, LABELS, "crop")
    for changes in (
        {"model_file": str(copy)},
        {"engine": "tensorflow"},
        {"or_tensorflow": True},
        {"weights_name": "other/name.h5"},
        {"scaling": "-1..1", "outputs": "logits"},
    ):
        assert fingerprint(base._replace(**changes), NETWORK, LABELS, "crop") == expected


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("echo one >&2; echo 'the disk is full' >&2; exit 1", "the disk is full"),
        ("kill -KILL $$", "its process ended with signal 9, as where memory runs out"),
        ("exit 7", "its process ended without a word"),
    ],
)
def test_however_the_builder_ends_it_is_one_line_and_the_rest_is_kept(
    tiny_model: TinyModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    message: str,
) -> None:
    builder = tmp_path / "python"
    builder.write_text(f"#!/bin/sh\n{end}\n")
    builder.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(builder))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ModelError) as error:
        network_for(request(tiny_model), print)
    (log,) = tmp_path.glob("*.log")
    assert str(error.value) == f"tiny cannot be built for litert: {message} (all of it: {log})"
    assert log.read_text() == ("one\nthe disk is full\n" if "disk" in end else "")
