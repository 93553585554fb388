"""How we call others: trackers, nodes and web seeds."""
