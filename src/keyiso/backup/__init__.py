"""Backups of an instance's sealed keys, and their restoring."""
