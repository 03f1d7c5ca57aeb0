"""The TPM: whether there is one that can seal roots, and what it would give to whom."""

from collections.abc import Callable
from typing import Final

from keyiso.clock import Clock
from keyiso.doctor.finding import Finding, Question
from keyiso.doctor.tree import Tree
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.tpm.capabilities import lockout_state, tpm_property
from keyiso.tpm.constants import TPM_PT, TPMA_PERMANENT
from keyiso.tpm.enrolment import open_tpm
from keyiso.tpm.latch import LATCH_EVENT, LATCH_PCR, read_pcrs
from keyiso.tpm.pcr import RESET_VALUE, extended
from keyiso.tpm.tpm import Tpm

_NOT_PERSISTED: Final = "Persisted keys that require `vbs` cannot be made."

TPM: Final = Question(
    "tpm",
    "The machine root of `vbs` can be sealed, so that a copied disk opens no key.",
    _NOT_PERSISTED,
)
VERSION: Final = Question(
    "tpm-2.0",
    "The TPM speaks the language that keyiso speaks.",
    _NOT_PERSISTED,
    "Switch the TPM to version 2.0 in the machine's firmware, where it has both.",
)
SHA256_BANK: Final = Question(
    "tpm-sha256",
    "A root can be sealed to the state of this boot.",
    _NOT_PERSISTED,
    "Enable the SHA-256 PCR bank in the machine's firmware.",
)
OWNER: Final = Question(
    "tpm-owner-free",
    "keyiso can use the owner's hierarchy, as others can.",
    _NOT_PERSISTED,
    "Have the TPM's owner remove the password of the owner hierarchy (tpm2_changeauth -c owner).",
)
NOT_LOCKED: Final = Question(
    "tpm-not-locked",
    "Nobody's wrong guesses have locked the TPM.",
    "Programs that keep secrets in the TPM under passwords wait. Roots of keyiso are given all the"
    " same.",
)
LATCHED: Final = Question(
    "latched",
    "The TPM gives no root to anybody before the next boot, not to root either.",
    "Until the latch falls, a process of this boot with root's rights can ask the TPM for the"
    " machine root.",
    "Where it was enrolled with --unseal once-per-boot, it falls as soon as keyiso has the root.",
)


def tpm_findings(tree: Tree, address: str, clock: Clock) -> tuple[Finding, ...]:
    """Ask the TPM at an address about itself. Nothing is made or changed in it, and nothing proves
    what it says.

    Where none answers, that is the only finding.
    """
    try:
        with open_tpm(address, clock) as tpm:
            return _ask(tpm, address)
    except NCryptError as error:
        return (_out_of_reach(tree, error),)


def _ask(tpm: Tpm, address: str) -> tuple[Finding, ...]:
    return (
        TPM.yes(f"{address} could be opened"),
        _asked(VERSION, lambda: _version(tpm)),
        _asked(SHA256_BANK, lambda: _sha256_bank(tpm)),
        _asked(OWNER, lambda: _owner(tpm)),
        _asked(NOT_LOCKED, lambda: _not_locked(tpm)),
        _asked(LATCHED, lambda: _latched(tpm)),
    )


def _asked(question: Question, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except NCryptError as error:
        return question.unknown(error.cause, error.action)


def _version(tpm: Tpm) -> Finding:
    family = _text(tpm_property(tpm, TPM_PT.FAMILY_INDICATOR))
    maker = _text(tpm_property(tpm, TPM_PT.MANUFACTURER))
    found = f"it says that it is of family {family}, made by {maker}"
    return VERSION.yes(found) if family == "2.0" else VERSION.no(found)


def _sha256_bank(tpm: Tpm) -> Finding:
    try:
        read_pcrs(tpm, (LATCH_PCR,))
    except NCryptError as error:
        if error.status != Status.NTE_NOT_SUPPORTED:
            raise
        return SHA256_BANK.no(error.cause)
    return SHA256_BANK.yes(f"PCR {LATCH_PCR} of it could be read")


def _owner(tpm: Tpm) -> Finding:
    if tpm_property(tpm, TPM_PT.PERMANENT) & TPMA_PERMANENT.ownerAuthSet:
        return OWNER.no("the owner hierarchy has a password (ownerAuthSet)")
    return OWNER.yes("the owner hierarchy has no password (ownerAuthSet is clear)")


def _not_locked(tpm: Tpm) -> Finding:
    state = lockout_state(tpm)
    found = f"{state.failures} of {state.most_failures} failures"
    if state.locked:
        patience = f"Wait: one failure is forgotten every {state.seconds_per_failure} s."
        return NOT_LOCKED.no(f"{found}, it is locked", patience)
    return NOT_LOCKED.yes(found)


def _latched(tpm: Tpm) -> Finding:
    value = read_pcrs(tpm, (LATCH_PCR,))[LATCH_PCR]
    if value == extended(RESET_VALUE, LATCH_EVENT):
        return LATCHED.yes(f"PCR {LATCH_PCR} was extended by keyiso in this boot")
    if value == RESET_VALUE:
        return LATCHED.no(f"PCR {LATCH_PCR} is as it was after the start")
    return LATCHED.unknown(f"PCR {LATCH_PCR} was extended in this boot, with something else too")


def _out_of_reach(tree: Tree, error: NCryptError) -> Finding:
    if error.status != Status.NTE_DEVICE_NOT_FOUND:
        return TPM.unknown(error.cause, error.action)
    old = "; /dev/tpm0 does: a TPM 1.2, or a kernel before Linux 4.12"
    return TPM.no(error.cause + (old if tree.exists("/dev/tpm0") else ""), error.action)


def _text(number: int) -> str:
    """Four characters in a number, as the specification packs them."""
    return number.to_bytes(4).decode("ascii", "replace").strip("\0 ")
