"""Profile and catalogue become a plan."""
