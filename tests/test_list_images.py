import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam import Create, Map, Pipeline
from apache_beam.testing.util import assert_that, equal_to
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.helpers.gcs_emulator import Proxy
from transforms.failures import Failure
from transforms.list_images import ListImages, Source, list_images, manifest_lines
from transforms.records import ListedImage
from transforms.storage import storage_for


def lines_of(path: Path, column: str = "uri") -> list[str]:
    return list(manifest_lines(Source("manifest", str(path), column)))


def error_of(path: Path, column: str = "uri") -> str:
    with pytest.raises(ValueError) as caught:
        lines_of(path, column)
    return str(caught.value)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_parquet(path: Path, columns: dict[str, pa.Array]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"/a.jpg\n/b.jpg\n", ["/a.jpg", "/b.jpg"]),
        (b"/a.jpg\n/b.jpg", ["/a.jpg", "/b.jpg"]),
        (b"\xef\xbb\xbf/a.jpg\r\n\r\n  \r\n/b.jpg\r\n", ["/a.jpg", "/b.jpg"]),
        (b" spaced .jpg \n", [" spaced .jpg "]),
        (b"/a\rb.jpg\n", ["/a\rb.jpg"]),
        ("/é\u2028\x85.jpg\n".encode(), ["/é\u2028\x85.jpg"]),
        (b"/\xff.jpg\n", ["/\udcff.jpg"]),
        (b"# 1.jpg\n", ["# 1.jpg"]),
        (b"", []),
    ],
    ids=[
        "lines",
        "no last end",
        "windows",
        "spaces",
        "return",
        "odd",
        "not utf-8",
        "hash",
        "empty",
    ],
)
def test_text_manifest_has_one_uri_a_line(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    assert lines_of(write(tmp_path / "list.txt", content)) == lines
    assert lines_of(write(tmp_path / "LIST.TXT", content)) == lines


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"uri\n/a.jpg\n\n/b.jpg\n", ["/a.jpg", "/b.jpg"]),
        (b'\xef\xbb\xbfid,uri\r\n1,"/a, ""b"".jpg"\r\n2,\r\n3\r\n', ['/a, "b".jpg']),
        (b'uri,id\n"/line\nbreak.jpg",1\n/\xff.jpg,2\n', ["/line\nbreak.jpg", "/\udcff.jpg"]),
        (b"uri\n", []),
    ],
    ids=["lines", "quotes", "odd", "header alone"],
)
def test_csv_manifest_has_a_column_of_uris(
    tmp_path: Path, content: bytes, lines: list[str]
) -> None:
    assert lines_of(write(tmp_path / "list.csv", content)) == lines


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["/a.jpg", None, "", "/é.jpg"]),
        pa.array(["/a.jpg", None, "", "/é.jpg"], pa.large_string()),
        pa.array([b"/a.jpg", None, b"", "/é.jpg".encode()]),
        pa.array(["/a.jpg", None, "", "/é.jpg"]).dictionary_encode(),
    ],
    ids=["string", "large_string", "binary", "dictionary"],
)
def test_parquet_manifest_has_a_column_of_uris(tmp_path: Path, column: pa.Array) -> None:
    numbers = pa.array(range(4))
    path = write_parquet(tmp_path / "list.parquet", {"id": numbers, "image.uri": column})
    assert lines_of(path, "image.uri") == ["/a.jpg", "/é.jpg"]


def test_parquet_names_that_are_not_utf8_lead_to_their_files(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "list.parquet", {"uri": pa.array([b"/\xff.jpg"])})
    assert lines_of(path) == ["/\udcff.jpg"]


def test_wrong_column_names_the_columns_there_are(tmp_path: Path) -> None:
    manifest = write(tmp_path / "list.csv", b"id,path\n1,/a.jpg\n")
    assert error_of(manifest) == (
        f"manifest '{manifest}' has no column 'uri'; it has 'id', 'path': "
        "choose one with --manifest-column"
    )
    assert lines_of(manifest, "path") == ["/a.jpg"]
    parquet = write_parquet(tmp_path / "list.parquet", {"path": pa.array(["/a.jpg"])})
    assert error_of(parquet) == (
        f"manifest '{parquet}' has no column 'uri'; it has 'path': "
        "choose one with --manifest-column"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "{} has no column 'uri'; it is empty: choose one with --manifest-column"),
        ("a.csv", b'uri\n"/a.jpg\n', "{} is not valid csv: line 2: unexpected end of data"),
        ("a.csv", b'uri\n"a"b\n', "{} is not valid csv: line 2: ',' expected after '\"'"),
        (
            "a.csv",
            b"uri\n" + b"x" * 200_000,
            "{} is not valid csv: line 2: field larger than field limit (131072)",
        ),
        ("a.txt", "/a.jpg\n".encode("utf-16"), "{} is UTF-16: save it as UTF-8"),
        ("a.gz", b"", "{} must end in .txt, .csv or .parquet"),
    ],
)
def test_manifest_of_another_kind_says_so(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = write(tmp_path / name, content)
    assert error_of(path) == message.format(f"manifest '{path}'")


@pytest.mark.parametrize("content", [b"", b"uri\n/a.jpg\n", b"PAR1" + b"\xff" * 20 + b"PAR1"])
def test_what_is_no_parquet_file_says_so(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "list.parquet", content)
    with pytest.raises((ValueError, OSError)) as caught:
        lines_of(path)
    assert str(caught.value).startswith(f"manifest '{path}' is not valid parquet: ")


def test_parquet_column_that_is_no_text_says_so(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "list.parquet", {"uri": pa.array([1, 2])})
    assert error_of(path) == (
        f"manifest '{path}' is not valid parquet: column 'uri' holds int64, not text"
    )


def test_missing_manifest_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lines_of(tmp_path / "gone.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(OSError, match="is a folder, not a file"):
        lines_of(tmp_path / "folder.txt")


@pytest.mark.timeout(40)
def test_manifest_that_is_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(OSError, match="is a named pipe, not a file"):
        lines_of(tmp_path / "list.txt")


def test_lines_become_canonical_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = write(
        tmp_path / "list.txt",
        b"a.jpg\n./b/../a.jpg\nfile:///c%20d.jpg\n/\xff.jpg\nGS://bucket/[1].jpg\nx*.jpg\n",
    )
    source = Source("manifest", f"file://{manifest}")
    assert list(list_images(source, "out")) == [
        ListedImage(f"{tmp_path}/a.jpg"),
        ListedImage(f"{tmp_path}/a.jpg"),
        ListedImage("/c d.jpg"),
        ListedImage("file:///%FF.jpg"),
        ListedImage("gs://bucket/[1].jpg"),
        ListedImage(f"{tmp_path}/x*.jpg"),
    ]


@pytest.mark.parametrize("output", [".", "photos", "photos/", "{}", "file://{}", "{}/photos"])
def test_only_what_runs_wrote_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "photos" if "photos" in output else tmp_path
    expected = []
    for name in ("photos/a.jpg", "photos/predictionsx/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        expected.append(str(write(tmp_path / name, b"x")))
    for name in ("predictions/run_id=r/a.parquet", "runs/r-1.json", "ledger/r-1.jsonl"):
        storage_for(str(root)).write(str(root), name, b"x")
    write(root / ".staging-123", b"x")
    source = Source("input", str(tmp_path))
    found = [image.uri for image in list_images(source, output.format(tmp_path))]
    assert found == expected


def test_what_runs_wrote_to_a_bucket_is_left_out(cloud: Proxy) -> None:
    client = storage.Client("test", credentials=AnonymousCredentials())
    bucket = client.create_bucket("list-images")
    for name in ("a.jpg", "out/b.jpg", "out/predictions/run_id=r-1/c.parquet", "out/.staging-1"):
        bucket.blob(name).upload_from_string(b"x")
    for output in ("gs://list-images/out", "gs://list-images/out/"):
        found = list_images(Source("input", "gs://list-images/**"), output)
        assert [i.uri for i in found] == ["gs://list-images/a.jpg", "gs://list-images/out/b.jpg"]


def test_transform_lists_inputs_and_manifests_with_duplicates(p: Pipeline, tmp_path: Path) -> None:
    image = write(tmp_path / "in.jpg", b"12345")
    os.utime(image, ns=(0, 7_000))
    link = tmp_path / "link.jpg"
    link.symlink_to("gone")
    message = f"{link}: it links to 'gone', which does not exist"
    manifest = write(tmp_path / "list.txt", f"{image}\n{image}\n".encode())
    sources = [
        Source("input", str(tmp_path / "*.jpg")),
        Source("manifest", str(manifest)),
    ]
    with p:
        listed = p | Create(sources) | ListImages(str(tmp_path / "out"))
        assert_that(
            listed | Map(tuple),
            equal_to(
                [
                    (str(image), 5, 7, None),
                    (str(link), None, None, Failure("not_found", "list", message)),
                    (str(image), None, None, None),
                    (str(image), None, None, None),
                ]
            ),
        )
