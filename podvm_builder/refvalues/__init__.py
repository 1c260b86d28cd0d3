"""Measurements become what each verifier reads."""
