"""Telling verifiers: reference values are read, merged, written and read back."""
