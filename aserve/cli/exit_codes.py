"""Exit codes of the program."""

OK, FAILED, BAD_PARAMETER = 0, 1, 2
