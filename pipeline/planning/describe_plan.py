"""A plan as a person reads it, and as a program does."""

import json
from collections.abc import Iterator
from typing import Any, Final

from rich.filesize import decimal

from pipeline.planning.estimate import Estimate
from pipeline.planning.plan import Plan
from pipeline.planning.prices import PRICES_FILE, prices
from transforms.storage.uris import scheme_of

_HEADER: Final = ("", "images/s", "bound by", "machines", "hours", "$ total")


def describe_plan(plan: Plan) -> str:
    """The plan in one page: what was counted, what was measured, what follows, what was assumed."""
    sections = _counted(plan), _measured(plan), _expected(plan), _assumed(plan), _prices()
    return "\n\n".join("\n".join(lines) for lines in sections)


def plan_json(plan: Plan) -> str:
    """The plan as one JSON object, with the prices and assumptions it was made from."""
    content = _plain(plan)
    del content["survey"]["sample"]
    content["requests"] |= {"gets": plan.requests.gets, "dollars": plan.requests.dollars}
    return json.dumps(content | {"prices": prices()}, indent=2)


def _counted(plan: Plan) -> Iterator[str]:
    found, requests, rates = plan.survey, plan.requests, plan.rates
    again = found.listed - found.distinct
    yield f"dry run: nothing was classified, nothing was written to {plan.output}\n"
    yield f"inputs   {found.listed:,} listed, {found.distinct:,} distinct, {again:,} named again"
    if found.failed:
        yield f"         {found.failed:,} cannot be read, as the listing shows"
    if found.skipped:
        yield f"         {found.skipped:,} skipped, since their rows are current"
    source = "by their listed sizes" if found.mean_bytes else "by the mean of the sample"
    size = decimal(round((found.mean_bytes or rates.mean_bytes) * (found.alone + found.in_tars)))
    yield f"to do    {found.due:,} images, about {size} {source}"
    yield f"shards   at least {requests.uploads:,}, each a file of the result"
    yield f"model    {plan.model} with {plan.engine}"
    parts = (
        (requests.images, "for single images"),
        (requests.tars_to_list, "to list tars"),
        (requests.tars_to_read, "to read tars, one for each shard with images of it"),
        (requests.earlier_parts, "for rows of earlier runs"),
    )
    gets = " + ".join(f"{count:,} {what}" for count, what in parts if count)
    is_there = all(scheme_of(image.uri) == "gs" for image in found.sample)
    where = "" if is_there else ", once the inputs lie on Cloud Storage"
    yield f"GETs     {requests.gets:,}" + (f": {gets}" if gets else "")
    yield f"         ${requests.dollars:,.2f} with listings and uploads{where}"
    reasons = "".join(f", {count} {reason}" for reason, count in rates.failures.items())
    yield f"sample   {rates.tried:,} images, chosen by a hash of their names: "
    yield f"         {rates.decoded:,} decoded{reasons}"


def _measured(plan: Plan) -> Iterator[str]:
    rates = plan.rates
    size, gpu = decimal(round(rates.mean_bytes)), rates.infer_gpu
    yield "measured on this machine"
    yield f"  read    {rates.get_seconds * 1000:,.3g} ms a GET, one at a time; {size} an image"
    yield f"  decode  {rates.decode:,.0f} images/s a core"
    yield f"  infer   {gpu or rates.infer_core:,.0f} images/s {'on the GPU' if gpu else 'a core'}"


def _expected(plan: Plan) -> Iterator[str]:
    if plan.chosen_workers is not None:
        yield f"expected, on {plan.chosen_workers:,} workers"
    else:
        yield f"expected, to be done in {plan.deadline_hours:g} h"
    rows = [_HEADER, *map(_row, plan.estimates)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])
        yield "  " + "  ".join(cells).rstrip()
    if not plan.survey.due:
        yield "  nothing is left to do: the rows of all images are current"
    if any(not each.is_infer_measured for each in plan.estimates):
        yield "  * its GPU's rate is assumed, see below"


def _row(each: Estimate) -> tuple[str, ...]:
    return (
        each.machine + ("" if each.is_infer_measured else " *"),
        f"{each.images_per_second:,.0f}",
        each.bound,
        f"{each.machines:,}",
        f"{each.hours:,.2f}" if each.hours >= 0.01 else f"{each.hours * 3600:.1f} s",
        f"{each.dollars:,.2f}",
    )


def _assumed(plan: Plan) -> Iterator[str]:
    yield "assumed, not measured"
    for name, each in prices()["assumptions"].items():
        value = each["value"]
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number:,}" for key, number in value.items())
        yield f"  {name} = {value}: {each['why']}"
    if plan.requests.tars_to_read:
        yield "  that a tar takes get_seconds as well: large ones take seconds each"


def _prices() -> Iterator[str]:
    yield f"prices   list prices for {prices()['region']}, without discounts, free tier or tax"
    for each in prices()["sources"].values():
        yield f"         {each['url']}: as of {each['as_of']}"
    file = f"{PRICES_FILE.parent.name}/{PRICES_FILE.name}"
    yield f"         prices and assumptions stand in {file}: edit them there"


def _plain(value: Any) -> Any:
    """Named tuples as dictionaries, all the way down."""
    if hasattr(value, "_asdict"):
        return {name: _plain(each) for name, each in value._asdict().items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
