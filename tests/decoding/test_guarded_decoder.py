import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.image_files import png, saved
from tests.helpers.model_fixtures import ROOT
from tests.helpers.odd_images import content_of, picture, plain_files
from transforms.decoding.decode_image import (
    Picture,
    Preprocessing,
    decode_opened,
    open_for_decoding,
)
from transforms.decoding.guarded_decoder import GuardedDecoder
from transforms.failures import ImageError

AS_ASKED = Preprocessing(64, "crop", 180_000_000)
MEGABYTE = 1_000_000


@pytest.fixture
def guarded() -> Iterator[GuardedDecoder]:
    guarded = GuardedDecoder()
    yield guarded
    guarded.close()


def decode(guarded: GuardedDecoder, content: bytes, memory: int = 100 * MEGABYTE) -> Picture:
    return guarded.decode(content, AS_ASKED, memory, "PNG of 96 x 72")


def error_of(guarded: GuardedDecoder, content: bytes, memory: int = 100 * MEGABYTE) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(guarded, content, memory)
    return caught.value


def children() -> list[int]:
    tasks = Path("/proc/self/task").iterdir()
    return sorted(int(pid) for task in tasks for pid in (task / "children").read_text().split())


def workers(guarded: GuardedDecoder) -> list[int]:
    return [worker.pid for worker in guarded._idle]


@pytest.mark.parametrize("name", ["plain.jpg", "plain.png", "plain.webp", "plain_lzw.tif"])
def test_the_picture_is_the_same_as_in_this_process(guarded: GuardedDecoder, name: str) -> None:
    content = plain_files()[name]
    expected = decode_opened(open_for_decoding(content, AS_ASKED), AS_ASKED)
    for _ in range(2):
        found = decode(guarded, content)
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert found[1:] == expected[1:]
    assert len(workers(guarded)) == 1


@pytest.mark.parametrize("name", ["cut_plain.png", "tables.jpg", "page.jpg", "huge.png"])
def test_the_reason_is_the_same_as_in_this_process(guarded: GuardedDecoder, name: str) -> None:
    content = content_of(name)
    with pytest.raises(ImageError) as caught:
        decode_opened(open_for_decoding(content, AS_ASKED), AS_ASKED)
    found = error_of(guarded, content)
    assert (found.error, str(found)) == (caught.value.error, str(caught.value))
    assert decode(guarded, plain_files()["plain.png"]).width == 96


def test_an_image_without_an_end_is_given_up(guarded: GuardedDecoder) -> None:
    side = 5000
    slow = png((side, side), 8, 2, [bytes(3 * side)] * side)
    patient = decode(guarded, slow, 400 * MEGABYTE)
    assert patient.width == side
    hasty = GuardedDecoder(time_limit=0.05)
    start = time.monotonic()
    found = error_of(hasty, slow, 400 * MEGABYTE)
    assert time.monotonic() - start < 5
    assert (found.error, str(found)) == (
        "too_slow",
        "PNG of 96 x 72 pixels was not decoded within 0.05 seconds",
    )
    assert found.at("decode").retryable
    assert workers(hasty) == []


def test_an_image_that_takes_more_memory_than_it_may_is_refused(guarded: GuardedDecoder) -> None:
    side = 5000  # 100 MB in Pillow's memory
    large = png((side, side), 8, 2, [bytes(3 * side)] * side)
    found = error_of(guarded, large, 2 * MEGABYTE)
    assert found.error == "too_many_pixels"
    assert str(found).endswith("needs more memory to decode than there is")
    assert decode(guarded, large, 300 * MEGABYTE).width == side


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (signal.SIGSEGV, "corrupt", "PNG of 96 x 72 pixels ended the process that decoded it"),
        (signal.SIGKILL, "too_many_pixels", "was ended by the system, as a rule for want of"),
    ],
)
def test_the_end_of_the_process_costs_one_image(
    guarded: GuardedDecoder, number: signal.Signals, error: str, message: str
) -> None:
    side = 7_000
    slow = png((side, side), 8, 2, [bytes(3 * side)] * side)
    decode(guarded, plain_files()["plain.png"])
    (pid,) = workers(guarded)
    threading.Timer(0.2, os.kill, (pid, number)).start()
    found = error_of(guarded, slow, 900 * MEGABYTE)
    assert found.error == error
    assert message in str(found)
    assert decode(guarded, plain_files()["plain.png"]).width == 96


def test_a_process_that_ended_while_it_waited_costs_no_image(guarded: GuardedDecoder) -> None:
    decode(guarded, plain_files()["plain.png"])
    (pid,) = workers(guarded)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    assert decode(guarded, plain_files()["plain.png"]).width == 96
    assert workers(guarded) != [pid]


def test_images_at_the_same_time_have_processes_of_their_own(guarded: GuardedDecoder) -> None:
    large = saved(picture().resize((2000, 2000)), "PNG")
    found: list[Picture] = []
    threads = [
        threading.Thread(target=lambda: found.append(decode(guarded, large))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.width for one in found] == [2000] * 3
    assert 1 < len(workers(guarded)) <= 3


def test_closing_leaves_no_process(guarded: GuardedDecoder) -> None:
    before = children()
    decode(guarded, plain_files()["plain.png"])
    assert len(children()) == len(before) + 1
    guarded.close()
    assert children() == before


PARENT = """
import sys, threading, time
from transforms.decoding.decode_image import Preprocessing
from transforms.decoding.guarded_decoder import GuardedDecoder
guarded = GuardedDecoder()
content = open(sys.argv[1], "rb").read()
def decode():
    return guarded.decode(content, Preprocessing(64, "crop", 10**9), 10**9, "an image")
decode()
print(guarded._idle[0].pid, flush=True)
threading.Thread(target=decode, daemon=True).start()
time.sleep(60)
"""


def test_no_process_stays_behind_when_the_run_is_killed(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(saved(picture().resize((3000, 3000)), "PNG"))
    parent: Any = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "large.png")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{worker}").exists()
