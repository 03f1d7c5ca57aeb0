"""Measurements: ratios against in-process `cryptography`, all in one run (``make bench``)."""
