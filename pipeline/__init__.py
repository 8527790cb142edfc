"""What a person runs."""

import gc
import os
import sys

__version__ = "0.1.0"

# `python -m pipeline.x` or `mobilenet-beam x`, before anything large is imported.
IS_COMMAND = os.path.basename(sys.argv[0] if sys.argv else "") in ("-m", "mobilenet-beam")
if IS_COMMAND:
    # What modules make lives as long as the process, and looking for garbage in it while they are
    # imported takes half a second. `OneLineErrors.invoke` turns collection on again.
    gc.disable()

    # Ctrl-C in the seconds of importing is no traceback either.
    def _stopped(kind: type[BaseException], error: BaseException, trace: object) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("stopped", file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, error.__traceback__)

    sys.excepthook = _stopped
