"""A small TPM 2.0 client: commands and answers as values, sessions, and what is sealed with them.

Names are those of the TPM 2.0 Library Specification. Everything that composes or checks bytes
does no I/O; bytes go through a `transport`, and whoever relays them learns no secret.
"""
