import gc
import hashlib
import html.parser
import itertools
import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import numpy as np
import pytest
from click.testing import CliRunner, Result
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from PIL import Image

from pipeline.report.__main__ import main
from pipeline.report.compare import Disagreement, Mover, Swap
from pipeline.report.gather import Report, gather
from pipeline.report.pictures import map_in_time
from pipeline.report.render import link, name, percent, render, size
from tests.helpers.gcs_emulator import Proxy
from tests.helpers.made_outputs import (
    FIRST,
    MODEL,
    OTHER,
    SECOND,
    THIRD,
    failed,
    predicted,
    write_run,
)
from tests.helpers.model_fixtures import PHOTOS, Command, TinyModel
from transforms.storage import storage_for

HOSTILE = "</title><script>alert(1)</script>\" onerror='alert(2)' \u202egpj.exe\n{{ 7 * 7 }}"


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its tags, its addresses, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f" {' '.join(data.split())}"

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attrs.get(attribute) or "" for found, attrs in self.tags if found == tag]


def report(output: Path, *options: str) -> Result:
    return CliRunner().invoke(main, [str(output), *options])


def page_of(output: Path) -> Page:
    result = report(output)
    assert result.exit_code == 0, result.output
    return Page((output / "report.html").read_text(encoding="utf-8"))


def words(page: Page) -> str:
    return re.sub(r"\s+([,.;)])", r"\1", " ".join(page.text.split()))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_the_ledger_of_the_latest_run_and_the_state_over_all_runs(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9), failed("b", "unreadable")])
    write_run(output, SECOND, [predicted("b", "cat", 0.7)], skipped=1)
    made = gather(str(output), seed=0)
    assert [(run.run_id, run.listed, run.skipped) for run in made.runs] == [
        (SECOND, 2, 1),
        (FIRST, 2, 0),
    ]
    assert (made.current.images, made.current.predicted, made.current.failed) == (2, 2, 0)
    assert "Every image has a prediction." in words(page_of(output))


def test_a_balanced_run_says_so_and_an_unbalanced_one_says_what_differs(output: Path) -> None:
    rows = [predicted("a", "cat", 0.9), failed("b", "empty")]
    write_run(output, FIRST, rows)
    text = words(page_of(output))
    assert "2 listed = 1 predicted + 1 failed + 0 skipped ✓ balanced" in text

    lost = "part-00000-00001.parquet with 5 images is missing"
    write_run(output, SECOND, rows, complete=False, listed=7, differences=[lost])
    text = words(page_of(output))
    assert f"The ledger does not balance. {lost}." in text
    assert "✓ balanced" not in text


def test_a_run_whose_file_tells_little_is_no_alarm(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9)])
    (output / "runs" / f"{FIRST}.json").write_text("{}")
    text = words(page_of(output))
    assert "does not balance" not in text
    assert "✓ balanced" not in text
    (output / "runs" / f"{FIRST}.json").write_text("{")
    assert f"Not known. The file of run {FIRST} cannot be read" in words(page_of(output))


def test_a_killed_run_is_shown_as_unfinished_with_what_is_there(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9)])
    write_run(
        output,
        SECOND,
        [predicted("b", "cat", 0.9), failed("c", "empty")],
        finished=False,
        listed=9,
        skipped=1,
    )
    latest = gather(str(output), seed=0).runs[0]
    assert (latest.state, latest.model) == ("unfinished", MODEL)
    assert (latest.listed, latest.predicted, latest.failed, latest.skipped) == (9, 1, 1, 1)
    text = words(page_of(output))
    assert f"Unfinished. Run {SECOND} was stopped, or is still running: 2 rows are there" in text
    assert "9 listed = 1 predicted + 1 failed + 1 skipped + 6 missing" in text


def test_labels_are_counted_and_their_coverage_told(output: Path) -> None:
    rows = [predicted(f"a{n}", "cat", 0.5 + n / 10) for n in range(3)]
    write_run(output, FIRST, [*rows, predicted("b", "dish", 0.25)], classes=4)
    made = gather(str(output), seed=0)
    assert [(one.label, one.images) for one in made.current.labels] == [("cat", 3), ("dish", 1)]
    assert made.current.labels[0].mean_score == pytest.approx(0.6)
    assert made.models[0].coverage == (2, 4)
    assert "2 of 4 labels of mobilenet_v1_0.25_224 @0123456789ab appear (50.0%)" in words(
        page_of(output)
    )


def test_coverage_is_of_imagenet_where_the_run_does_not_tell_and_unknown_for_others(
    tmp_path: Path,
) -> None:
    imagenet, own = tmp_path / "imagenet", tmp_path / "own"
    write_run(imagenet, FIRST, [predicted("a", "cat", 0.9)])
    write_run(own, FIRST, [predicted("a", "cat", 0.9, model="mine@1")])
    assert gather(str(imagenet), 0).models[0].coverage == (1, 1000)
    assert gather(str(own), 0).models[0].coverage == (1, None)
    assert "how many it has is not known" in words(page_of(own))


def test_a_model_of_ones_own_has_no_card_whatever_its_file_is_called(output: Path) -> None:
    configuration = {"model": "mobilenet_v2.keras", "labels": "x.txt"}
    rows = [predicted("a", "cat", 0.9, model="mobilenet_v2@1")]
    write_run(output, FIRST, rows, configuration=configuration)
    (facts,) = gather(str(output), 0).models
    assert (facts.card, facts.coverage) == (None, (1, None))


def test_weights_given_as_a_file_are_not_taken_for_the_published_ones(output: Path) -> None:
    rows = [predicted("a", "cat", 0.9)]
    write_run(output, FIRST, rows, configuration={"model": "mobilenet", "weights": "mine.h5"})
    assert "what follows holds if it is the published one" in words(page_of(output))


def test_scores_fall_into_twenty_bins(output: Path) -> None:
    scores = (0.0, 0.049, 0.05, 0.5, 0.999, 1.0)
    write_run(output, FIRST, [predicted(f"{n}", "cat", s) for n, s in enumerate(scores)])
    histogram = gather(str(output), 0).current.histogram
    assert {index: count for index, count in enumerate(histogram) if count} == {
        **dict.fromkeys((0, 19), 2),
        **dict.fromkeys((1, 10), 1),
    }


def test_half_of_the_scores_lie_between_the_quartiles(output: Path) -> None:
    scores = (0.1, 0.2, 0.35, 0.4, 0.9)
    rows = [predicted(f"{n}", "cat", score) for n, score in enumerate(scores)]
    write_run(output, FIRST, [*rows, failed("x", "empty")])
    assert gather(str(output), 0).current.quartiles == pytest.approx((0.2, 0.35, 0.4))
    text = words(page_of(output))
    assert "Half of the images lie between 20.0% and 40.0%; the median is 35.0%." in text


def test_errors_by_reason_with_at_most_three_examples(output: Path) -> None:
    rows = [failed(f"/x/{n}.jpg", "truncated", f"file {n} ends") for n in range(5)]
    write_run(output, FIRST, [*rows, failed("/x/locked.jpg", "unreadable", "I/O error")])
    first, second = gather(str(output), 0).current.reasons
    assert (first.error, first.images, first.retryable) == ("truncated", 5, 0)
    assert (second.error, second.images, second.retryable) == ("unreadable", 1, 1)
    assert [one.message for one in second.examples] == ["I/O error"]
    assert len(first.examples) == 3
    text = words(page_of(output))
    assert "1 of them may succeed on another try" in text
    assert "3 of 5, drawn with seed 0." in text


def test_the_least_confident_come_first_and_the_sample_is_that_of_its_seed(output: Path) -> None:
    write_run(output, FIRST, [predicted(f"{n:03}", "cat", n / 200) for n in range(1, 101)])
    made = gather(str(output), seed=0)
    assert [one.image.uri for one in made.uncertain] == [f"{n:03}" for n in range(1, 25)]

    def drawn(seed: int) -> list[str]:
        return [one.image.uri for one in gather(str(output), seed).drawn]

    def by_hash(uri: str) -> tuple[str, str]:
        return hashlib.md5(f"0{uri}".encode()).hexdigest(), uri

    assert len(set(drawn(0))) == 36
    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    by_chance = sorted(by_hash(f"{n:03}") for n in range(1, 101))
    assert drawn(0) == [uri for _, uri in by_chance[:36]]


def test_two_models_are_compared_image_by_image(output: Path) -> None:
    by_first = [
        predicted("same", "cat", 0.9),
        predicted("near", "cat", 0.6, ("dish", 0.4)),
        predicted("far", "cat", 0.8),
        predicted("lost", "cat", 0.9),
        failed("never", "empty"),
    ]
    by_second = [
        predicted("same", "cat", 0.7, model=OTHER),
        predicted("near", "dish", 0.5, model=OTHER),
        predicted("far", "tower", 0.9, model=OTHER),
        failed("lost", "not_found", model=OTHER),
        failed("never", "empty", model=OTHER),
    ]
    write_run(output, FIRST, by_first)
    write_run(output, SECOND, by_second)
    c = gather(str(output), 0).comparison
    assert c is not None
    assert (c.before, c.after, c.models) == (MODEL, OTHER, 2)
    assert (c.both, c.agreeing, c.runner_up, c.only_before, c.only_after) == (3, 1, 1, 1, 0)
    assert [c.mean_before, c.mean_after] == pytest.approx([2.3 / 3, 2.1 / 3])
    assert c.movers == [Mover("cat", 3, 1), Mover("dish", 0, 1), Mover("tower", 0, 1)]
    assert c.swaps == [Swap("cat", "dish", 1), Swap("cat", "tower", 1)]
    assert c.disagreements == [
        Disagreement("far", FIRST, SECOND),
        Disagreement("near", FIRST, SECOND),
    ]
    text = words(page_of(output))
    assert "Agreement 33.3% 1 of 3 images" in text
    assert "There is no ground truth here" in text


def test_a_disagreement_counts_as_sure_from_a_score_of_one_half_of_both(output: Path) -> None:
    scores = {"sure": (0.5, 0.9), "one": (0.9, 0.49), "unsure": (0.1, 0.05), "same": (0.9, 0.9)}
    write_run(output, FIRST, [predicted(uri, "cat", score) for uri, (score, _) in scores.items()])
    by_other = [
        predicted(uri, "cat" if uri == "same" else "dish", score, model=OTHER)
        for uri, (_, score) in scores.items()
    ]
    write_run(output, SECOND, by_other)
    c = gather(str(output), 0).comparison
    assert c is not None
    assert (c.both_sure, [one.uri for one in c.disagreements]) == (1, ["sure"])
    text = words(page_of(output))
    assert "1 image on which they disagree, both with a score of 50% or more." in text


def test_where_never_both_are_sure_the_page_says_so(output: Path) -> None:
    first = [predicted(f"{n:02}", "cat", 0.05 + n / 100) for n in range(13)]
    write_run(output, FIRST, first)
    write_run(output, SECOND, [row | {"label": "dish", "model": OTHER} for row in first])
    c = gather(str(output), 0).comparison
    assert c is not None
    assert c.both_sure == 0
    assert [one.uri for one in c.disagreements] == [f"{n:02}" for n in range(12, 0, -1)]
    text = words(page_of(output))
    assert "Where both are sure" not in text
    assert "Where they disagree On none of these images are both sure" in text
    assert "with a score of 50% or more; the 12 shown, of 13, are those in which" in text


def test_both_models_have_their_facts_though_one_has_no_current_row(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9)])
    write_run(output, SECOND, [predicted("a", "dish", 0.8, model=OTHER)])
    models = gather(str(output), 0).models
    assert [(facts.model, facts.images) for facts in models] == [(OTHER, 1), (MODEL, 0)]
    text = words(page_of(output))
    assert text.count(" appear (") == 1  # labels are counted over what is current
    facts = text[text.rindex("Models") :]
    assert f"Current rows 1 prediction Fingerprint {OTHER.partition('@')[2]}" in facts
    assert "Current rows no prediction: its images have newer rows, or all failed" in facts
    assert f"Fingerprint {MODEL.partition('@')[2]}" in facts
    assert facts.count("Trained on") == 1  # the same network at two widths


def test_the_seed_is_named_only_where_something_was_drawn(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9), predicted("b", "cat", 0.8)])
    text = words(page_of(output))
    assert "All 2 images with a prediction, the lowest score first, so that no sample is" in text
    assert "seed 0" not in text
    write_run(output, SECOND, [failed(f"{n}", "empty") for n in range(4)])
    assert "3 of 4, drawn with seed 0." in words(page_of(output))
    assert "pipeline.report, seed 0. This file" in words(page_of(output))


def test_a_model_of_several_runs_counts_with_its_latest_row(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9), predicted("b", "cat", 0.9)])
    write_run(output, SECOND, [predicted("a", "dish", 0.8), failed("b", "unreadable")])
    by_other = [predicted("a", "dish", 0.7, model=OTHER), predicted("b", "dish", 0.7, model=OTHER)]
    write_run(output, THIRD, by_other)
    c = gather(str(output), 0).comparison
    assert c is not None
    assert (c.both, c.agreeing, c.only_before, c.only_after) == (1, 1, 0, 1)


def test_one_model_is_compared_with_nothing(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9)])
    write_run(output, SECOND, [predicted("b", "cat", 0.9)])
    assert gather(str(output), 0).comparison is None
    assert "ground truth" not in words(page_of(output))


def structure(page: Page) -> list[tuple[str, list[str]]]:
    """The tags and the names of their attributes, which no value may change."""
    return [(tag, list(attrs)) for tag, attrs in page.tags]


def page_full_of(text: str, folder: Path, state: str) -> Page:
    """A page with this text wherever text comes from outside; the latest run is in this state."""
    in_names = text.replace("/", "")
    output, photo = folder / in_names, folder / f"{in_names}.jpg"
    output.mkdir(parents=True)
    shutil.copy(PHOTOS / "cat.jpg", photo)
    uris = [str(photo), f"/gone/{text}", f"https://gone/{in_names}", f"s3://gone/{in_names}"]
    failures = [
        failed(f"{scheme}{text}", text, text, error_stage=text, format=text)
        for scheme in ("/gone/failed/", "s3://gone/failed/")
    ]
    for number, model in enumerate([f"{text}@{text}", OTHER]):
        label = f"{text} {number}"
        rows = [predicted(uri, label, 0.9, (text, 0.1), model=model) for uri in uris]
        rows += [row | {"model": model} for row in failures]
        write_run(
            output,
            *(f"r-2026112{number}{in_names}", rows),
            finished=number == 0 or state != "unfinished",
            complete=False,
            engine=text,
            versions={text: text},
            differences=[text],
            configuration={"resize": text, "precision": [text]},
        )
    if state == "unreadable":
        (output / "runs" / f"r-20261121{in_names}.json").write_text("{")
    return page_of(output)


@pytest.mark.parametrize("state", ["unbalanced", "unfinished", "unreadable"])
def test_no_value_from_outside_changes_the_structure_of_the_page(
    state: str, tmp_path: Path
) -> None:
    plain = page_full_of("plain", tmp_path / "plain", state)
    for hostile in ("<script>alert(1)</script><b>", "\" onerror='alert(2)' x=\"", "' onclick=a '"):
        page = page_full_of(hostile, tmp_path / "hostile", state)
        assert structure(page) == structure(plain)
        shutil.rmtree(tmp_path / "hostile")


def test_names_labels_and_messages_are_shown_and_never_obeyed(output: Path) -> None:
    rows = [
        predicted(f"/photos/{HOSTILE}.jpg", HOSTILE, 0.9, model=f"{HOSTILE}@{HOSTILE}"),
        predicted("javascript:alert(1)", "cat", 0.9),
        predicted("javascript://x/%0aalert(1)", "cat", 0.9),
        predicted("data:text/html,<script>alert(1)</script>", "cat", 0.9),
        failed("//evil.example/x.jpg", HOSTILE, HOSTILE, error_stage=HOSTILE, format=HOSTILE),
    ]
    write_run(
        output,
        *(FIRST, rows),
        engine=HOSTILE,
        versions={HOSTILE: HOSTILE},
        configuration={"resize": HOSTILE, "precision": [HOSTILE]},
        complete=False,
        differences=[HOSTILE],
    )
    page = page_of(output)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)]
    addresses = [a for a in page.values("a", "href") if not a.startswith("#")]
    assert {urlsplit(address).scheme for address in addresses} <= {"file", "https"}
    assert not [address for address in addresses if "evil" in urlsplit(address).netloc]
    assert "\u202e" not in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "\\u202egpj.exe\\n" in page.text


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("/a b/ä?#%.jpg", "file:///a%20b/%C3%A4%3F%23%25.jpg"),
        ("file:///a%FFb.jpg", "file:///a%FFb.jpg"),
        ("gs://bucket/a b/ä#.jpg", "https://storage.cloud.google.com/bucket/a%20b/%C3%A4%23.jpg"),
        ("https://x.org/a.jpg?b=%20c", "https://x.org/a.jpg?b=%20c"),
        ('https://x.org/"><script>', "https://x.org/%22%3E%3Cscript%3E"),
        ("s3://bucket/a.jpg", None),
        ("javascript:alert(1)", None),
        ("javascript://x/alert(1)", None),
        ("relative.jpg", None),
    ],
)
def test_links_lead_to_images_and_nowhere_else(uri: str, address: str | None) -> None:
    assert link(uri) == address


def test_a_link_leads_back_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "100% ä 'quoted' #1?.jpg"
    path.touch()
    address = link(str(path))
    assert address is not None
    assert os.path.exists(unquote(urlsplit(address).path))


def test_pictures_are_inside_and_gone_or_changed_ones_are_marked(output: Path) -> None:
    photos = output.parent / "photos"
    photos.mkdir()
    for photo in ("cat.jpg", "rocket.jpg"):
        shutil.copy(PHOTOS / photo, photos / photo)
    rows = [
        predicted(f"{photos}/cat.jpg", "cat", 0.9, byte_size=(PHOTOS / "cat.jpg").stat().st_size),
        predicted(f"{photos}/rocket.jpg", "missile", 0.8, byte_size=1),
        predicted(f"{photos}/gone.jpg", "dish", 0.7),
    ]
    write_run(output, FIRST, rows)
    page = page_of(output)
    pictures = page.values("img", "src")
    assert len(pictures) == 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in pictures)
    assert page.values("img", "alt") == [
        "rocket.jpg, called missile",
        "cat.jpg, called cat",
    ]
    text = words(page)
    assert "No picture not_found:" in text
    assert "changed since the run" in text
    assert "3 pictures, made from the images as they were when this was written" in text
    assert "1 of them could not be shown any more" in text
    assert "1 changed since its row was written, as marked" in text


def test_the_file_stays_below_five_megabytes(output: Path) -> None:
    folder = output.parent / "noise"
    folder.mkdir()
    rng, rows = np.random.default_rng(0), []
    for n in range(60):
        path = folder / f"{n}.jpg"
        noise = rng.integers(0, 256, (256, 256, 3), np.uint8)
        Image.fromarray(noise).save(path, quality=95)
        label = f"{n} " + "long label " * 60
        rows.append(predicted(str(path), label, 0.9, *((f"{k}{label}", 0.1) for k in range(4))))
    for n in range(500):
        rows.append(predicted(f"/{n}" + "/long" * 200, f"{n} " + "long label " * 60, 0.99))
    write_run(output, FIRST, rows)
    write_run(output, SECOND, [row | {"label": "x", "model": OTHER} for row in rows])
    page_of(output)
    assert (output / "report.html").stat().st_size < 5_000_000


def test_the_page_forbids_itself_every_request(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9)])
    page = page_of(output)
    (policy,) = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv")]
    assert (policy or "").startswith("default-src 'none'; img-src data:; ")
    assert not page.values("link", "href")
    assert page.values("script", "src") == [""]


def test_headings_tables_and_landmarks_are_in_order(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9), failed("b", "empty")])
    write_run(output, SECOND, [predicted("a", "dish", 0.9, model=OTHER)])
    page = page_of(output)
    tags = [tag for tag, _ in page.tags]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert tags.count("table") == tags.count("caption")
    assert {"header", "nav", "main", "footer"} <= set(tags)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {a[1:] for a in page.values("a", "href") if a.startswith("#")}
    assert targets <= set(ids)


def test_the_command_prints_the_path_of_the_file(output: Path, tmp_path: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9)])
    result = report(output)
    assert (result.exit_code, result.stdout) == (0, f"{output}/report.html\n")
    assert "Random sample" not in words(Page((output / "report.html").read_text()))
    write_run(output, SECOND, [predicted(f"{n}", "cat", 0.9) for n in range(30)])
    result = report(output, "--html", f"{tmp_path}/folder/")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/folder/report.html\n")
    elsewhere = tmp_path / "new" / "page.html"
    result = report(output, "--html", str(elsewhere), "--seed", "7")
    assert (result.exit_code, result.stdout) == (0, f"{elsewhere}\n")
    assert "drawn with seed 7" in elsewhere.read_text()


def test_a_folder_without_predictions_is_exit_code_2_and_says_what_to_run(output: Path) -> None:
    result = report(output)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"error: '{output}' holds no predictions; make some with",
        f"  python -m pipeline.run --input photos/ --output {output}",
    ]


def test_a_damaged_part_file_is_exit_code_1_and_named(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9)])
    (part,) = (output / "predictions").rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:100])
    result = report(output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert part.name in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_written_is_exit_code_1(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9)])
    result = report(output, "--html", f"{output}/runs/{FIRST}.json/report.html")
    assert result.exit_code == 1
    assert "error: the report cannot be made: " in result.stderr


def test_a_run_in_which_everything_failed_has_a_report(output: Path) -> None:
    write_run(output, FIRST, [failed("a", "empty")])
    assert "No image has a prediction." in words(page_of(output))


def test_the_command_reports_on_a_real_run(
    run: Command, tiny_model: TinyModel, output: Path
) -> None:
    done = run("--input", str(PHOTOS), "--output", str(output), *tiny_model.options())
    assert done.code == 0
    done = run(str(output), module="pipeline.report")
    assert (done.code, done.out, done.err) == (0, f"{output}/report.html\n", "")
    page = Page((output / "report.html").read_text(encoding="utf-8"))
    text = words(page)
    assert "12 listed = 12 predicted + 0 failed + 0 skipped ✓ balanced" in text
    assert "of 4 labels of tiny" in text
    assert len(page.values("img", "src")) == 12
    assert "could not be shown" not in text
    assert "as marked" not in text


# Google's client drops an answer that it asks for again without closing the connection.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_output_and_images_on_cloud_storage_have_a_report_there(output: Path, cloud: Proxy) -> None:
    bucket = f"report-{uuid4().hex}"
    storage.Client("test", credentials=AnonymousCredentials()).create_bucket(bucket)
    photo = f"gs://{bucket}/photos/cat.jpg"
    write_run(output, FIRST, [predicted(photo, "cat", 0.9), predicted(f"{photo}2", "cat", 0.8)])
    files = {f"out/{p.relative_to(output)}": p for p in output.rglob("*") if p.is_file()}
    gcs = storage_for("gs://")
    for target, path in {**files, "photos/cat.jpg": PHOTOS / "cat.jpg"}.items():
        gcs.write(f"gs://{bucket}", target, path.read_bytes())
    result = CliRunner().invoke(main, [f"gs://{bucket}/out/"])
    assert (result.exit_code, result.stdout) == (0, f"gs://{bucket}/out/report.html\n")
    with gcs.open(f"gs://{bucket}/out/report.html") as file:
        page = Page(file.read().decode())
    assert page.values("img", "alt") == ["cat.jpg, called cat"]
    assert f"No picture not_found: {photo}2 does not exist" in words(page)
    gc.collect()  # while this test's filter of warnings holds


@pytest.mark.timeout(40)
def test_what_does_not_answer_in_time_is_left_out() -> None:
    import threading

    never = threading.Event()

    def answer(number: int) -> int:
        if number == 1:
            never.wait(60)
        return number

    assert map_in_time(answer, [0, 1, 2], seconds=0.5) == [0, None, 2]
    never.set()


def test_a_bug_on_a_thread_is_raised() -> None:
    def answer(number: int) -> Any:
        raise ZeroDivisionError(number)

    with pytest.raises(ZeroDivisionError):
        map_in_time(answer, [0], seconds=5)


def test_numbers_are_written_for_people() -> None:
    shares = (0, 1e-6, 0.0123, 0.5, 0.9999, 1)
    assert [percent(s) for s in shares] == ["0%", "<0.1%", "1.2%", "50.0%", ">99.9%", "100%"]
    sizes = (0, 999, 1000, 1_234_567, 999_999, 10**12)
    assert [size(s) for s in sizes] == ["0 bytes", "999 bytes", "1 kB", "1.23 MB", "1,000 kB"] + [
        "1 TB"
    ]
    assert [name(u) for u in ("/a/b.jpg", "gs://x/y/", "a\nb")] == ["b.jpg", "y", "a\\nb"]


def test_a_page_is_rendered_from_what_was_gathered(output: Path) -> None:
    write_run(output, FIRST, [predicted("a", "cat", 0.9)])
    made: Report = gather(str(output), 0)
    assert render(made) == render(made)
