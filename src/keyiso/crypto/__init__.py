"""Algorithms, key blobs and signatures: pure functions on `cryptography`, no I/O."""
