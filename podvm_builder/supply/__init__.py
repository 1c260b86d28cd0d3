"""Documents of the supply line: component sets and locks."""
