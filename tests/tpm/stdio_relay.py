"""Between the standard streams and a TPM's socket, for the tools' TCTI ``cmd``."""

import socket
import sys

HEADER_BYTES = 10


def message(read) -> bytes:  # type: ignore[no-untyped-def]
    header = read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return b""
    return header + read(int.from_bytes(header[2:6], "big") - HEADER_BYTES)


def main() -> None:
    with socket.socket(socket.AF_UNIX) as tpm:
        tpm.connect(sys.argv[1])
        answers = tpm.makefile("rb")
        while command := message(sys.stdin.buffer.read):
            tpm.sendall(command)
            sys.stdout.buffer.write(message(answers.read))
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
