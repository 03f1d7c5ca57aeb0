"""``keyiso completion``: what real shells complete; completing starts and breaks nothing."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from keyiso import Key
from keyiso.crypto.algorithms import ALGORITHMS
from keyiso.paths import client_instance
from tests.cli.command import DEADLINE_SECONDS, keyiso
from tests.instance import RunningInstance

BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="bash is not installed")

SCRIPT = """
source <(keyiso completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { echo "option $2"; }
_keyiso_completion keyiso
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def command_path(tmp_path: Path) -> str:
    """A PATH on which ``keyiso`` is the one under test."""
    directory = tmp_path / "bin"
    directory.mkdir()
    command = directory / "keyiso"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m keyiso "$@"\n')
    command.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


@pytest.fixture
def environ(command_path: str, tmp_path: Path) -> dict[str, str]:
    """Nothing runs in this home."""
    return {**os.environ, "PATH": command_path, "KEYISO_HOME": str(tmp_path / "home")}


def completed(environ: Mapping[str, str], *words: str) -> list[str]:
    """What bash offers after these words, the last of which is not finished."""
    assert BASH is not None
    ended = subprocess.run(
        [BASH, "--norc", "-c", SCRIPT, "bash", "keyiso", *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.split("\n")[:-1]


@needs_bash
def test_commands_and_options(environ: Mapping[str, str]) -> None:
    assert "quickstart" in completed(environ, "")
    assert completed(environ, "st") == ["status", "stop"]
    assert completed(environ, "key", "ex") == ["export"]
    assert completed(environ, "key", "sign", "--ha") == ["--hash"]
    assert completed(environ, "completion", "") == ["bash", "zsh", "fish"]
    assert "--version" in completed(environ, "--")


@needs_bash
def test_values_of_options(environ: Mapping[str, str]) -> None:
    assert completed(environ, "key", "create", "web", "--algorithm", "") == list(ALGORITHMS)
    assert completed(environ, "key", "create", "web", "--algorithm", "ECDSA_P3") == ["ECDSA_P384"]
    assert completed(environ, "key", "sign", "web", "--hash", "sha3-2") == ["SHA3-256"]
    assert completed(environ, "key", "create", "--export-policy", "enc") == ["encrypted"]


@needs_bash
@pytest.mark.parametrize(
    "words",
    [
        ("key", "sign", "web", ""),
        ("key", "sign", "web", "--out", ""),
        ("key", "import", "web", "--password-file", ""),
        ("key", "agree", "web", ""),
    ],
    ids=" ".join,
)
def test_files(environ: Mapping[str, str], words: tuple[str, ...]) -> None:
    """Left to bash, which knows them best."""
    assert completed(environ, *words) == ["option default", ""]


@needs_bash
def test_names_of_keys(instance: RunningInstance, environ: Mapping[str, str]) -> None:
    for name in ("web", "web-2", "wéb", "other", "we b", "we:b", "-web", "we$(id)", "we\nb"):
        Key.create(name, "ECDSA_P256").close()
    Key.create("webmaster", "ECDSA_P256", machine=True).close()
    for command in ("show", "sign", "verify", "encrypt", "decrypt", "agree", "csr", "policy"):
        # What a shell would take for something else is not offered.
        assert completed(environ, "key", command, "w") == ["web", "web-2", "wéb"]
    assert completed(environ, "key", "show", "web") == ["web", "web-2"]
    assert completed(environ, "key", "show", "--machine", "w") == ["webmaster"]
    assert completed(environ, "key", "show", "nobody") == [""]
    assert completed(environ, "key", "create", "w") == [""]


@needs_bash
def test_many_names(instance: RunningInstance, environ: Mapping[str, str]) -> None:
    """Those that begin with what is typed are found wherever they are in the order."""
    for number in range(260):
        Key.create(f"many{number:03}", "ECDSA_P256").close()
    for name in ("z", "zebra", "ž"):
        Key.create(name, "ECDSA_P256").close()
    assert completed(environ, "key", "show", "z") == ["z", "zebra"]
    assert completed(environ, "key", "show", "ž") == ["ž"]
    assert completed(environ, "key", "show", "many25") == [f"many25{digit}" for digit in range(10)]


@needs_bash
def test_nothing_is_started(environ: Mapping[str, str], tmp_path: Path) -> None:
    assert completed(environ, "key", "show", "w") == [""]
    assert not (tmp_path / "home").exists()
    assert not client_instance(environ).runtime.exists()


@needs_bash
def test_a_service_that_hangs_or_was_killed_is_no_error(
    instance: RunningInstance, environ: Mapping[str, str]
) -> None:
    Key.create("web", "ECDSA_P256").close()
    pid = instance.pid_of("keyiso")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert completed(environ, "key", "show", "w") == [""]
    finally:
        os.kill(pid, signal.SIGCONT)
    supervisor = os.pidfd_open(instance.pid_of("supervisor"))
    signal.pidfd_send_signal(supervisor, signal.SIGKILL)  # its sockets stay, and nobody listens
    assert select.select([supervisor], [], [], DEADLINE_SECONDS)[0]
    os.close(supervisor)
    assert completed(environ, "key", "show", "w") == [""]
    assert keyiso("status").code == 6


@pytest.mark.parametrize("wanted", ["bash_complete", "nonsense", "bash_nonsense", "bash_"])
def test_whatever_is_wrong_nothing_is_said(environ: Mapping[str, str], wanted: str) -> None:
    """Here a script of another version, or of a shell that is not known."""
    ended = keyiso("key", "list", environ={**environ, "_KEYISO_COMPLETE": wanted})
    assert ended.code in (0, 1)
    assert (ended.output, ended.errors) == (b"", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts(environ: Mapping[str, str], tmp_path: Path, shell: str) -> None:
    ended = keyiso("completion", shell, environ=environ)
    assert (ended.code, ended.errors) == (0, "")
    assert f"_KEYISO_COMPLETE={shell}_complete" in ended.text
    script = tmp_path / "script"
    script.write_text(ended.text)
    interpreter = shutil.which(shell)  # zsh and fish are looked at where they are
    if interpreter is not None:
        subprocess.run([interpreter, "-n", script], check=True)


def test_a_shell_that_is_not_known() -> None:
    ended = keyiso("completion", "tcsh")
    assert (ended.code, ended.output) == (2, b"")


@needs_bash
def test_somebody_types_and_presses_tab(
    instance: RunningInstance, environ: dict[str, str], tmp_path: Path
) -> None:
    Key.create("webserver", "ECDSA_P256").close()
    assert BASH is not None
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [BASH, "--norc", "--noprofile", "-i"],
        env={**environ, "TERM": "dumb", "PS1": "ready> ", "HISTFILE": ""},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as shell:
        os.close(theirs)
        try:
            wait_for(ours, b"ready> ")
            os.write(ours, b"source <(keyiso completion bash)\n")
            wait_for(ours, b"ready> ")
            os.write(ours, b"keyiso key show web\t")
            wait_for(ours, b"keyiso key show webserver ")
            os.write(ours, b"--public pem\n")
            wait_for(ours, b"-----END PUBLIC KEY-----")
        finally:
            shell.kill()
            os.close(ours)


def wait_for(terminal: int, text: bytes) -> None:
    seen = b""
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], DEADLINE_SECONDS)
        assert ready, f"{text!r} did not come after {seen!r}"
        seen += os.read(terminal, 65536)
