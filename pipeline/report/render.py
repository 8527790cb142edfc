"""The report as HTML: one file, its styles, script and pictures inside, everything escaped."""

import base64
import hashlib
from importlib import resources
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.compare import SURE
from pipeline.report.gather import Report
from transforms.failures import printable
from transforms.storage import is_local
from transforms.storage.uris import local_path, scheme_of

_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")
_SAFE_IN_PATH: Final = "/!$&'()*+,;=:@-._~"


def render(report: Report) -> str:
    """The whole file."""
    templates = Environment(
        loader=PackageLoader(__package__ or "pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "count": _count,
        "percent": percent,
        "size": size,
        "name": name,
        "printable": printable,
        "link": link,
        "picture": _picture,
    }
    styles, script = _template("report.css"), _template("report.js")
    # Ours are the only styles and the only script, and nothing may be fetched from anywhere.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return templates.get_template("report.html.jinja").render(
        report=report, sure=SURE, policy=policy, styles=Markup(styles), script=Markup(script)
    )


def link(uri: str) -> str | None:
    """A URL by which a browser can open the image; None for schemes that are not safe."""
    scheme = scheme_of(uri)
    if is_local(uri):
        path = local_path(uri)
        # quote() would refuse the surrogates of a name that is not UTF-8.
        return "file://" + quote(_bytes(path), _SAFE_IN_PATH) if path.startswith("/") else None
    if scheme == "gs":
        path = uri.partition("://")[2]
        return "https://storage.cloud.google.com/" + quote(_bytes(path), _SAFE_IN_PATH)
    if scheme in ("https", "http"):
        return f"{scheme}://" + quote(_bytes(uri.partition("://")[2]), _SAFE_IN_PATH + "%?[]")
    return None


def name(uri: str) -> str:
    """The last part of a URI, in characters that print."""
    return printable(uri.rstrip("/").rpartition("/")[2] or uri)


def percent(share: float) -> str:
    """A share of 0..1 as a percentage; neither 0 nor 100 unless it is exactly that."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def size(count: float) -> str:
    """Bytes as text with a unit, such as 1.4 MB."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {_UNITS[unit]}" if count < 999.5 else f"{count:,.0f} {_UNITS[unit]}"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:,.1f}"


def _picture(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _template(file: str) -> str:
    return (resources.files(__package__) / "templates" / file).read_text(encoding="utf-8")
