"""Exit codes. The first four are those of webbench; of a signal, 128 plus its number."""

OK, UNREACHABLE, BAD_PARAMETER, INTERNAL = 0, 1, 2, 3
FAILED = 4  # as a condition of the user's has it
INTERRUPTED = 130
