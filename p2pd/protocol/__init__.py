"""Codecs of what travels between machines: bytes in, values out."""
