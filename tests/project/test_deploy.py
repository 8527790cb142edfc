"""deploy/ as far as it can be checked without a cloud: images, Terraform, commands."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import duckdb
import hcl2
import pytest
import yaml
from click.testing import CliRunner

from pipeline import __version__
from pipeline.dataflow.flex_template import METADATA, options
from pipeline.dataflow.gpus import Gpu
from pipeline.dataflow.options import boot_disk_gb, bundles_at_once, check_dataflow
from pipeline.options import RunOptions
from pipeline.planning.estimate import Estimate, Requests, on_workers, requests_for
from pipeline.planning.measure_rates import Rates
from pipeline.planning.prices import assumed, workers_to_compare
from pipeline.planning.survey import Survey
from pipeline.run import main
from pipeline.running.runner import settle_runner
from tests.helpers.made_outputs import predicted, write_run
from tests.helpers.model_fixtures import ROOT
from transforms.read_images import THREADS

DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text()
BILLION = (DEPLOY / "BILLION.md").read_text()
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile.*"))
TERRAFORM = sorted((DEPLOY / "terraform").glob("*.tf"))
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
BUILT = {"images", "cpu", "gpu", "launcher"}


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile with its argument on one line."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, argument = line.strip().partition(" ")
            yield name, " ".join(argument.split())


def arguments(dockerfile: Path, wanted: str) -> list[str]:
    return [argument for name, argument in instructions(dockerfile) if name == wanted]


def pinned(package: str) -> str:
    """The version in constraints.txt."""
    pattern = rf"^{package}(?:\[\w+\])?==(\S+)"
    versions = re.findall(pattern, (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert len(versions) == 1, f"{package}: {versions}"
    return str(versions[0])


def commands(*start: str) -> list[list[str]]:
    """The words of every command in the README that begins so, variables left as they are."""
    found = []
    for block in BLOCKS:
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(re.sub(r"\$\([^)]*\)", "SUBSTITUTED", line), comments=True)
            if words[: len(start)] == list(start):
                found.append(words[len(start) :])
    return found


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.suffix)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, dockerfile], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.suffix)
def test_images_stand_on_pinned_bases_with_the_beam_of_the_constraints(dockerfile: Path) -> None:
    bases = [argument.split()[0] for argument in arguments(dockerfile, "FROM")]
    tags = dict(base.rsplit(":", 1) for base in bases)
    assert len(tags) == len(bases) > 0
    assert "latest" not in tags.values()
    assert tags["apache/beam_python3.11_sdk"] == pinned("apache-beam")
    (install,) = [run for run in arguments(dockerfile, "RUN") if "pip install" in run]
    assert "--constraint constraints.txt" in install
    assert "python -m pipeline.run --version" in install


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.suffix)
def test_what_images_copy_exists_and_is_sent_to_the_builder(dockerfile: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    sent = {line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")}
    for argument in arguments(dockerfile, "COPY"):
        *sources, _ = argument.split()
        if not sources[0].startswith("--from="):
            assert set(sources) <= sent
            assert all((ROOT / source).exists() for source in sources)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.suffix)
def test_the_build_of_an_image_fails_if_its_command_is_of_another_version(dockerfile: Path) -> None:
    assert f"VERSION={__version__}" in arguments(dockerfile, "ARG")
    (install,) = [run for run in arguments(dockerfile, "RUN") if "pip install" in run]
    assert install.endswith(
        'test "$(python -m pipeline.run --version)" = "mobilenet-beam, version ${VERSION}"'
    )
    version = CliRunner().invoke(main, ["--version"]).output
    assert version == f"mobilenet-beam, version {__version__}\n"
    *_, base = (argument.split()[0] for argument in arguments(dockerfile, "FROM"))
    assert ("nvidia/cuda" in base) == (dockerfile.suffix == ".gpu")


def test_workers_start_beams_harness_and_the_launcher_starts_the_templates() -> None:
    for name in ("cpu", "gpu"):
        dockerfile = DEPLOY / f"Dockerfile.{name}"
        assert arguments(dockerfile, "ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
        assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in arguments(dockerfile, "ENV")
    launcher = DEPLOY / "Dockerfile.launcher"
    program = "/opt/google/dataflow/python_template_launcher"
    assert arguments(launcher, "ENTRYPOINT") == [f'["{program}"]']
    assert f"--from=launcher {program} {program}" in arguments(launcher, "COPY")
    assert "FLEX_TEMPLATE_PYTHON_PY_FILE=/template/launch_template.py" in arguments(launcher, "ENV")
    assert arguments(launcher, "WORKDIR") == ["/template"]
    gpu = DEPLOY / "Dockerfile.gpu"
    assert "--from=beam /opt/apache/beam /opt/apache/beam" in arguments(gpu, "COPY")


def test_cloud_build_makes_and_pushes_every_image_with_this_version() -> None:
    build = yaml.safe_load((DEPLOY / "cloudbuild.yaml").read_text())
    made = {step["args"][step["args"].index("-f") + 1] for step in build["steps"]}
    assert made == {f"deploy/{path.name}" for path in DOCKERFILES}
    tagged = {step["args"][step["args"].index("-t") + 1] for step in build["steps"]}
    assert tagged == set(build["images"])
    assert {image.split("/")[1].split(":")[0] for image in tagged} == BUILT - {"images"}
    assert build["substitutions"]["_TAG"] == __version__
    tags = set(re.findall(r"/(?:cpu|gpu|launcher):([\w.]+)", README))
    assert tags == {__version__}
    variables = (DEPLOY / "terraform" / "variables.tf").read_text()
    assert f'default     = "{__version__}"' in variables


def resources() -> dict[str, dict[str, dict[str, str]]]:
    """What Terraform makes: type, name, attributes, quotes taken off."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for path in TERRAFORM:
        with path.open() as file:
            for block in hcl2.load(file).get("resource", []):
                ((kind, named),) = block.items()
                ((name, attributes),) = named.items()
                plain = {key: str(value).strip('"') for key, value in attributes.items()}
                found.setdefault(kind.strip('"'), {})[name.strip('"')] = plain
    return found


def test_roles_are_those_that_the_readme_gives_a_reason_for() -> None:
    granted = set()
    for kind, named in resources().items():
        if "_iam_member" not in kind:
            continue
        for attributes in named.values():
            who = re.search(r"google_service_account\.(\w+)|var\.(submitter)", attributes["member"])
            assert who is not None
            place = kind.removeprefix("google_").removesuffix("_iam_member")
            if place == "storage_bucket":
                is_input = attributes["bucket"] == "${var.input_bucket}"
                place = "input bucket" if is_input else "results bucket"
            granted.add((who[1] or who[2], attributes["role"], PLACES.get(place, place)))
    rows = re.findall(r"^\| (\w+) \| `(roles/[\w.]+)` \| ([\w ]+) \| .{10,} \|$", README, re.M)
    assert granted == set(rows)
    assert len(rows) == 12
    assert ("worker", "roles/storage.objectUser", "results bucket") not in granted


PLACES = {
    "artifact_registry_repository": "image repository",
    "service_account": "worker account",
}


def test_no_role_is_a_broad_one() -> None:
    roles = {
        attributes["role"]
        for kind, named in resources().items()
        if "_iam_member" in kind
        for attributes in named.values()
    }
    assert not [role for role in roles if re.search(r"admin|owner|editor|/viewer$", role, re.I)]


def test_workers_have_no_way_to_the_internet() -> None:
    made = resources()
    assert made["google_compute_subnetwork"]["workers"]["private_ip_google_access"] == "True"
    assert "google_compute_router_nat" not in made
    assert (
        'ipConfiguration     = "WORKER_IP_PRIVATE"' in (TERRAFORM[0].parent / "main.tf").read_text()
    )


def test_terraform_names_only_what_it_declares() -> None:
    text = "".join(path.read_text() for path in TERRAFORM)
    declared = set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    made = resources()
    for kind, name in re.findall(r"\b(google_\w+)\.(\w+)", text):
        assert name in made[kind]
    outputs = set(re.findall(r'^output "(\w+)"', text, re.MULTILINE))
    assert set(re.findall(r"output -raw (\w+)", README)) <= outputs
    assert set(re.findall(r'-var (\w+)="', README)) <= declared
    assert (DEPLOY / "terraform" / "../metadata.json").resolve() == ROOT / METADATA


def test_commands_of_the_readme_have_options_that_exist() -> None:
    found = commands("python", "-m", "pipeline.run")
    assert len(found) >= 4
    for words in found:
        context = main.make_context("run", list(words))
        options = RunOptions(**context.params, beam_options=tuple(context.args))
        assert options.inputs
        assert options.output
        check_dataflow(options, settle_runner(options))
    for module in re.findall(r"python -m ([\w.]+)", README):
        assert find_spec(module) is not None


def test_parameters_of_the_readme_are_those_of_the_template() -> None:
    known = {
        parameter["name"] for parameter in json.loads((ROOT / METADATA).read_text())["parameters"]
    }
    (words,) = commands("gcloud", "dataflow", "flex-template", "run")
    given = words[words.index("--parameters") + 1].split(",")
    names = {parameter.partition("=")[0] for parameter in given}
    assert {"input", "output", "sdk_container_image"} <= names <= known
    assert "top_k" in options()


# What both pages say that their tables stand for: images/s a core for decoding and inference.
RATES = Rates(100, 100, {}, 0.001, 110_000.0, 420.0, 86.0, None)


def surveyed(images: int, a_tar: int) -> Survey:
    """Objects of their own, or tars of so many."""
    tars = images // a_tar if a_tar else 0
    alone, members = (0, images) if tars else (images, 0)
    counts = {"listed": images, "distinct": images, "failed": 0, "skipped": 0, "due": images}
    return Survey(
        **counts,
        alone=alone,
        in_tars=members,
        tars_listed=tars,
        tars_read=tars,
        objects=alone + tars,
        mean_bytes=110_000.0,
        sample=(),
    )


def estimates(
    found: Survey, requests: Requests, deadline: float, workers: int | None
) -> Iterator[Estimate]:
    for worker in workers_to_compare():
        each = on_workers(worker, RATES, found.due, requests, deadline, workers)
        assert each is not None
        yield each


def test_the_costs_of_the_readme_are_those_of_the_plan() -> None:
    found = surveyed(1_000_000, 0)
    requests = requests_for(found, shard_size=4096)
    table = [
        f"| {each.machine} | {each.images_per_second:,.0f} | {each.bound} "
        f"| {each.hours:.2f} | {each.dollars:.2f} |\n"
        for each in estimates(found, requests, 8, workers=1)
    ]
    assert "".join(table) in README
    assert f"${requests.dollars:.2f} of each are requests" in README
    disks = boot_disk_gb(None), boot_disk_gb(Gpu("nvidia-l4", 1))
    assert "| W x {}, with a GPU W x {} |".format(*disks) in README
    rates = f"{RATES.decode:.0f} images/s decoded and {RATES.infer_core:.0f} classified a core"
    assert all(rates in " ".join(page.split()) for page in (README, BILLION))


def test_the_table_for_a_billion_images_is_that_of_the_plan() -> None:
    table = []
    for name, a_tar in (("objects", 0), ("tars of 10,000", 10_000)):
        found = surveyed(1_000_000_000, a_tar)
        requests = requests_for(found, shard_size=16_384)
        table += [
            f"| {name} | {requests.gets:,} | {each.machine} | {each.images_per_second:,.0f} "
            f"| {each.bound} | {each.machines} | {each.hours:.1f} | {each.dollars:,.0f} |\n"
            for each in estimates(found, requests, 24, workers=None)
        ]
    assert "".join(table) in BILLION
    # The last requests are those for tars.
    small = requests_for(found, shard_size=4096)
    for said in (
        f"{requests.gets / 1000:.0f} thousand\n   GETs",
        f"{requests.tars_to_read / found.tars_read:.2f} times in the mean",
        f"{small.tars_to_read / found.tars_read:.2f} times with shards of 4,096",
        f"{requests.uploads:,} files",
        f"{requests.uploads / 1000:.0f} thousand output files instead of "
        f"{small.uploads / 1000:.0f} thousand",
        f"{assumed('get_seconds') * 1000:.0f} ms a GET, {bundles_at_once(None)} bundles of "
        f"{THREADS} GETs",
        f"{assumed('python_seconds') * 1000:.2f} ms, measured",
    ):
        assert said in BILLION


def test_duckdb_compacts_as_the_page_says(tmp_path: Path) -> None:
    rows = [predicted(f"/{n}.jpg", "old", 0.5) for n in range(3)]
    write_run(tmp_path / "out", "r-1", rows)
    write_run(tmp_path / "out", "r-2", [predicted("/0.jpg", "new", 0.5)])
    (statement,) = re.findall(r"```sql\n(.*?)```", BILLION, re.DOTALL)
    database = duckdb.connect()
    database.execute(
        statement.replace("'out/", f"'{tmp_path}/out/").replace(
            "'compact'", f"'{tmp_path}/compact'"
        )
    )
    found = database.execute(
        f"SELECT uri, label, run_id FROM '{tmp_path}/compact/*.parquet' ORDER BY uri"
    ).fetchall()
    assert found == [("/0.jpg", "new", "r-2"), ("/1.jpg", "old", "r-1"), ("/2.jpg", "old", "r-1")]
