"""What a person runs."""

import sys

__version__ = "0.1.0"

# `python -m pipeline.x`: Ctrl-C in the seconds of importing is no traceback either.
if sys.argv[:1] == ["-m"]:

    def _stopped(kind: type[BaseException], error: BaseException, trace: object) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("stopped", file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, error.__traceback__)

    sys.excepthook = _stopped
