"""One machine of the fleet: what it has, what it fetches, whom it serves."""
