"""Artefacts and platform become log and regions, and these become registers."""
