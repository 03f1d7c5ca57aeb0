"""What an armed worker asks of another one of its instance."""

from keyiso.wire.messages import Operation, Result


class SharedRoots(Result, frozen=True, array_like=True):
    """The roots of an armed worker, sealed to who asked (`keyiso.crypto.root_seal`)."""

    sealed: bytes
    status: int = 0
    """Why there is no machine root among them; 0 when there is, or none is enrolled."""
    cause: str = ""
    action: str = ""


class ShareRoots(Operation[SharedRoots], frozen=True, array_like=True, tag=1):
    """What a worker asks that was armed a moment ago."""

    public_key: bytes
    """X25519, 32 bytes; made after the asking worker was armed."""


PairOperation = ShareRoots
