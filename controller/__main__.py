"""`python -m controller` is the command `headgate`."""

from controller.console.cli import main

main()
