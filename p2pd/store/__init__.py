"""Where content and state are kept: files, SQLite, and in-memory twins."""
