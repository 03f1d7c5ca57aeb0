"""All that keyiso does with a TPM, so that a relay sees every command and every answer."""

from dataclasses import dataclass
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from bench.tpm import DECRYPTING_KEY, SHA256, SIGNING_KEY, made_key
from keyiso.clock import SystemClock
from keyiso.tpm.capabilities import handles, lockout_state
from keyiso.tpm.command import Command, Header
from keyiso.tpm.constants import (
    TPM_ALG,
    TPM_CC,
    TPM_EO,
    TPM_HT,
    TPM_RH,
    TPM_SE,
    TPM_SU,
    TPMA_NV,
)
from keyiso.tpm.entity import Entity
from keyiso.tpm.general_commands import TPM2_GetRandom, TPM2_Shutdown
from keyiso.tpm.held import held_session
from keyiso.tpm.latch import extend_latch, read_pcr_state
from keyiso.tpm.nv_commands import TPM2_NV_DefineSpace, TPM2_NV_Increment
from keyiso.tpm.nv_public import TPMS_NV_PUBLIC
from keyiso.tpm.object_commands import TPM2_ReadPublic, TPM2_RSA_Decrypt, TPM2_Sign
from keyiso.tpm.pin_index import (
    PinCounters,
    define_pin_index,
    read_pin_counters,
    remove_pin_index,
    write_pin_counters,
)
from keyiso.tpm.pin_sealed import PinSealed, seal_under_pin, unseal_with_pin
from keyiso.tpm.policy_commands import (
    TPM2_PolicyAuthValue,
    TPM2_PolicyCommandCode,
    TPM2_PolicyGetDigest,
    TPM2_PolicyNV,
)
from keyiso.tpm.proven_time import proven_time
from keyiso.tpm.public_area import (
    TPMT_SCHEME,
    NoDetails,
)
from keyiso.tpm.sealed_root import SealedRoot, seal_boot_root, seal_machine_root, unseal_root
from keyiso.tpm.session import Authorization, EmptyPassword
from keyiso.tpm.srk import enrol_srk, held_srk
from keyiso.tpm.structure import Structure
from keyiso.tpm.ticket import NULL_HASHCHECK
from keyiso.tpm.tpm import Tpm
from keyiso.tpm.transport import Transport
from tests.tpm.relays import Relay

R = TypeVar("R", bound=Structure)

COMMANDS: dict[int, type[Command[Any]]] = {
    command.code: command for command in Command.__subclasses__()
}
"""Every command, by its code."""

AUTH_VALUE = b"a" * 32


def command_type(frame: bytes) -> type[Command[Any]]:
    """Which command these bytes are."""
    return COMMANDS[Header.decode(frame[:10]).code]


@dataclass(frozen=True)
class Exchange:
    """A command, the bytes that answered it, and the result that they are."""

    command: Command[Any]
    answer: bytes
    result: Structure


class Watched(Tpm):
    """A TPM of which every command and its answer is remembered."""

    def __init__(self, transport: Transport) -> None:
        self._relay = Relay(transport)
        self.exchanges: list[Exchange] = []
        super().__init__(self._relay, SystemClock())

    def run(self, command: Command[R], authorization: Authorization | None = None) -> R:
        result = super().run(command, authorization)
        self.exchanges.append(Exchange(command, self._relay.answers[-1], result))
        return result


@dataclass(frozen=True)
class Made:
    """What is stored afterwards."""

    roots: list[SealedRoot]
    under_pin: PinSealed


def use_everything(tpm: Tpm, algorithm: TPM_ALG = TPM_ALG.ECC) -> Made:
    """Every operation of keyiso, once. The latch has fallen afterwards."""
    srk = enrol_srk(tpm, algorithm)
    state = read_pcr_state(tpm, srk)
    roots = [
        seal_machine_root(tpm, b"m" * 32, srk, state),
        seal_boot_root(tpm, b"b" * 32, srk, state),
    ]
    for root in roots:
        unseal_root(tpm, root)
    writer = ec.generate_private_key(ec.SECP256R1())
    index = define_pin_index(tpm, srk, 0x01800000, AUTH_VALUE, writer, 3)
    under_pin = seal_under_pin(tpm, b"p" * 32, srk, index)
    unseal_with_pin(tpm, under_pin, AUTH_VALUE)
    read_pin_counters(tpm, srk, index)
    write_pin_counters(tpm, srk, index, PinCounters(0, 5), writer)
    remove_pin_index(tpm, srk, index.handle)
    proven_time(tpm, srk)
    lockout_state(tpm)
    handles(tpm, TPM_HT.NV_INDEX)
    extend_latch(tpm, srk)
    return Made(roots, under_pin)


def use_the_rest(tpm: Tpm) -> None:
    """The commands that only benchmarks, tests and later versions use."""
    owner = Entity.of(TPM_RH.OWNER)
    tpm.run(TPM2_GetRandom(16))
    counter = TPMS_NV_PUBLIC(
        0x01800001,
        TPM_ALG.SHA256,
        TPMA_NV.COUNTER | TPMA_NV.OWNERWRITE | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA,
        b"",
        8,
    )
    index = Entity(counter.nv_index, counter.name())
    tpm.run(TPM2_NV_DefineSpace(owner, b"", counter), EmptyPassword())
    tpm.run(TPM2_NV_Increment(owner, index), EmptyPassword())
    with held_srk(tpm, enrol_srk(tpm)) as parent:
        with made_key(tpm, parent, SIGNING_KEY) as key:
            scheme = TPMT_SCHEME(TPM_ALG.ECDSA, SHA256)
            tpm.run(TPM2_ReadPublic(key.entity))
            tpm.run(TPM2_Sign(key.entity, bytes(32), scheme, NULL_HASHCHECK), EmptyPassword())
        with made_key(tpm, parent, DECRYPTING_KEY) as key:
            raw = TPMT_SCHEME(TPM_ALG.NULL, NoDetails())
            tpm.run(TPM2_RSA_Decrypt(key.entity, bytes(256), raw, b""), EmptyPassword())
        with held_session(tpm, parent, TPM_SE.POLICY) as session:
            written = replace(counter, attributes=counter.attributes | TPMA_NV.WRITTEN)
            index = Entity(counter.nv_index, written.name())
            tpm.run(TPM2_PolicyNV(owner, index, session.entity, b"", 0, TPM_EO.EQ), EmptyPassword())
            tpm.run(TPM2_PolicyAuthValue(session.entity))
            tpm.run(TPM2_PolicyCommandCode(session.entity, TPM_CC.Unseal))
            tpm.run(TPM2_PolicyGetDigest(session.entity))
    tpm.run(TPM2_Shutdown(TPM_SU.CLEAR))
