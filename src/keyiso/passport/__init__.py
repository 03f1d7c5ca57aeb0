"""Passport outside of the trustlet: asking for a PIN, and what a logon shows and checks."""
