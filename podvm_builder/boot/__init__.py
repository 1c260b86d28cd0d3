"""Boot an image and prove its measurements."""
