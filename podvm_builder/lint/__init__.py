"""Findings about an image, a recipe or a file tree, made without running any of it."""
