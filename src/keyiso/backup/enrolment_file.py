"""The file of an instance's enrolment: the machine roots that a TPM keeps. It is not secret, but
nothing opens without it."""

from keyiso.backup.ownership import acting_as_owner
from keyiso.paths import Instance
from keyiso.tpm.enrolment import Enrolment, read_enrolment


def read_enrolment_file(instance: Instance) -> Enrolment | None:
    """The enrolment, or None when there is none. Raises as `read_enrolment` does."""
    if not instance.vbs_trustlet.exists():
        return None
    with acting_as_owner(instance.vbs_trustlet):
        return read_enrolment(instance.vbs_enrolment)
