import contextlib
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
from PIL import Image

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
from transforms.decoding.memory_budget import MemoryBudget
from transforms.failures import ImageError

AS_ASKED = Preprocessing(64, "crop", 180_000_000)
MEGABYTE = 1_000_000


# Speaks as a decoding process does, and does with an image what its bytes say in Python.
OBEDIENT = """
import json, os, signal, sys, time
tries = 0
while line := sys.stdin.buffer.readline():
    tries += 1
    request = json.loads(line)
    size = request["preprocessing"][0]
    content = sys.stdin.buffer.read(request["byte_size"])
    if content.startswith(b"do "):
        exec(content[3:])
    answer = json.dumps({"width": tries, "height": os.getpid(), "format": "PNG"}).encode()
    os.write(1, answer + b"\\n" + bytes(size * size * 3))
"""
WHAT = "PNG of 96 x 72 pixels"


@pytest.fixture
def guarded() -> Iterator[GuardedDecoder]:
    guarded = GuardedDecoder(MemoryBudget())
    yield guarded
    guarded.close()


@pytest.fixture
def obedient() -> Iterator[GuardedDecoder]:
    guarded = GuardedDecoder(MemoryBudget(), time_limit=0.5, program=OBEDIENT)
    yield guarded
    guarded.close()


def decode(
    guarded: GuardedDecoder, content: bytes, memory: int = 100 * MEGABYTE, most: int = 0
) -> Picture:
    return guarded.decode(content, AS_ASKED, memory, most or memory, WHAT)


def error_of(
    guarded: GuardedDecoder, content: bytes, memory: int = 100 * MEGABYTE, most: int = 0
) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(guarded, content, memory, most)
    return caught.value


def children() -> list[int]:
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended
            found += (task / "children").read_text().split()
    return sorted(map(int, found))


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


def test_an_image_without_an_end_is_given_up() -> None:
    slow = png((1, 37 * MEGABYTE), 8, 0, [bytes(2 * 37 * MEGABYTE - 1)])  # a second on a core
    hasty = GuardedDecoder(MemoryBudget(), time_limit=0.4)
    decode(hasty, plain_files()["plain.png"])
    start = time.monotonic()
    found = error_of(hasty, slow, 700 * MEGABYTE)
    assert time.monotonic() - start < 10
    assert found.error == "too_slow"
    # Where many processes share the cores, the clock may come first.
    limits = "0.4 seconds", "1.6 seconds by the clock"
    within = "PNG of 96 x 72 pixels was not decoded within"
    assert str(found) in [f"{within} {limit}" for limit in limits]
    assert found.at("decode").retryable
    hasty.close()


def test_an_image_that_takes_more_memory_than_it_may_is_refused(guarded: GuardedDecoder) -> None:
    side = 5000  # 100 MB in Pillow's memory
    large = png((side, side), 8, 2, [bytes(3 * side)] * side)
    found = error_of(guarded, large, 50 * MEGABYTE)
    assert (found.error, str(found)) == (
        "too_many_pixels",
        "PNG of 96 x 72 pixels needs more than 50 MB to decode; raise --max-pixels to raise both",
    )
    assert decode(guarded, large, 300 * MEGABYTE).width == side


def test_an_image_that_took_more_memory_than_it_should_is_tried_with_all(
    guarded: GuardedDecoder,
) -> None:
    side = 5000
    large = png((side, side), 8, 2, [bytes(3 * side)] * side)
    assert decode(guarded, large, 50 * MEGABYTE, 300 * MEGABYTE).width == side
    assert str(error_of(guarded, large, 20 * MEGABYTE, 50 * MEGABYTE)).startswith(
        "PNG of 96 x 72 pixels needs more than 50 MB"
    )


@pytest.mark.parametrize("compression", ["packbits", "lzma", "zstd"])
def test_libtiffs_want_of_memory_is_found(guarded: GuardedDecoder, compression: str) -> None:
    image = Image.new("RGB", (2000, 2000))
    content = saved(image, "TIFF", compression=compression, strip_size=10**9)
    reasons = []
    for memory in range(16, 60, 4):
        try:
            decode(guarded, content, memory * MEGABYTE)
        except ImageError as error:
            reasons.append(error.error)
    assert len(reasons) < 11
    assert set(reasons) == {"too_many_pixels"}


def test_a_tiff_that_takes_more_than_it_may_at_first_is_decoded(guarded: GuardedDecoder) -> None:
    content = saved(picture().resize((2000, 2000)), "TIFF", compression="packbits")
    assert decode(guarded, content, 5 * MEGABYTE, 400 * MEGABYTE).width == 2000


def test_a_new_process_takes_the_place_of_one_that_waits(guarded: GuardedDecoder) -> None:
    content = saved(picture().resize((2000, 2000)), "TIFF", compression="packbits")
    for _ in range(2):
        decode(guarded, content, 5 * MEGABYTE, 400 * MEGABYTE)
        assert len(workers(guarded)) == 1


HOSTILE = {
    "exit": ("sys.exit('not enough memory')", "corrupt", "exit code 1, not enough memory"),
    "_exit": ("os._exit(3)", "corrupt", "exit code 3"),
    "end": ("sys.exit(0)", "corrupt", "exit code 0"),
    "segmentation fault": ("os.kill(os.getpid(), signal.SIGSEGV)", "corrupt", "SIGSEGV"),
    "abort": ("os.abort()", "corrupt", "SIGABRT"),
    "kill": (
        "os.kill(os.getpid(), signal.SIGKILL)",
        "too_many_pixels",
        "the process that decoded PNG of 96 x 72 pixels was ended by the system, as a rule for "
        "want of memory",
    ),
    "silence": (
        "time.sleep(60)",
        "too_slow",
        "PNG of 96 x 72 pixels was not decoded within 2 seconds by the clock",
    ),
    "endless work": (
        "signal.setitimer(signal.ITIMER_PROF, 0.1)\nwhile True: pass",
        "too_slow",
        "PNG of 96 x 72 pixels was not decoded within 0.5 seconds",
    ),
    "stopped": (
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "too_slow",
        "within 2 seconds by the clock",
    ),
    "garbage": ("os.write(1, os.urandom(9000) + b'\\n')", "corrupt", "gave no answer but"),
    "garbage without end": (
        "while True: os.write(1, b'x' * 9000)",
        "corrupt",
        "gave no answer but",
    ),
    "another answer": ("os.write(1, b'[1, 2]\\n')", "corrupt", "gave no answer but"),
    "unknown reason": (
        'os.write(1, b\'{"error": "gremlins", "message": ""}\\n\')',
        "corrupt",
        "gave no answer but",
    ),
    "half an answer": (
        'os.write(1, b\'{"width": 9, "height": 9, "format": "PNG"}\\n123\'); sys.exit(2)',
        "corrupt",
        "the process that decoded PNG of 96 x 72 pixels gave no answer but exit code 2",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_however_a_process_ends_it_costs_one_image(obedient: GuardedDecoder, name: str) -> None:
    deed, error, message = HOSTILE[name]
    before = children()
    assert decode(obedient, b"harmless").width == 1
    found = error_of(obedient, b"do " + deed.encode())
    assert found.error == error
    assert message in str(found)
    assert decode(obedient, b"harmless").format == "PNG"
    obedient.close()
    assert children() == before


@pytest.mark.parametrize("name", ["exit", "segmentation fault", "kill", "silence", "garbage"])
def test_an_image_whose_process_ended_is_tried_once_more_in_a_new_one(
    obedient: GuardedDecoder, name: str
) -> None:
    decode(obedient, b"harmless")
    deed, _, _ = HOSTILE[name]
    again = decode(obedient, f"do if tries > 1:\n {deed}".encode())
    assert again.width == 1
    assert again.height in workers(obedient)


def test_a_process_that_ended_while_it_waited_costs_no_image(guarded: GuardedDecoder) -> None:
    decode(guarded, plain_files()["plain.png"])
    (pid,) = workers(guarded)
    os.kill(pid, signal.SIGKILL)
    assert decode(guarded, plain_files()["plain.png"]).width == 96
    assert workers(guarded) != [pid]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import nothing_of_this_name", r"exit code 1, ModuleNotFoundError: No module named"),
        ("import os; os.kill(os.getpid(), 9)", r"was ended by the system, as a rule for want of"),
    ],
)
def test_that_no_process_can_run_is_no_fault_of_the_image(program: str, message: str) -> None:
    broken = GuardedDecoder(MemoryBudget(), program=program)
    with pytest.raises(RuntimeError, match=message) as caught:
        decode(broken, plain_files()["plain.png"])
    assert "decoded in processes apart, and none can run" in str(caught.value)


LIMITED = """
import resource, sys
limit = 4_000_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from tests.helpers.image_files import png
from transforms.decoding.decode_image import Preprocessing
from transforms.decoding.guarded_decoder import GuardedDecoder
from transforms.decoding.memory_budget import MemoryBudget
large = png((5000, 5000), 8, 2, [bytes(15000)] * 5000)
guarded = GuardedDecoder(MemoryBudget())
for _ in range(2):
    print(guarded.decode(large, Preprocessing(64, "crop", 10**9), 3 * 10**8, 10**9, "it").width)
"""


def test_a_limit_of_the_system_is_respected() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, env=environment
    )
    assert (ran.stdout, ran.stderr) == ("5000\n5000\n", "")


def test_images_at_the_same_time_have_processes_of_their_own(guarded: GuardedDecoder) -> None:
    large = saved(picture().resize((2000, 2000)), "PNG", compress_level=1)
    found: list[Picture] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(decode(guarded, large, 50 * MEGABYTE, 150 * MEGABYTE))
        )
        for _ in range(3)
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
from transforms.decoding.memory_budget import MemoryBudget
guarded = GuardedDecoder(MemoryBudget())
content = open(sys.argv[1], "rb").read()
def decode():
    return guarded.decode(content, Preprocessing(64, "crop", 10**9), 10**8, 10**9, "it")
decode()
print(guarded._idle[0].pid, flush=True)
threading.Thread(target=decode, daemon=True).start()
time.sleep(60)
"""


def test_no_process_stays_behind_when_the_run_is_killed(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(
        saved(Image.new("RGB", (4000, 4000)), "PNG", compress_level=1)
    )
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
