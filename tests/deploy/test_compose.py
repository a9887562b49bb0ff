"""The local stack, by its schema and beside the files that it mounts.

There is no Docker engine here: it was never started.  Its daemon and its simulator are
the image that test_container.py runs.
"""

import re
from typing import Any, Final

import click
import pytest

from tests.deploy.external_tools import DEPLOY, load_yaml, need_tool, run
from triaged.cli import app
from triaged.cli.sandbox import sandbox
from triaged.settings import read_settings

FILE: Final = DEPLOY / "compose.yaml"
SERVICES: Final[dict[str, dict[str, Any]]] = load_yaml(FILE)["services"]


def mounts(service: str) -> dict[str, str]:
    """Return where a service finds what, without how it is mounted."""
    words = [mount.split(":") for mount in SERVICES[service].get("volumes", [])]
    return {word[1]: word[0] for word in words}


@pytest.mark.deploy
def test_it_is_of_the_compose_specification() -> None:
    """The official schema knows every key."""
    check = need_tool("venv/bin/check-jsonschema")

    run(check, "--builtin-schema", "vendor.compose-spec", FILE)


def test_what_is_mounted_is_there() -> None:
    """Each mounted file exists, and each named volume is declared."""
    volumes = load_yaml(FILE)["volumes"]
    for service in SERVICES:
        for source in mounts(service).values():
            is_there = (DEPLOY / source).exists() if "/" in source else False
            assert is_there or source in volumes, (service, source)


def test_the_images_paths_are_the_mounts() -> None:
    """Rules and ledger lie where the image looks for them."""
    text = (DEPLOY / "container/Containerfile").read_text()
    places = dict(re.findall(r"(TRIAGED_\w+)=(\S+)", text))

    assert places["TRIAGED_RULES"] in mounts("triaged")
    assert places["TRIAGED_STATE_DIR"] in mounts("triaged")


def test_the_settings_are_settings() -> None:
    """The daemon would start with its environment: loopback to the simulator."""
    environ = SERVICES["triaged"]["environment"]

    settings = read_settings({**environ, "TRIAGED_STATE_DIR": "/x"}, {})
    assert settings.quota.daily_limit == 1000
    assert settings.api_url.startswith("http://127.0.0.1:9465/")
    assert SERVICES["triaged"]["network_mode"] == "service:sandbox"


def test_the_simulators_flags_are_flags() -> None:
    """The simulator's command is one that triaged has."""
    name, *flags = SERVICES["sandbox"]["command"]
    # click keeps a command's first help option: one without -h would stay that way.
    parent = click.Context(app, info_name="triaged", **app.context_settings)

    given = sandbox.make_context(name, flags, parent=parent).params
    assert given["tasks"] == 200


def test_prometheus_and_grafana_find_each_other() -> None:
    """Prometheus scrapes the daemon in its own network; Grafana knows its name."""
    config = mounts("prometheus")["/etc/prometheus"]
    (job,) = load_yaml(DEPLOY / config / "prometheus.yaml")["scrape_configs"]
    provisioning = DEPLOY / mounts("grafana")["/etc/grafana/provisioning"]
    (source,) = load_yaml(provisioning / "datasources/prometheus.yaml")["datasources"]
    (provider,) = load_yaml(provisioning / "dashboards/triaged.yaml")["providers"]
    aliases = SERVICES["sandbox"]["networks"]["default"]["aliases"]

    assert SERVICES["prometheus"]["network_mode"] == "service:sandbox"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]
    host = re.fullmatch(r"http://(\w+):9090", source["url"])
    assert host is not None
    assert host[1] in aliases
    folder = provider["options"]["path"]
    assert mounts("grafana")[f"{folder}/triaged.json"] == "./grafana/triaged.json"


def test_nothing_is_open_to_the_network() -> None:
    """Every published port is of loopback, and no service keeps a capability."""
    for name, service in SERVICES.items():
        ports = service.get("ports", [])

        assert all(port.startswith("127.0.0.1:") for port in ports), name
        assert service["cap_drop"] == ["ALL"], name
