"""The outside world: processes, files, and the tools tree."""
