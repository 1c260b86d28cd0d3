"""Run the command line with ``python -m podvm_builder``."""

from podvm_builder.cli.app import main

if __name__ == "__main__":
    main()
