"""The file of an instance's ``software`` machine root."""

from dataclasses import dataclass, field

from keyiso.backup.ownership import acting_as_owner
from keyiso.paths import Instance
from keyiso.trustlet.roots import machine_root_of_file


@dataclass(frozen=True, slots=True)
class RootFile:
    """A root, as its file has it."""

    root_id: bytes
    data: bytes = field(repr=False)


def read_root_file(instance: Instance) -> RootFile | None:
    """The machine root's file, or None when there is none.

    Raises ``NTE_BAD_DATA`` or ``NTE_BAD_VER`` when it is damaged.
    """
    path = instance.software_machine_root
    try:
        with acting_as_owner(path.parent):
            data = path.read_bytes()
    except FileNotFoundError:
        return None
    return RootFile(machine_root_of_file(data, path).root_id, data)
