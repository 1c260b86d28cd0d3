"""Plan becomes recipe tree."""
