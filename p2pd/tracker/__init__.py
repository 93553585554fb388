"""Who is alive, who holds what, and which torrents there are."""
