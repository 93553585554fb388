"""The p2pd command: it talks HTTP to a daemon, like any user."""
