"""What the shell is told. The first four are webbench's; a signal's is 128 and its number."""

OK, UNREACHABLE, BAD_PARAMETER, INTERNAL = 0, 1, 2, 3
FAILED = 4  # as a condition of the user's has it
INTERRUPTED = 130
