"""Between the standard streams and a TPM's socket, for the tools' TCTI ``cmd``."""

import socket
import sys
from typing import BinaryIO

HEADER_BYTES = 10


def message(stream: BinaryIO) -> bytes:
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return b""
    return header + stream.read(int.from_bytes(header[2:6], "big") - HEADER_BYTES)


def main() -> None:
    with socket.socket(socket.AF_UNIX) as tpm:
        tpm.connect(sys.argv[1])
        answers = tpm.makefile("rb")
        while command := message(sys.stdin.buffer):
            tpm.sendall(command)
            sys.stdout.buffer.write(message(answers))
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
