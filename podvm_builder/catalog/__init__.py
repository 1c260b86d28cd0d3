"""What we know: distros, TEEs, clouds, firmware, components, as YAML files and one typed loader."""
