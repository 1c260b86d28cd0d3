"""The program: ``podvm-build``, and ``python -m podvm_builder``."""

from __future__ import annotations

import gc
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit.

    Nearly all that is allocated from here on, modules above all, lives to the end: looking for garbage in it while it
    is made is time lost. What a long command leaves behind later is still found.
    """
    gc.set_threshold(100_000)
    from podvm_builder.cli.app import main as start

    start()


if __name__ == "__main__":
    main()
