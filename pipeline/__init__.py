"""What a person runs."""

import sys

__version__ = "0.1.0"

if sys.argv[:1] == [
    "-m"
]:  # `python -m pipeline.x`: the seconds of importing can be interrupted too

    def _stopped(kind: type[BaseException], error: BaseException, trace: object) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("stopped", file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, error.__traceback__)

    sys.excepthook = _stopped
