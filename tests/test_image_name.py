import pytest

from pipeline.image_name import ImageName, parse_image_name

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "host", "repository", "reference"),
    [
        ("ubuntu", "registry-1.docker.io", "library/ubuntu", "latest"),
        ("apache/beam:2.77.0", "registry-1.docker.io", "apache/beam", "2.77.0"),
        ("docker.io/apache/beam", "registry-1.docker.io", "apache/beam", "latest"),
        ("us-docker.pkg.dev/my-project/a/b/cpu:1", "us-docker.pkg.dev", "my-project/a/b/cpu", "1"),
        ("gcr.io/example.com/my-project/x", "gcr.io", "example.com/my-project/x", "latest"),
        ("localhost/x:a_B.c-1", "localhost", "x", "a_B.c-1"),
        ("localhost:5000/x", "localhost:5000", "x", "latest"),
        ("[::1]:5000/x", "[::1]:5000", "x", "latest"),
        (f"gcr.io/p/x:1@{DIGEST}", "gcr.io", "p/x", DIGEST),
    ],
)
def test_names_are_read_as_docker_reads_them(
    text: str, host: str, repository: str, reference: str
) -> None:
    assert parse_image_name(text) == ImageName(host, repository, reference)


@pytest.mark.parametrize(
    "text", ["", "gcr.io/P/x", "gcr.io/p/x:", "gcr.io/p//x", "https://gcr.io/p/x", "a b", "x:y:z"]
)
def test_what_cannot_be_the_name_of_an_image_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no name of an image, such as HOST/PROJECT/NAME:TAG"):
        parse_image_name(text)


def test_only_this_machine_is_asked_without_encryption() -> None:
    for host in ("localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"):
        assert ImageName(host, "a/b", "1").root == f"http://{host}/v2/a/b"
    for host in ("gcr.io", "localhost.example.com:5000", "10.0.0.1:5000", "127.0.0.1.example.com"):
        assert ImageName(host, "a/b", "1").root == f"https://{host}/v2/a/b"


def test_googles_credentials_are_for_googles_registries() -> None:
    for host in ("europe-docker.pkg.dev", "gcr.io", "eu.gcr.io"):
        assert ImageName(host, "p/x", "1").is_google
    for host in ("registry-1.docker.io", "pkg.dev.example.com", "notgcr.io", "gcr.io:5000"):
        assert not ImageName(host, "p/x", "1").is_google
