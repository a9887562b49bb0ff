"""Images built and containers run on this machine, from a stand-in base image."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.deploy.external_tools import (
    HERE,
    PARTS,
    Completed,
    need_program,
    need_root,
    need_tool,
    run,
)

IMAGE: Final = "localhost/triaged:test"
REVISION: Final = "0123abc"
BASE: Final = "docker.io/library/python:3.11-slim-bookworm"

# The machine may not raise limits, and has no cgroups to put a container into.
_LIMITS: Final = (
    *(
        "--network=host",
        "--cgroups=disabled",
        "--health-interval=disable",
        "--runtime=crun",
    ),
    *("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"),
)

_CONTAINERS_CONF: Final = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
"""


def podman(
    *words: str | Path, view: str = "v2", ok: tuple[int, ...] = (0,)
) -> Completed:
    """Run podman on the store that holds the base image."""
    conf = PARTS / "containers.conf"
    conf.write_text(_CONTAINERS_CONF)
    environ = {
        "CONTAINERS_STORAGE_CONF": str(need_tool("storage.conf")),
        "CONTAINERS_CONF": str(conf),
    }
    script = HERE / "podman.sh"
    return run(script, view, "podman", *words, ok=ok, seconds=120, environ=environ)


def pinned_base() -> str:
    """Return the stand-in for the base image, by its digest."""
    need_root()
    shown = podman("image", "inspect", "--format={{.Digest}}", BASE)
    return f"{BASE.rpartition(':')[0]}@{shown.stdout.strip()}"


def build(version: str, base: str, *, ok: tuple[int, ...] = (0,)) -> Completed:
    """Build the image as its Containerfile says; no registry is asked for the base."""
    need_root()
    need_program("podman")
    return run(
        *(need_program("buildah"), "bud", "--isolation=chroot", "--pull-never"),
        *("--network=host", "-v", "/etc/ssl/certs:/etc/ssl/certs:ro", "--layers"),
        *("--format=docker", f"--build-arg=VERSION={version}", "--quiet"),
        *(f"--build-arg=REVISION={REVISION}", f"--build-arg=BASE={base}", "-t", IMAGE),
        *("-f", "deploy/container/Containerfile", "."),
        ok=ok,
        seconds=300,
        environ={"CONTAINERS_STORAGE_CONF": str(need_tool("storage.conf"))},
    )


def inspect(kind: str, name: str) -> Any:
    """Return what podman knows of an image or a container."""
    return json.loads(podman(kind, "inspect", name).stdout)[0]


@contextmanager
def container(name: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[str]:
    """Run a container with the least rights, and remove it at the end."""
    podman("rm", "-f", "-i", name)
    podman(
        *("run", "-d", "--name", name, *_LIMITS, "--read-only", "--tmpfs=/tmp"),
        *("--cap-drop=all", "--security-opt=no-new-privileges", *options),
        *(IMAGE, *command),
    )
    try:
        yield name
    finally:
        podman("rm", "-f", "-v", "-t", "5", name)
