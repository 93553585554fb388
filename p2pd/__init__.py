"""p2pd gets a file from one machine to all of them."""

__version__ = "0.1.0"
