"""What can be imported from where, and what importing it costs."""

import ast
import importlib.resources
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import keyiso
from keyiso import errors, keys, ncrypt

PROJECT = Path(__file__).parents[2]


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def test_keyiso_alone_imports_nothing_else() -> None:
    """Its modules are imported when one of its names is first used."""
    loaded = run_python(
        "import keyiso, sys\n"
        "dir(keyiso)\n"
        "print(*[name for name in sys.modules"
        " if name.split('.')[0] in ('keyiso', 'cryptography', 'msgspec')])"
    )

    assert loaded.split() == ["keyiso"]


def test_an_error_is_imported_without_the_rest() -> None:
    """A program that only catches errors pays for no cryptography."""
    loaded = run_python(
        "import keyiso, sys\n"
        "keyiso.NCryptError\n"
        "print('keyiso.keys' in sys.modules, 'cryptography' in sys.modules)"
    )

    assert loaded.split() == ["False", "False"]


@pytest.mark.parametrize("name", keyiso.__all__)
def test_a_public_name_is_the_one_of_its_module(name: str) -> None:
    home = errors if name.endswith("Error") else keys

    assert getattr(keyiso, name) is getattr(home, name)


def test_names_that_type_checkers_see_are_those_at_run_time() -> None:
    """The imports under TYPE_CHECKING and ``__all__`` do not drift apart."""
    tree = ast.parse(Path(keyiso.__file__).read_text(encoding="utf-8"))
    seen = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keyiso.")
        for alias in node.names
    ]

    assert sorted(seen) == sorted(keyiso.__all__)


def test_every_error_that_programs_catch_is_public() -> None:
    kinds: list[type[errors.NCryptError]] = [
        errors.NCryptError,
        *errors.NCryptError.__subclasses__(),
    ]
    names = {kind.__name__ for kind in kinds if kind.__module__ == errors.__name__}

    assert {name for name in keyiso.__all__ if name.endswith("Error")} == names


def test_dir_lists_the_public_names() -> None:
    assert dir(keyiso) == sorted(keyiso.__all__)


def test_a_star_import_takes_the_public_names() -> None:
    namespace: dict[str, object] = {}
    exec("from keyiso import *", namespace)

    assert namespace.keys() - {"__builtins__"} == set(keyiso.__all__)


@pytest.mark.parametrize("name", ["Sorcery", "SorceryError", "import_module", "_private"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'keyiso' has no attribute '{name}'"):
        getattr(keyiso, name)


def test_ncrypt_exports_its_functions_and_the_types_of_cng() -> None:
    """Nothing that it imports for itself, and nothing of CNG that is missing."""
    package = Path(ncrypt.__file__).parent
    tree = ast.parse(Path(ncrypt.__file__).read_text(encoding="utf-8"))
    defined = {
        node.name
        for path in package.glob("[!_]*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    taken_over = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith(("NCrypt", "BCRYPT_", "NCRYPT_CIPHER_PADDING", "NCRYPT_UI"))
        or alias.name.endswith(("PaddingInfo", "HCRYPTPROV"))
    }

    assert sorted(ncrypt.__all__) == sorted(defined | taken_over)


@pytest.mark.parametrize("name", ncrypt.__all__)
def test_a_name_of_ncrypt_exists(name: str) -> None:
    assert hasattr(ncrypt, name)


def test_nothing_is_exported_twice() -> None:
    assert len(set(ncrypt.__all__)) == len(ncrypt.__all__)
    assert len(set(keyiso.__all__)) == len(keyiso.__all__)


def test_the_installed_package_is_typed() -> None:
    assert importlib.resources.files("keyiso").joinpath("py.typed").is_file()


def test_the_wheel_has_every_module_and_says_that_it_is_typed(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-I", "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if not name.split("/")[0].endswith("-info")
    }
    source = PROJECT / "src"

    assert "keyiso/py.typed" in packed
    assert packed >= {str(path.relative_to(source)) for path in source.rglob("*.py")}
    assert {name.split("/")[0] for name in packed} == {"keyiso"}
