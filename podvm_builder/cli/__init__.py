"""The command line: one file a command; it wires and prints, nothing else."""
