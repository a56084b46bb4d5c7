"""Exit codes. The first four are those of webbench; of a signal, 128 plus its number."""

OK, UNREACHABLE, BAD_PARAMETER, INTERNAL = 0, 1, 2, 3
FAILED = 4  # as a condition of the user's has it
UNKNOWN = 5  # there is an answer, but only as a bound: the true figure may be higher
INTERRUPTED = 130
