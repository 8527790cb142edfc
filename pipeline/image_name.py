"""The name of an image in a registry, read as Docker reads it."""

import re
from typing import Final, NamedTuple

_DOCKER_HUB: Final = "registry-1.docker.io"
_GOOGLE: Final = re.compile(r"(.+\.pkg\.dev|(.+\.)?gcr\.io)")
_THIS_MACHINE: Final = re.compile(r"(localhost|127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?")

# The grammar of the distribution specification, and before it a host as Docker tells one.
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE: Final = re.compile(
    r"(?:(?P<host>localhost|[A-Za-z0-9-]*[.:][A-Za-z0-9.:-]*|\[[0-9a-fA-F:]+\](?::[0-9]+)?)/)?"
    rf"(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[a-z0-9+._-]+:[A-Za-z0-9=_-]+))?",
    re.ASCII,
)


class ImageName(NamedTuple):
    """An image as its registry knows it; `reference` is a tag or a digest."""

    host: str
    repository: str
    reference: str

    @property
    def is_google(self) -> bool:
        """Whether Google's credentials are for its registry."""
        return _GOOGLE.fullmatch(self.host) is not None

    @property
    def root(self) -> str:
        """The URL below which the registry has it; without encryption on this machine only."""
        scheme = "http" if _THIS_MACHINE.fullmatch(self.host) else "https"
        return f"{scheme}://{self.host}/v2/{self.repository}"


def parse_image_name(text: str) -> ImageName:
    """What Docker makes of `[host/]name[:tag][@digest]`.

    Raises:
        ValueError: it is none.
    """
    match = _IMAGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no name of an image, such as HOST/PROJECT/NAME:TAG")
    host, repository = match["host"], match["repository"]
    if host in (None, "docker.io", "index.docker.io"):
        host = _DOCKER_HUB
        repository = repository if "/" in repository else f"library/{repository}"
    return ImageName(host, repository, match["digest"] or match["tag"] or "latest")
