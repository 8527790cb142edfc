"""A plan as a person reads it, and as a program does."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.options import RunOptions
from pipeline.planning.estimate import FORMULAS, Estimate
from pipeline.planning.fetches import count_objects
from pipeline.planning.plan import Plan
from pipeline.planning.prices import PRICES_FILE, Prices
from transforms.cut_shards import count_buckets
from transforms.storage.uris import scheme_of

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def describe_plan(plan: Plan, options: RunOptions, prices: Prices) -> str:
    """The plan in one page: what was counted, what was measured, what follows, what was assumed."""
    sections = (
        _inputs(plan, options),
        ["measured on this machine", *_measured(plan)],
        [f"expected, {_aim(plan)}", *_expected(plan)],
        ["how", *(f"  {line}" for line in FORMULAS.values())],
        ["assumed, not measured", *_assumed(prices, plan)],
        _prices(prices),
    )
    return "\n\n".join("\n".join(lines) for lines in sections)


def plan_json(plan: Plan, prices: Prices) -> str:
    """The plan as one JSON object, with the formulas and the table of prices it was made from."""
    content = _plain(plan) | {"formulas": FORMULAS, "prices": prices.table}
    del content["survey"]["sample"], content["rates"]["failures"]
    content["survey"] |= {"duplicates": plan.survey.duplicates, "due": plan.survey.due}
    content["rates"]["failures"] = plan.rates.reasons
    return json.dumps(content, indent=2)


def readable_bytes(count: float) -> str:
    """Such as `1.4 GB`."""
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def _inputs(plan: Plan, options: RunOptions) -> list[str]:
    surveyed, rates = plan.survey, plan.rates
    about = "" if surveyed.is_exact else "about "
    readable = surveyed.listed - surveyed.failed
    if surveyed.sized == readable:
        source = "as listed"
    elif surveyed.sized:
        source = f"{surveyed.sized:,} as listed, the rest by the sample's mean"
    else:
        source = "by the sample's mean: a manifest tells no sizes"
    lines = [
        f"dry run: nothing was classified, nothing was written to {options.output}",
        "",
        f"inputs   {surveyed.listed:,} listed, {about}{surveyed.distinct:,} distinct, "
        f"{about}{surveyed.duplicates:,} named again",
        f"         {readable_bytes(plan.byte_size)}, {source}",
    ]
    if options.resume:
        guessed = "" if surveyed.skipped.is_exact else "about "
        lines.append(
            f"         {guessed}{surveyed.skipped.images:,} skipped, since their rows are current; "
            f"{guessed or about}{surveyed.due:,} left to do"
        )
    if surveyed.failed:
        lines.append(f"         {surveyed.failed:,} that cannot be read by what the listing says")
    lines += [
        f"model    {plan.model} with {plan.engine}",
        f"batches  at least {plan.batches:,}, of {options.batch_size:,} images",
        f"shards   {_shards(plan, options)}, of up to {options.shard_size:,} images",
        f"GETs     {plan.requests.gets:,}{_fetches(plan)}"
        + ("" if surveyed.on_gcs else ", once the images lie on Cloud Storage")
        + _own_cost(plan, options),
    ]
    reasons = ", ".join(f"{count} {reason}" for reason, count in rates.reasons.items())
    lines.append(
        f"sample   {rates.tried:,} images, chosen by a hash of their names: "
        f"{rates.decoded:,} decoded" + (f", {reasons}" if reasons else "")
    )
    return lines


def _shards(plan: Plan, options: RunOptions) -> str:
    is_exact = count_buckets(plan.survey.listed, options.shard_size) == 1
    return f"{plan.shards:,}" if is_exact else f"about {plan.shards:,}"


def _aim(plan: Plan) -> str:
    if plan.chosen_workers is not None:
        return f"on {plan.chosen_workers:,} workers"
    return f"to be done in {plan.deadline_hours:g} h"


def _fetches(plan: Plan) -> str:
    fetches = plan.fetches
    if fetches.gets == fetches.images:
        return ", one an image"
    parts = (
        (fetches.images, "for images by themselves"),
        (fetches.tars_to_list, "to list tars"),
        (fetches.tars_to_read, "to read tars, one for each shard with images of it"),
        (fetches.earlier_parts, "for rows of earlier runs"),
    )
    return ": " + " + ".join(f"{count:,} {what}" for count, what in parts if count)


def _own_cost(plan: Plan, options: RunOptions) -> str:
    """What the plan itself has fetched of Cloud Storage."""
    gets = count_objects(image for image in plan.survey.sample if scheme_of(image.uri) == "gs")
    if plan.survey.on_gcs:
        gets += plan.survey.tars.listed
    if scheme_of(options.output) == "gs":
        gets += plan.fetches.earlier_parts
    return f"; this plan took {gets:,} of its own" if gets else ""


def _measured(plan: Plan) -> list[str]:
    rates = plan.rates
    tars = "tars fetched included" if plan.survey.tars.read else "none other in flight"
    lines = [
        f"  read    {rates.read_seconds * 1000:,.3g} ms an image, {tars}; "
        f"{readable_bytes(rates.mean_bytes)} a file on average",
        f"  decode  {rates.decode:,.0f} images/s a core, by its time: other processes do not count",
    ]
    if rates.infer_gpu is not None:
        return [*lines, f"  infer   {rates.infer_gpu:,.0f} images/s on the GPU"]
    return [*lines, f"  infer   {rates.infer_core:,.0f} images/s a core"]


def _expected(plan: Plan) -> Iterator[str]:
    header = ("", "images/s", "bound by", "workers", "hours", "$/million", "$ total")
    here = plan.here
    rows: list[Sequence[str]] = [
        header,
        (
            f"this machine, {plan.cores} cores",
            *(_rate(here.images_per_second), here.bound, "1", _hours(plan.here_hours), "-", "-"),
        ),
        *(_row(each) for each in plan.estimates),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        yield "  " + "  ".join(cells).rstrip()
    if not plan.survey.due:
        yield "  nothing is left to do: the rows of all images are current"
    if any(not each.is_infer_measured for each in plan.estimates):
        yield "  * its GPU's rate is assumed, see below"


def _row(each: Estimate) -> Sequence[str]:
    return (
        each.worker.name + ("" if each.is_infer_measured else " *"),
        _rate(each.speed.images_per_second),
        each.speed.bound,
        f"{each.workers:,}",
        _hours(each.hours),
        f"{each.dollars_per_million:,.2f}",
        f"{each.dollars:,.2f}",
    )


def _rate(images_per_second: float) -> str:
    return f"{images_per_second:,.0f}"


def _hours(hours: float) -> str:
    return f"{hours:,.2f}" if hours >= 0.01 else f"{hours * 3600:.1f} s"


def _assumed(prices: Prices, plan: Plan) -> Iterator[str]:
    for name, why in prices.assumptions().items():
        value = prices.assumed(name)
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number:,}" for key, number in value.items())
        yield f"  {name} = {value}: {why}"
    if plan.fetches.tars_to_read:
        yield "  that nobody waits for a tar longer than get_seconds: large ones take seconds each"
    yield "  that --output can be written: the run itself checks it first"


def _prices(prices: Prices) -> list[str]:
    sources = prices.table["sources"].values()
    return [
        f"prices   list prices for {prices.table['region']}, without discounts, free tier or tax",
        *(f"         {each['url']}: as of {each['as_of']}" for each in sources),
        f"         prices and assumptions stand in {PRICES_FILE.parent.name}/{PRICES_FILE.name}: "
        "edit them there",
    ]


def _plain(value: Any) -> Any:
    """Named tuples as dictionaries, all the way down."""
    if hasattr(value, "_asdict"):
        return {name: _plain(each) for name, each in value._asdict().items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
