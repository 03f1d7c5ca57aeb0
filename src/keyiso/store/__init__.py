"""Sealed keys on disk: SQLite in WAL mode with full synchronisation and one writer."""
