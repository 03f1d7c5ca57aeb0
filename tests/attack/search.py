"""Finding secrets in bytes that an attack got hold of."""

from collections.abc import Mapping

BLOCK_BYTES = 8
WINDOW_BYTES = 16
"""A find is so many bytes of a secret in a row: chance does not give them."""

_PIECE_BYTES = 1 << 16
_LONGEST_FORM = 1 << 11


class Search:
    """Looks for any window of any form of some secrets, wherever it lies, and keeps what it found.

    A run of 16 bytes of a form contains one of the form's blocks of 8 whole. All bytes are read
    as 64-bit numbers, at each of the eight alignments, and looked up among the blocks. One that is
    not ``thorough`` is content with the first find.
    """

    def __init__(self, forms: Mapping[str, bytes], *, thorough: bool = True) -> None:
        self.found: set[str] = set()
        """The names of the forms of which there was a window."""
        self.searched = 0
        """Bytes."""
        self._thorough = thorough
        self._forms = forms
        self._blocks: dict[int, list[tuple[str, int]]] = {}
        for name, form in forms.items():
            for start in range(0, len(form) - BLOCK_BYTES + 1, BLOCK_BYTES):
                block = form[start : start + BLOCK_BYTES]
                if len(set(block)) > BLOCK_BYTES // 2:  # not zeros, nor padding
                    number = int.from_bytes(block, "little")
                    self._blocks.setdefault(number, []).append((name, start))
        self._wanted = frozenset(self._blocks)

    @property
    def satisfied(self) -> bool:
        """Nothing more is looked for."""
        return bool(self.found) and not self._thorough

    def look(self, data: bytes) -> None:
        """Search these bytes."""
        self.searched += len(data)
        for start in range(0, len(data), _PIECE_BYTES):
            if self.satisfied:
                return
            self._look_at_piece(data[start : start + _PIECE_BYTES + _LONGEST_FORM])

    def words(self, data: bytes) -> set[tuple[str, int]]:
        """Single words of 8 bytes, at multiples of 8: what a register holds. By name and place."""
        whole = memoryview(data)[: len(data) // BLOCK_BYTES * BLOCK_BYTES].cast("Q")
        return {
            place for number in self._wanted.intersection(whole) for place in self._blocks[number]
        }

    def _look_at_piece(self, piece: bytes) -> None:
        if piece.count(0) == len(piece):
            return  # most of a process is memory that it never touched
        for shift in range(BLOCK_BYTES):
            size = max(0, len(piece) - shift) // BLOCK_BYTES * BLOCK_BYTES
            numbers = memoryview(piece)[shift : shift + size].cast("Q")
            for number in self._wanted.intersection(numbers):
                self._compare(piece, number)

    def _compare(self, piece: bytes, number: int) -> None:
        """Keep the forms of which a window lies around a block of theirs."""
        block = number.to_bytes(BLOCK_BYTES, "little")
        at = piece.find(block)
        while at >= 0:
            for name, start in self._blocks[number]:
                if _common_run(piece, at, self._forms[name], start) >= WINDOW_BYTES:
                    self.found.add(name)
            at = piece.find(block, at + 1)


def _common_run(data: bytes, at: int, form: bytes, start: int) -> int:
    """How many bytes around a place are the same in both."""
    before = 0
    while before < min(at, start) and data[at - before - 1] == form[start - before - 1]:
        before += 1
    after = 0
    while (
        after < min(len(data) - at, len(form) - start) and data[at + after] == form[start + after]
    ):
        after += 1
    return before + after


class Factors:
    """Looks for a prime factor of an RSA modulus, as OpenSSL keeps it: 64-bit words, the least
    first, at a multiple of 8. It finds a key of which only the public part is known.
    """

    def __init__(self, modulus: int) -> None:
        self.found = False
        self._modulus = modulus
        self._words = -(-modulus.bit_length() // 128)

    def look(self, data: bytes) -> None:
        words = memoryview(data)[: len(data) // 8 * 8].cast("Q")
        size = self._words
        for at in range(len(words) - size + 1):
            # Such a prime is odd, and its highest bit is set; the next one need not be
            # (FIPS 186-5, A.1.3: at least the square root of 2 times 2^(n/2 - 1)).
            if words[at] & 1 and words[at + size - 1] >> 63:
                number = int.from_bytes(words[at : at + size].tobytes(), "little")
                if not self._modulus % number:
                    self.found = True
                    return
