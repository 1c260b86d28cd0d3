"""Bytes to values and back, one format a file; untrusted input gives a value or a FormatError."""
