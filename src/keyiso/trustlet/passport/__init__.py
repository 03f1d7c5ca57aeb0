"""Passport inside a trustlet: containers, their protectors, and attempts to open them."""
