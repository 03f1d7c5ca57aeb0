"""Owns the listening sockets and is the parent of all services; restarts those that end."""
