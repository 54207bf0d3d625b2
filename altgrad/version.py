"""The version, where what is imported by the package's own `__init__` can read it."""

__version__ = "0.1.0"
