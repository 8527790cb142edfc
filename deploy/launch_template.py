"""The program that a Flex Template's launcher starts: its parameters are the command's options."""

import sys

from pipeline.dataflow.flex_template import NO_WAIT, command_line
from pipeline.run import main

if __name__ == "__main__":
    main([*command_line(sys.argv[1:]), NO_WAIT], prog_name="launch_template")
