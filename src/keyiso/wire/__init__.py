"""The private protocol of keyiso's processes, without I/O: bytes in, messages out.

One frame is a length (u32, little-endian) and a msgpack array. Both sides of every connection
use `session.Session`; `messages` has the envelope, `operations` what can be asked of whom.
"""
