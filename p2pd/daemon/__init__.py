"""The composition that twistd runs."""
