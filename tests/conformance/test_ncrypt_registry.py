"""The provider registry: files in providers.d, what goes wrong with them, and a foreign provider.

No service runs here: what loads providers is in the application's process.
"""

import importlib
import textwrap
from pathlib import Path

import pytest

from keyiso import Key, Provider, ncrypt
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER, MS_NGC_KEY_STORAGE_PROVIDER
from keyiso.ncrypt import NCryptError
from keyiso.router import process_router
from keyiso.status import Status
from tests.conformance.cases import SHA256_DIGEST
from tests.conformance.statuses import fails


class Registry:
    """The configuration of a KEYISO_HOME, and a directory that modules are imported from."""

    def __init__(self, home: Path, modules: Path) -> None:
        self.directory = home / "config" / "providers.d"
        self.directory.mkdir(parents=True)
        self._modules = modules

    def register(self, provider: str, toml: str) -> Path:
        path = self.directory / f"{provider}.toml"
        path.write_text(toml, encoding="utf-8")
        return path

    def module(self, name: str, code: str) -> str:
        """Write a module that has not been imported before; its name."""
        (self._modules / f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        importlib.invalidate_caches()
        return name

    def package(self, provider: str, image: str) -> None:
        """Install a package with an entry point."""
        metadata = self._modules / "a_package-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: a-package\nVersion: 1\n")
        entry = f"[keyiso.providers]\n{provider} = {image}\n"
        (metadata / "entry_points.txt").write_text(entry)
        importlib.invalidate_caches()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("KEYISO_HOME", str(tmp_path / "home"))
    modules = tmp_path / "modules"
    modules.mkdir()
    monkeypatch.syspath_prepend(modules)
    process_router.cache_clear()
    return Registry(tmp_path / "home", modules)


def names() -> list[str]:
    return [entry.pszName for entry in ncrypt.NCryptEnumStorageProviders()]


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["no such provider", MS_KEY_STORAGE_PROVIDER.lower(), MS_KEY_STORAGE_PROVIDER + " "]
)
def test_a_name_that_is_not_registered(registry: Registry, name: str) -> None:
    with fails(Status.NTE_NOT_FOUND):
        ncrypt.NCryptOpenStorageProvider(name)


@pytest.mark.parametrize("name", ["", "x" * 261], ids=["empty", "261 characters"])
def test_a_name_that_no_provider_can_have(registry: Registry, name: str) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptOpenStorageProvider(name)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a\0b", "\ud800"])
def test_a_name_is_not_a_path(registry: Registry, name: str) -> None:
    (registry.directory.parent / "outside.toml").write_text('image = "outside"', encoding="utf-8")

    with fails(Status.NTE_NOT_FOUND):
        ncrypt.NCryptOpenStorageProvider(name)


def test_an_installed_package_registers_a_provider(registry: Registry) -> None:
    registry.package("A Provider", "keyiso.providers.software")

    assert "A Provider" in names()
    ncrypt.NCryptFreeObject(ncrypt.NCryptOpenStorageProvider("A Provider"))


@pytest.mark.parametrize("name", [MS_KEY_STORAGE_PROVIDER, MS_NGC_KEY_STORAGE_PROVIDER])
def test_an_installed_package_does_not_take_the_place_of_our_provider(
    registry: Registry, name: str
) -> None:
    """A file of the configuration can, which the owner of the machine or the user has written."""
    ours = ncrypt.NCryptEnumStorageProviders()
    registry.package(name, "no_such_module")
    assert ncrypt.NCryptEnumStorageProviders() == ours
    ncrypt.NCryptFreeObject(ncrypt.NCryptOpenStorageProvider(name))
    process_router.cache_clear()

    registry.register(name, 'image = "no_such_module"')
    with fails(Status.NTE_PROV_DLL_NOT_FOUND):
        ncrypt.NCryptOpenStorageProvider(name)


def test_a_registered_provider_is_enumerated(registry: Registry) -> None:
    """It is not loaded for that: its image may be missing."""
    registry.register("Contoso KSP", 'image = "no.such.module"\ncomment = "of a token"\n')

    found = {entry.pszName: entry.pszComment for entry in ncrypt.NCryptEnumStorageProviders()}

    assert found["Contoso KSP"] == "of a token"
    assert MS_KEY_STORAGE_PROVIDER in found


# --- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image", ["no.such.module", "keyiso.no_such_module", "/usr/lib/ksp.so", "with blank"]
)
def test_an_image_that_is_missing(registry: Registry, image: str) -> None:
    path = registry.register("Missing", f'image = "{image}"\n')

    with fails(Status.NTE_PROV_DLL_NOT_FOUND) as caught:
        ncrypt.NCryptOpenStorageProvider("Missing")

    assert image in caught.value.cause
    assert str(path) in caught.value.action


BROKEN_IMAGES = {
    "nothing in it": "",
    "entry that is no function": "get_key_storage_interface = 5",
    "entry that returns no table": "def get_key_storage_interface(name, flags): return None",
    "entry with other parameters": "def get_key_storage_interface(): pass",
    "entry that raises": "def get_key_storage_interface(name, flags): raise RuntimeError('mine')",
    "import that raises": "raise RuntimeError('mine')",
    "syntax error": "def (",
}


@pytest.mark.parametrize("title", BROKEN_IMAGES)
def test_an_image_that_is_no_provider(registry: Registry, title: str) -> None:
    """Whatever goes wrong in foreign code, the application gets a status."""
    image = registry.module("broken_" + title.replace(" ", "_"), BROKEN_IMAGES[title])
    registry.register("Broken", f'image = "{image}"\n')

    for _ in range(2):
        with fails(Status.NTE_PROVIDER_DLL_FAIL) as caught:
            ncrypt.NCryptOpenStorageProvider("Broken")
        assert image in caught.value.cause

    ncrypt.NCryptOpenStorageProvider()


def test_an_image_whose_own_import_is_missing(registry: Registry) -> None:
    image = registry.module("lacks_something", "import no_such_dependency")
    registry.register("Lacking", f'image = "{image}"\n')

    with fails(Status.NTE_PROV_DLL_NOT_FOUND) as caught:
        ncrypt.NCryptOpenStorageProvider("Lacking")

    assert "no_such_dependency" in caught.value.cause


# --- registrations that are damaged ------------------------------------------------------------

DAMAGED = {
    "no TOML": "image = ",
    "empty": "",
    "image of another type": "image = 5",
    "image empty": 'image = ""',
    "image relative": 'image = ".software"',
    "image a table": "[image]",
    "comment of another type": 'image = "x"\ncomment = 5',
}


@pytest.mark.parametrize("toml", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_registration(registry: Registry, toml: str) -> None:
    path = registry.register("Damaged", toml)

    with fails(Status.NTE_PROV_TYPE_ENTRY_BAD) as caught:
        ncrypt.NCryptOpenStorageProvider("Damaged")

    assert str(path) in caught.value.cause


@pytest.mark.parametrize("toml", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_registration_is_no_other_providers_trouble(
    registry: Registry, toml: str
) -> None:
    image = registry.module("healthy_neighbour", TINY_PROVIDER)
    registry.register("Damaged", toml)
    registry.register("Healthy", f'image = "{image}"\n')

    ncrypt.NCryptOpenStorageProvider()
    ncrypt.NCryptOpenStorageProvider("Healthy")


def test_a_registration_that_is_a_directory(registry: Registry) -> None:
    (registry.directory / "Directory.toml").mkdir()

    with fails(Status.NTE_PROV_TYPE_ENTRY_BAD):
        ncrypt.NCryptOpenStorageProvider("Directory")


def test_only_toml_files_register(registry: Registry) -> None:
    for name in ("README", "Old.toml.bak", ".toml.swp"):
        (registry.directory / name).write_text("not TOML at all =", encoding="utf-8")

    assert names() == [MS_NGC_KEY_STORAGE_PROVIDER, MS_KEY_STORAGE_PROVIDER]
    ncrypt.NCryptOpenStorageProvider()


# --- a provider of somebody else ---------------------------------------------------------------

TINY_PROVIDER = """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    from keyiso.errors import ncrypt_error
    from keyiso.function_table import KeyStorageFunctionTable, NCryptAlgorithmName, NCryptKeyName
    from keyiso.status import Status

    HASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()))


    class Key:
        def __init__(self, name, properties):
            self.name, self.properties, self.private = name, properties, None


    class Provider:
        def __init__(self, name):
            self.name, self.keys, self.free = name, {}, False


    def find(provider, name, spec, flags):
        if name not in provider.keys:
            raise ncrypt_error(Status.NTE_BAD_KEYSET)
        return provider.keys[name]


    def create(provider, algorithm, name, spec, flags):
        return Key(name, {"Algorithm Name": algorithm.encode("utf-16-le") + bytes(2)})


    def finalize(provider, key, flags):
        key.private = ec.generate_private_key(ec.SECP256R1())
        if key.name is not None:
            provider.keys[key.name] = key


    def sign(provider, key, padding, digest, flags, *, probe=False):
        return 72 if probe else key.private.sign(digest, HASHED)


    def verify(provider, key, padding, digest, signature, flags):
        key.private.public_key().verify(signature, digest, HASHED)


    def enum_keys(provider, scope, state, flags):
        left = sorted(provider.keys) if state is None else state
        if not left:
            raise ncrypt_error(Status.NTE_NO_MORE_ITEMS)
        return NCryptKeyName(left[0], "ECDSA_P256"), left[1:]


    def key_property(provider, key, name, flags):
        if name == "Name" and key.name is None:
            raise ncrypt_error(Status.NTE_NOT_SUPPORTED)
        return {"Name": (key.name or "").encode("utf-16-le") + bytes(2), **key.properties}[name]


    def get_key_storage_interface(provider_name, flags):
        return KeyStorageFunctionTable(
            open_provider=lambda name, flags: Provider(name),
            open_key=find,
            create_persisted_key=create,
            get_provider_property=lambda provider, name, flags: provider.name.encode(),
            get_key_property=key_property,
            set_key_property=lambda provider, key, name, value, flags: key.properties.update(
                {name: value}
            ),
            finalize_key=finalize,
            delete_key=lambda provider, key, flags: provider.keys.pop(key.name),
            free_provider=lambda provider: setattr(provider, "free", True),
            free_key=lambda provider, key: setattr(key, "private", None),
            is_alg_supported=lambda provider, algorithm, flags: None,
            enum_algorithms=lambda provider, operations, flags: (
                NCryptAlgorithmName("ECDSA_P256", 5, 0x10),
            ),
            enum_keys=enum_keys,
            sign_hash=sign,
            verify_signature=verify,
        )
"""


@pytest.fixture
def tiny(registry: Registry, request: pytest.FixtureRequest) -> str:
    """The name under which a small provider is registered that keeps its keys in a dictionary."""
    image = registry.module("tiny_provider", TINY_PROVIDER)
    registry.register("Tiny KSP", f'image = "{image}"\ncomment = "a test"\n')
    return "Tiny KSP"


def test_a_foreign_provider_does_what_its_table_says(tiny: str) -> None:
    provider = ncrypt.NCryptOpenStorageProvider(tiny)
    assert ncrypt.NCryptGetProperty(provider, "Name") == b"Tiny KSP"
    assert [one.pszName for one in ncrypt.NCryptEnumAlgorithms(provider)] == ["ECDSA_P256"]
    ncrypt.NCryptIsAlgSupported(provider, "ECDSA_P256")

    key = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "mine")
    assert ncrypt.NCryptIsKeyHandle(key)
    ncrypt.NCryptSetProperty(key, "Colour", b"blue")
    ncrypt.NCryptFinalizeKey(key)
    opened = ncrypt.NCryptOpenKey(provider, "mine")

    assert ncrypt.NCryptGetProperty(opened, "Colour") == b"blue"
    assert ncrypt.NCryptGetProperty(opened, "Colour", cbOutput=None) == 4
    assert ncrypt.NCryptSignHash(opened, None, SHA256_DIGEST, cbSignature=None) == 72
    with fails(Status.NTE_BUFFER_TOO_SMALL):
        ncrypt.NCryptSignHash(opened, None, SHA256_DIGEST, cbSignature=71)
    signature = ncrypt.NCryptSignHash(opened, None, SHA256_DIGEST)
    ncrypt.NCryptVerifySignature(key, None, SHA256_DIGEST, signature)
    many = ncrypt.KeyisoSignHashes(opened, None, [SHA256_DIGEST] * 3)
    assert len(many) == 3
    for one in many:
        ncrypt.NCryptVerifySignature(key, None, SHA256_DIGEST, one)
    found, state = ncrypt.NCryptEnumKeys(provider)
    assert found.pszName == "mine"
    with fails(Status.NTE_NO_MORE_ITEMS):
        ncrypt.NCryptEnumKeys(provider, None, state)

    ncrypt.NCryptDeleteKey(key)
    assert not ncrypt.NCryptIsKeyHandle(key)
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, "mine")
    ncrypt.NCryptFreeObject(provider)
    with fails(Status.NTE_INVALID_HANDLE):
        ncrypt.NCryptOpenKey(provider, "mine")


def test_what_a_foreign_provider_leaves_out_is_not_supported(tiny: str) -> None:
    provider = ncrypt.NCryptOpenStorageProvider(tiny)
    key = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256")

    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptExportKey(key, None, "PUBLICBLOB")
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptImportKey(provider, None, "PUBLICBLOB", None, b"x")
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptSetProperty(provider, "Name", b"x")


def test_the_provider_handle_of_a_foreign_key(tiny: str) -> None:
    """The provider's own context comes back, not a new one."""
    provider = ncrypt.NCryptOpenStorageProvider(tiny)
    key = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "mine")
    ncrypt.NCryptFinalizeKey(key)

    again: object = ncrypt.NCryptGetProperty(key, "Provider Handle")

    assert isinstance(again, ncrypt.NCryptProvHandle)
    ncrypt.NCryptOpenKey(again, "mine")


def test_the_python_api_over_a_foreign_provider(tiny: str) -> None:
    with Key.create("mine", "ECDSA_P256", provider=tiny) as key:
        assert key.name == "mine"
        assert key.algorithm == "ECDSA_P256"
        key.verify(key.sign(b"message"), b"message")
    with Provider(tiny) as provider:
        assert provider.algorithms() == ("ECDSA_P256",)


def test_a_key_of_one_provider_is_none_of_another(tiny: str, registry: Registry) -> None:
    """Objects reach only the table they came from."""
    registry.register("Second KSP", 'image = "tiny_provider"\n')
    one, other = (
        ncrypt.NCryptOpenStorageProvider(tiny),
        ncrypt.NCryptOpenStorageProvider("Second KSP"),
    )
    ncrypt.NCryptFinalizeKey(ncrypt.NCryptCreatePersistedKey(one, "ECDSA_P256", "mine"))

    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(other, "mine")
    assert {tiny, "Second KSP"} <= set(names())


def test_a_file_takes_the_place_of_a_built_in_provider(registry: Registry) -> None:
    """Of two of one name the configuration's counts, so that an administrator can choose."""
    image = registry.module("instead", TINY_PROVIDER)
    registry.register(MS_KEY_STORAGE_PROVIDER, f'image = "{image}"\ncomment = "instead"\n')

    found = ncrypt.NCryptEnumStorageProviders()

    assert [entry.pszComment for entry in found if entry.pszName == MS_KEY_STORAGE_PROVIDER] == [
        "instead"
    ]
    for name in (None, MS_KEY_STORAGE_PROVIDER):
        provider = ncrypt.NCryptOpenStorageProvider(name)
        ncrypt.NCryptIsAlgSupported(provider, "anything at all")


def test_a_loaded_provider_stays_loaded(tiny: str, registry: Registry) -> None:
    """Its registration may go; the process keeps what it has, as ncrypt.dll does."""
    ncrypt.NCryptFreeObject(ncrypt.NCryptOpenStorageProvider(tiny))

    (registry.directory / f"{tiny}.toml").unlink()

    ncrypt.NCryptOpenStorageProvider(tiny)
    assert tiny not in names()


def test_a_provider_that_refuses_to_be_opened(registry: Registry) -> None:
    """Its own status reaches the caller."""
    code = textwrap.dedent(TINY_PROVIDER) + textwrap.dedent(
        """
        import dataclasses

        whole = get_key_storage_interface

        def refuse(name, flags):
            raise ncrypt_error(Status.NTE_DEVICE_NOT_READY, "no token in the slot")

        def get_key_storage_interface(name, flags):
            return dataclasses.replace(whole(name, flags), open_provider=refuse)
        """
    )
    registry.register("Refusing", f'image = "{registry.module("refusing", code)}"\n')

    with fails(Status.NTE_DEVICE_NOT_READY):
        ncrypt.NCryptOpenStorageProvider("Refusing")


def test_an_error_is_one_exception_to_catch(registry: Registry) -> None:
    with pytest.raises(NCryptError) as caught:
        ncrypt.NCryptOpenStorageProvider("no such provider")

    assert "NTE_NOT_FOUND (0x80090011)" in str(caught.value)
    assert "keyiso provider list" in caught.value.action
