"""The image: linted, built, and run with the least rights.

The base image is a stand-in of the same name, made from Debian's packages: the real one
was never pulled here.
"""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy import containers
from tests.deploy.containers import podman
from tests.deploy.external_tools import DEPLOY, free_port, need_tool, run
from tests.e2e.harness import KEY, RULES, a_listed, add, eventually
from tests.sandbox_server import RunningSandbox, running_sandbox
from triaged import __version__
from triaged.clock import SystemClock
from triaged.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.deploy

CONTAINERFILE = DEPLOY / "container/Containerfile"


@pytest.fixture(scope="module")
def image(built_image: None) -> Any:
    del built_image
    return containers.inspect("image", containers.IMAGE)


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    settings = SandboxSettings(task_count=0, minute_limit=None, day_limit=None)
    with running_sandbox(settings, SystemClock()) as running:
        yield running


@pytest.fixture
def options(tmp_path: Path, sandbox: RunningSandbox, image: Any) -> list[str]:
    """Return how to run the image against the sandbox."""
    del image
    (tmp_path / "rules.yaml").write_text(RULES)
    key = tmp_path / "api-key"
    key.write_text(KEY)
    # For the image's user alone, as the README has it.
    os.chown(key, 65532, 65532)
    key.chmod(0o400)
    environ = {
        "TRIAGED_API_URL": sandbox.api_url,
        "TRIAGED_POLL_INTERVAL": "1s",
        "TRIAGED_RATE_LIMIT": "10000/1m",
        "TRIAGED_DAILY_LIMIT": "100000",
        "TRIAGED_LISTEN": f"127.0.0.1:{free_port()}",
    }
    # Masked: an attacker would find no shell, and the program needs none.
    hidden = [f"--volume=/dev/null:/usr/bin/{shell}:ro" for shell in ("dash", "bash")]
    return [
        *(f"--env={name}={value}" for name, value in environ.items()),
        f"--volume={tmp_path}/rules.yaml:/etc/triaged/rules.yaml:ro",
        f"--volume={tmp_path}/api-key:/run/secrets/triaged/api-key:ro",
        *hidden,
    ]


def url(options: list[str]) -> str:
    """Return where a daemon that is run with these options listens."""
    (listen,) = (o for o in options if o.startswith("--env=TRIAGED_LISTEN="))
    return "http://" + listen.rpartition("=")[2]


def answers(address: str) -> bool:
    """Return whether a healthy daemon answers at this address."""
    try:
        return httpx.get(address).status_code == 200
    except httpx.TransportError:
        return False


def test_hadolint_finds_nothing() -> None:
    """The Containerfile follows hadolint's rules, labels included."""
    run(need_tool("venv/bin/hadolint"), CONTAINERFILE)


def test_everything_is_pinned_by_hash() -> None:
    """Each pip in the build installs from a lock file or a wheel made from one."""
    text = CONTAINERFILE.read_text().replace("\\\n", " ")
    installs = re.findall(r"pip (?:--python \S+ )?install ([^&\n]+)", text)

    assert len(installs) == 3
    assert all("--require-hashes" in i or "--no-index" in i for i in installs)


def test_the_image_is_ready_for_strict_clusters(image: Any) -> None:
    """It has a numeric user, no shell to start with, labels and a health check."""
    config = image["Config"]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])
    assert config["Entrypoint"] == ["triaged"]
    assert config["Cmd"] == ["run"]
    assert image["Healthcheck"]["Test"][0] == "CMD"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == containers.REVISION
    assert config["StopSignal"] in {"SIGTERM", "15"}
    assert labels["org.opencontainers.image.base.name"] == containers.pinned_base()


def test_a_release_needs_a_pinned_base() -> None:
    """An image with a version is not built from a base that only a tag names."""
    done = containers.build(__version__, containers.BASE, ok=(1, 125))

    assert f"VERSION={__version__} needs BASE=...@sha256:" in done.stdout + done.stderr


def test_it_listens_on_every_address(options: list[str]) -> None:
    """By default it is reached by IPv4 and IPv6, by its own health check too."""
    port = free_port()
    own = [o for o in options if not o.startswith("--env=TRIAGED_LISTEN=")]
    listen = containers.inspect("image", containers.IMAGE)["Config"]["Env"]
    assert "TRIAGED_LISTEN=[::]:9464" in listen
    # The host's network is shared, and 9464 may be taken there.
    with containers.container("triaged-six", *own, f"--env=TRIAGED_LISTEN=[::]:{port}"):
        for host in ("127.0.0.1", "[::1]"):
            address = f"http://{host}:{port}/healthz"
            eventually(lambda address=address: answers(address))
        podman("healthcheck", "run", "triaged-six")


def test_it_works_with_nothing_but_what_it_needs(
    options: list[str], sandbox: RunningSandbox
) -> None:
    """No capability, no writable root, no shell: it does its work, and ends with 0."""
    add(sandbox, [a_listed("t1")])
    with containers.container("triaged-test", *options) as name:
        eventually(lambda: answers(url(options) + "/readyz"))
        eventually(lambda: sandbox.world.store.counts()["dismissed"] == 1)
        shown = containers.inspect("container", name)
        status = Path(f"/proc/{shown['State']['Pid']}/status").read_text()
        podman("healthcheck", "run", name)
        write = "open('/opt/triaged/x', 'w')"
        refused = podman("exec", name, "python3", "-c", write, ok=(1,))

        podman("stop", "-t", "30", name)
        ended = containers.inspect("container", name)["State"]

    assert re.search(r"Uid:\t65532\t65532", status)
    assert re.search(r"CapEff:\t0{16}\n", status)
    assert re.search(r"CapBnd:\t0{16}\n", status)
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "Read-only file system" in refused.stderr
    assert ended["ExitCode"] == 0


def test_the_ledger_survives_the_container(
    options: list[str], sandbox: RunningSandbox
) -> None:
    """On a named volume, a new container of a new image would find the old ledger."""
    volume = ["--volume=triaged-test:/var/lib/triaged"]
    podman("volume", "rm", "-f", "triaged-test")
    add(sandbox, [a_listed("t1")])
    once = ("run", "--once")
    try:
        with containers.container("triaged-one", *options, *volume, command=once):
            assert podman("wait", "triaged-one").stdout == "0\n"
        history = ("history", "--format", "csv")
        with containers.container("triaged-two", *options, *volume, command=history):
            podman("wait", "triaged-two")
            assert "t1" in podman("logs", "triaged-two").stdout
    finally:
        podman("volume", "rm", "-f", "triaged-test")


def test_the_image_is_the_product(image: Any, options: list[str]) -> None:
    """The program in the image is of the version that its label names."""
    del image
    with containers.container("triaged-three", *options, command=("--version",)):
        podman("wait", "triaged-three")

        said = podman("logs", "triaged-three").stdout
    assert shlex.split(said) == ["triaged", __version__]
