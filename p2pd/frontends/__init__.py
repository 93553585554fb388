"""How others call us: each module translates one API."""
