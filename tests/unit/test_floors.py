"""The house stands: a module imports only from floors below its own, or its own package.

Everything is read from the source, so that an import inside a function counts too.
"""

import ast
import graphlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import keyiso

SOURCE = Path(keyiso.__file__).parent

FLOORS = {
    # 9
    "cli": 9,
    # 8
    "doctor": 8,
    "doors": 8,
    "passport": 8,
    # 7
    "keys": 7,
    "provider": 7,
    # 6
    "access_rules": 6,
    "ncrypt": 6,
    "paddings": 6,
    "private_keys": 6,
    "protection": 6,
    # 5
    "router": 5,
    # 4
    "backup": 4,
    "guest": 4,
    "providers": 4,
    # 3
    "attest": 3,
    "client": 3,
    "keyiso_service": 3,
    "supervisor": 3,
    "trustlet": 3,
    # 2
    "config": 2,
    "events": 2,
    "function_table": 2,
    "server": 2,
    "store": 2,
    "tpm": 2,
    "wire": 2,
    # 1
    "crypto": 1,
    "required_shields": 1,
    # 0
    "_from_user_site": 0,
    "clock": 0,
    "closeable": 0,
    "errors": 0,
    "flags": 0,
    "identifiers": 0,
    "interpreter": 0,
    "limits": 0,
    "magics": 0,
    "names": 0,
    "paths": 0,
    "quotas": 0,
    "status": 0,
}
"""The floor of every package and module directly under ``keyiso``. The modules of the ground
floor are one package in this: they may use each other."""

NEIGHBOURS = {("server", "wire"), ("keys", "provider")}
"""Who may use whom on one floor: the event-loop shell is written around the sessions of the
wire, which know nothing of it, and a key is made and found in a provider."""

UNBOUND = {"", "__main__"}
"""``keyiso`` itself, which imports when it is asked for a name, and ``python -m keyiso``."""


@dataclass(frozen=True)
class Import:
    """One import of something of keyiso."""

    line: int
    module: str
    """As far as the statement tells: ``keyiso.wire.session``."""
    names: tuple[str, ...]
    """What is taken out of the module; none for ``import keyiso.wire``."""
    at_start: bool
    """It is done when the importing module is imported."""


def modules() -> dict[str, str]:
    """The source of every module of keyiso, by the module's name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ("keyiso", *path.relative_to(SOURCE).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        found[name] = path.read_text(encoding="utf-8")
    return found


def imports_of(module: str, source: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import of keyiso in a module, wherever it stands."""
    tree = ast.parse(source)
    early = {id(node) for node in _done_at_start(tree)}
    for node in ast.walk(tree):
        at_start = id(node) in early
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "keyiso":
                    yield Import(node.lineno, alias.name, (), at_start)
        elif isinstance(node, ast.ImportFrom):
            name = _absolute(module, node, is_package)
            if name.split(".")[0] == "keyiso":
                taken = tuple(alias.name for alias in node.names)
                yield Import(node.lineno, name, taken, at_start)


def _done_at_start(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: no function, not under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _done_at_start(child)


def _absolute(module: str, node: ast.ImportFrom, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


def targets(found: Import) -> Iterator[str]:
    """The names directly under ``keyiso`` that an import reaches; empty for keyiso itself."""
    parts = found.module.split(".")
    if len(parts) > 1:
        yield parts[1]
    else:
        yield from (name if name in FLOORS else "" for name in found.names or ("",))


def violations(module: str, source: str, *, is_package: bool = False) -> Iterator[str]:
    """What is wrong with a module's imports."""
    own = _under_keyiso(module)
    if own in UNBOUND:
        return
    if own not in FLOORS:
        yield f"{module}: {own} has no floor; give it one in FLOORS"
        return
    for found in imports_of(module, source, is_package=is_package):
        for target in targets(found):
            where = f"{module}:{found.line}"
            if target in UNBOUND or target not in FLOORS:
                yield f"{where}: imports {found.module} {found.names}, which is on no floor"
            elif not _may_use(own, target):
                yield f"{where}: floor {FLOORS[own]} imports {target} of {FLOORS[target]}"


def _may_use(own: str, target: str) -> bool:
    on_the_ground = FLOORS[own] == FLOORS[target] == 0
    below = FLOORS[target] < FLOORS[own]
    return own == target or below or on_the_ground or (own, target) in NEIGHBOURS


def private_uses(module: str, source: str, *, is_package: bool = False) -> Iterator[str]:
    """Private names of other packages that a module uses."""
    own = _under_keyiso(module)
    bound: set[str] = set()
    for found in imports_of(module, source, is_package=is_package):
        others = [target for target in targets(found) if target != own]
        if not others:
            continue
        bound |= {name for name in found.names if not _private(name)}
        for part in (*found.module.split("."), *found.names):
            if _private(part):
                yield f"{module}:{found.line}: imports {part} of {found.module}"
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in bound
            and _private(node.attr)
        ):
            yield f"{module}:{node.lineno}: uses {node.value.id}.{node.attr}"


def _under_keyiso(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def cycle_in(sources: Mapping[str, str], packages: frozenset[str]) -> list[str]:
    """A circle of modules that import each other when they are imported; empty if there is none."""
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        needed = graph.setdefault(module, set())
        for found in imports_of(module, source, is_package=module in packages):
            if found.at_start:
                inner = {f"{found.module}.{name}" for name in found.names} & sources.keys()
                needed |= inner or {found.module} & sources.keys()
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


MODULES = modules()
PACKAGES = frozenset(
    module
    for module in MODULES
    if (SOURCE.joinpath(*module.split(".")[1:]) / "__init__.py").exists()
)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_below(module: str) -> None:
    found = violations(module, MODULES[module], is_package=module in PACKAGES)

    assert list(found) == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_leaves_the_private_names_of_other_packages_alone(module: str) -> None:
    found = private_uses(module, MODULES[module], is_package=module in PACKAGES)

    assert list(found) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycle_in(MODULES, PACKAGES) == []


def test_keyiso_itself_imports_nothing_of_its_own_at_the_start() -> None:
    found = imports_of("keyiso", MODULES["keyiso"], is_package=True)

    assert [one for one in found if one.at_start] == []


def test_every_exception_on_one_floor_is_needed() -> None:
    used = {
        (_under_keyiso(module), target)
        for module, source in MODULES.items()
        for found in imports_of(module, source, is_package=module in PACKAGES)
        for target in targets(found)
    }

    assert used >= NEIGHBOURS


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("keyiso.wire.session", "from keyiso.trustlet.worker import Worker"),
        ("keyiso.wire.session", "from keyiso.trustlet import worker"),
        ("keyiso.wire.session", "import keyiso.trustlet.worker as w"),
        ("keyiso.wire.session", "from keyiso import trustlet"),
        ("keyiso.wire.session", "from keyiso import limits, trustlet"),
        ("keyiso.wire.session", "def late() -> None:\n    from keyiso import trustlet"),
        ("keyiso.wire.session", "async def late() -> None:\n    import keyiso.trustlet"),
        ("keyiso.wire.session", "class A:\n    from keyiso.trustlet import worker"),
        ("keyiso.wire.session", "if TYPE_CHECKING:\n    from keyiso.trustlet import worker"),
        ("keyiso.wire.session", "try:\n    pass\nexcept OSError:\n    import keyiso.client"),
        ("keyiso.wire.session", "from ..trustlet.worker import Worker"),
        ("keyiso.wire.session", "from .. import trustlet"),
        ("keyiso.wire.session", "from keyiso.store import keys"),
        ("keyiso.wire.session", "from keyiso.server.loop import Loop"),
        ("keyiso.wire.session", "from keyiso import NCryptError"),
        ("keyiso.wire.session", "import keyiso"),
        ("keyiso.wire.session", "from keyiso.unheard_of import something"),
        ("keyiso.names", "from keyiso.crypto import digests"),
        ("keyiso.unheard_of", ""),
        ("keyiso.unheard_of.inside", ""),
    ],
)
def test_a_module_that_reaches_up_is_noticed(module: str, source: str) -> None:
    assert len(list(violations(module, source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("keyiso.wire.session", "from keyiso.wire.messages import Call"),
        ("keyiso.wire.session", "from . import messages"),
        ("keyiso.wire.session", "from keyiso import limits"),
        ("keyiso.wire.session", "from keyiso.crypto.key_header import KeyHeader"),
        ("keyiso.wire.session", "import keyiso.status"),
        ("keyiso.wire.session", "import keyisolated"),
        ("keyiso.server.link", "from keyiso.wire import session"),
        ("keyiso.names", "from keyiso.errors import NCryptError"),
        ("keyiso.__main__", "from keyiso.cli import main"),
        ("keyiso", "from keyiso import keys"),
    ],
)
def test_a_module_may_use_its_package_and_what_is_below(module: str, source: str) -> None:
    assert list(violations(module, source)) == []


def test_a_package_may_import_from_its_own_init() -> None:
    assert list(violations("keyiso.wire", "from .session import Session", is_package=True)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from keyiso.crypto.key_blob import _split",
        "from keyiso.crypto import _inner",
        "from keyiso.crypto._inner import split",
        "from keyiso.crypto import key_blob\nkey_blob._split(b'')",
        "def late() -> None:\n    from keyiso.crypto.key_blob import _split",
    ],
)
def test_a_private_name_of_another_package_is_noticed(source: str) -> None:
    assert len(list(private_uses("keyiso.wire.session", source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from keyiso.wire.messages import _ENCODER",
        "from keyiso.crypto import key_blob\nkey_blob.__name__",
        "from keyiso.crypto.key_blob import Root\nself._root = Root",
    ],
)
def test_private_names_of_the_own_package_are_free(source: str) -> None:
    assert list(private_uses("keyiso.wire.session", source)) == []


def test_a_circle_of_imports_is_noticed() -> None:
    sources = {
        "keyiso.wire.a": "from keyiso.wire import b",
        "keyiso.wire.b": "from keyiso.wire.c import something",
        "keyiso.wire.c": "import keyiso.wire.a",
    }

    assert set(cycle_in(sources, frozenset())) == set(sources)


@pytest.mark.parametrize(
    "late",
    [
        "def late() -> None:\n    import keyiso.wire.a",
        "if TYPE_CHECKING:\n    import keyiso.wire.a",
    ],
)
def test_an_import_for_later_makes_no_circle(late: str) -> None:
    sources = {"keyiso.wire.a": "from keyiso.wire import b", "keyiso.wire.b": late}

    assert cycle_in(sources, frozenset()) == []
