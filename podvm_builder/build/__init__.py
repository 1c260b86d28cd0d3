"""Build an image: drive mkosi in the tools tree and collect what it made."""
