"""`python -m abench` is `abench`."""

from abench.cli import main

if __name__ == "__main__":
    main()
