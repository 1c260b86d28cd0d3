"""Plain scalars: the core schema of YAML 1.2.2 (§10.3), and what YAML 1.1 makes of the same text otherwise."""

from __future__ import annotations

import re

ScalarValue = str | int | float | bool | None

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}\.[0-9]{0,18}|[0-9]{1,18}(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, ScalarValue] = {"": None, "~": None}
_WORDS |= dict.fromkeys(("null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)

# what YAML 1.1 readers make of a plain scalar that YAML 1.2 readers take otherwise
_SURPRISES = (
    (re.compile(r"(?:yes|no|on|off)", re.I), "a truth value by YAML 1.1 and as text by YAML 1.2"),
    (re.compile(r"[yYnN]"), "a truth value by YAML 1.1 and as text by YAML 1.2"),
    (re.compile(r"[-+]?0[0-9_]+|0o[0-7]+"), "an octal number by some YAML readers and otherwise by others"),
    (re.compile(r"[-+]?0b[01_]+"), "a binary number by YAML 1.1 and as text by YAML 1.2"),
    (re.compile(r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"), "a base-60 number by YAML 1.1"),
    (
        re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*|0x[0-9a-fA-F]*_[0-9a-fA-F_]*"),
        "a number by YAML 1.1 and as text by YAML 1.2",
    ),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?"), "a date by YAML 1.1"),
    (re.compile(r"="), "the default value by YAML 1.1"),
)


def surprise(text: str) -> str | None:
    """Return how other YAML readers take this text, where they take it otherwise."""
    return next((what for pattern, what in _SURPRISES if pattern.fullmatch(text)), None)


def core_value(text: str) -> ScalarValue:
    """Return the value of a plain scalar; numbers too large for any setting stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
