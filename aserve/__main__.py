"""python -m aserve."""

from aserve.cli import main

main()
