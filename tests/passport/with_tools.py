"""What root does with tpm2-tools to the index that counts wrong PINs."""

import re

from tests.tpm.swtpm import Swtpm

ATTRIBUTES = "nt=pinfail|policywrite|ownerread|no_da"
FREE_GUESSES = bytes.fromhex("00000000000000ff")
"""Counters of root's choice: none was wrong, and 255 may be."""


def counted(swtpm: Swtpm, index: str) -> bytes:
    """The index's contents."""
    output = swtpm.directory / "read"
    swtpm.tool("tpm2_nvread", index, "-C", "o", "-s", "8", "-o", output)
    return output.read_bytes()


def undefine(swtpm: Swtpm, index: str) -> None:
    swtpm.tool("tpm2_nvundefine", index, "-C", "o")


def redefine(swtpm: Swtpm, index: str) -> None:
    """The same public area, and an authValue of root's own."""
    public = swtpm.tool("tpm2_nvreadpublic", index)
    found = re.search(r"authorization policy: ([0-9A-F]+)", public)
    assert found
    (swtpm.directory / "policy").write_bytes(bytes.fromhex(found[1]))
    undefine(swtpm, index)
    swtpm.tool(
        *("tpm2_nvdefine", index, "-C", "o", "-s", "8", "-p", "evil"),
        *("-a", ATTRIBUTES, "-L", "policy"),
    )


def redefine_for_anybody(swtpm: Swtpm, index: str) -> None:
    """A PIN_FAIL index that the owner writes, and wrote."""
    undefine(swtpm, index)
    swtpm.tool(
        *("tpm2_nvdefine", index, "-C", "o", "-s", "8", "-p", "evil"),
        *("-a", "nt=pinfail|ownerwrite|ownerread|no_da"),
    )
    (swtpm.directory / "contents").write_bytes(FREE_GUESSES)
    swtpm.tool("tpm2_nvwrite", index, "-C", "o", "-i", "contents")


def write_in_vain(swtpm: Swtpm, index: str) -> None:
    """As the owner and as the index itself: the TPM refuses it."""
    (swtpm.directory / "contents").write_bytes(FREE_GUESSES)
    for who in ("o", index):
        swtpm.tool("tpm2_nvwrite", index, "-C", who, "-i", "contents", fails=True)
    swtpm.tool("tpm2_nvincrement", index, "-C", "o", fails=True)
    swtpm.flush_all()


def clear(swtpm: Swtpm) -> None:
    """The TPM's own reset."""
    swtpm.tool("tpm2_clear", "-c", "p")


def lockout_counter(swtpm: Swtpm) -> int:
    """What the TPM itself has counted (TPM2_PT_LOCKOUT_COUNTER)."""
    found = re.search(
        r"TPM2_PT_LOCKOUT_COUNTER: (0x[0-9A-F]+)",
        swtpm.tool("tpm2_getcap", "properties-variable"),
    )
    assert found
    return int(found[1], 16)
