"""Which project pays for the requests to a bucket of Cloud Storage where the reader pays."""

import os
from argparse import ArgumentParser
from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider

# The processes that a local run starts inherit it; whoever starts workers by hand can set it.
_VARIABLE: Final = "MOBILENET_BILLING_PROJECT"
_OPTION: Final = "billing_project"


class BillingOptions(PipelineOptions):
    """Takes the project to other machines: Beam gives its options to each worker's container."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument(f"--{_OPTION}", default=None)


def bill_to(project: str | None) -> None:
    """Requests of this process, and of those that it starts, are paid for by `project`."""
    os.environ.pop(_VARIABLE, None)
    if project:
        os.environ[_VARIABLE] = project


def billing_project() -> str | None:
    """The project that pays; None leaves it to the owner of the bucket."""
    sent: str | None = RuntimeValueProvider.get_value(_OPTION, str, None)
    return os.environ.get(_VARIABLE) or sent
