"""All questions, asked of this machine and of the keyiso that this user's programs use."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyiso.clock import SystemClock
from keyiso.doctor import firmware, kernel, level, memory, tracing
from keyiso.doctor.arming import bpf_lsm, missing_shields, probed_shields, told_shields
from keyiso.doctor.finding import Finding
from keyiso.doctor.instance import (
    Running,
    instance_findings,
    isolation_of,
    running_instance,
)
from keyiso.doctor.isolation import isolation_findings
from keyiso.doctor.machine_root import machine_root, tpm_address
from keyiso.doctor.tpm import LATCHED, tpm_findings
from keyiso.doctor.tree import Tree
from keyiso.doctor.trial import no_signatures, trial_signatures
from keyiso.doctor.verdict import EPHEMERAL, PERSISTED, verdicts_from
from keyiso.paths import Instance
from keyiso.trustlet.arming.backing import secret_memory
from keyiso.trustlet.arming.bpf_lsm import probe_bpf_lsm
from keyiso.trustlet.arming.probes import probe_machine
from keyiso.trustlet.arming.shields import Answer
from keyiso.trustlet.arming.suspicion import tracing_programs


@dataclass(frozen=True, slots=True)
class Part:
    """Findings that belong together."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    instance: Instance
    """The one that was asked, whether it runs or not."""
    verdicts: tuple[Finding, ...]
    """Whether keys that require `vbs` can be made: ephemeral, per-boot and persisted ones."""
    levels: tuple[level.Level, ...]
    """What keys that require `vbs` get here; where none can be made, what other keys get."""
    parts: tuple[Part, ...]
    """What matters most comes first."""

    @property
    def can_require_vbs(self) -> bool:
        """Certainly, and for keys of both kinds that need no TPM."""
        return all(one.state is Answer.YES for one in self.verdicts if one.name != PERSISTED.name)


def examine(tree: Tree, environ: Mapping[str, str], *, start: bool) -> Examination:
    """Ask everything. ``environ`` is that of this process, which names the instance.

    A pair is armed for the trial, and ends with it. A keyiso that runs arms its own workers for the
    signature; with ``start`` the user's own is started, if it does not run.
    """
    running, isolation = running_instance(environ), None
    if start or running.answers:
        signatures = trial_signatures()
        running = running_instance(environ)
        isolation = isolation_of(running, environ)
    else:
        signatures = no_signatures(running)
    workers = isolation_findings(isolation) if isolation else ()
    ingredients = _ingredients(tree, running)
    shields = missing_shields(ingredients) or probed_shields(probe_machine)
    if isolation:
        shields = told_shields(shields, isolation.findings)
    tpm = tpm_findings(tree, tpm_address(running.instance), SystemClock())
    root = machine_root(running.instance, isolation, SystemClock())
    verdicts = verdicts_from(signatures, (*ingredients, *shields), workers, (*tpm, root))
    return Examination(
        running.instance,
        verdicts,
        _levels(verdicts, tpm),
        (
            Part("keyiso", (*instance_findings(running), *signatures)),
            Part("What keys that require vbs need", (*workers, *ingredients, *shields)),
            Part("What persisted ones need besides", (*tpm, root)),
            Part("What else root, and others, could do", _surroundings(tree, running)),
        ),
    )


def _ingredients(tree: Tree, running: Running) -> tuple[Finding, ...]:
    """What arming takes; of a keyiso that runs, as it has it."""
    return (
        memory.secret_memory(lambda: os.close(secret_memory())),
        memory.locked_memory(tree, running.arming),
        tracing.guard_allowed(tree, running.worker_uid),
    )


def _surroundings(tree: Tree, running: Running) -> tuple[Finding, ...]:
    held_up = () if running.supervisor is None else running.supervisor.shields
    return (
        bpf_lsm(probe_bpf_lsm, held_up),
        tracing.no_tracing_programs(tracing_programs),
        tracing.no_uprobes(tree),
        kernel.lockdown(tree),
        kernel.modules_closed(tree),
        kernel.kexec_closed(tree),
        kernel.dev_mem_closed(tree),
        kernel.kcore_closed(tree),
        kernel.hibernation_off(tree),
        firmware.secure_boot(tree),
        firmware.host_shut_out(tree),
        firmware.iommu(tree),
        tracing.users_bpf_off(tree),
        tracing.users_perf_off(tree),
    )


def _levels(verdicts: Sequence[Finding], tpm: Sequence[Finding]) -> tuple[level.Level, ...]:
    can = {one.name for one in (*verdicts, *tpm) if one.state is Answer.YES}
    if EPHEMERAL.name not in can:
        return (level.SOFTWARE,)
    if PERSISTED.name not in can:
        return (level.VBS,)
    return (level.VBS, level.TPM, *((level.LATCHED,) if LATCHED.name in can else ()))
