"""The instructions of deploy/kubernetes/README.md, and the pod for commands by hand."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.external_tools import DEPLOY, load_yaml, need_tool, run
from tests.deploy.manifests import CHART, KUSTOMIZE, ask_helm, kustomized, pod_of

pytestmark = pytest.mark.deploy

README = DEPLOY / "kubernetes/README.md"
MANUAL = DEPLOY / "kubernetes/manual.yaml"


def test_the_values_that_it_names_exist() -> None:
    """Each value of a --set, and each that may have to be set, is the chart's."""
    text = README.read_text()
    given = dict(re.findall(r"--set (\S+?)=(\S+)", text))
    prefixes = "networkPolicy|monitoring|resources|cronjob"
    named = set(re.findall(rf"`((?:{prefixes})\.[\w.]+)`", text))
    values = load_yaml(CHART / "values.yaml")

    assert len(given) == 2
    assert ask_helm(nested(given))["error"] is None
    assert "--set-file rules=" in text
    assert isinstance(values["rules"], str)
    assert len(named) >= 9
    for path in named:
        found: Any = values
        for key in path.split("."):
            found = found[key]


def nested(given: dict[str, str]) -> dict[str, Any]:
    """Return dotted paths as Helm takes them."""
    values: dict[str, Any] = {}
    for path, value in given.items():
        outer, _, inner = path.partition(".")
        values.setdefault(outer, {})[inner] = value
    return values


def test_its_overlay_brings_other_rules(tmp_path: Path) -> None:
    """The README's lines in an overlay replace the rules under the same name."""
    (block,) = re.findall(r"```yaml\n(.+?)```", README.read_text(), re.DOTALL)
    base = os.path.relpath(KUSTOMIZE / "base", tmp_path.resolve())
    overlay = {"resources": [base], **yaml.load(block, yaml.CSafeLoader)}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    (tmp_path / "rules.yaml").write_text("version: 1\n")

    maps = kustomized(tmp_path)["ConfigMap/triaged-rules"]
    assert maps["data"] == {"rules.yaml": "version: 1\n"}


def test_the_pod_by_hand_is_like_the_daemons() -> None:
    """It has the daemon's user, image, rights and volumes, and is not taken for it."""
    manual = load_yaml(MANUAL)
    pod, daemons = manual["spec"], pod_of(kustomized(KUSTOMIZE / "base"))
    same = ("securityContext", "volumes", "serviceAccountName", "enableServiceLinks")
    parts = ("image", "securityContext", "volumeMounts", "resources")

    assert {key: pod[key] for key in same} == {key: daemons[key] for key in same}
    assert pod["automountServiceAccountToken"] is False
    for part in parts:
        assert pod["containers"][0][part] == daemons["containers"][0][part]


@pytest.mark.parametrize("version", ["1.25", "1.31", "1.37"])
def test_the_pod_by_hand_is_valid(version: str) -> None:
    """The schemas of several versions know each of its fields."""
    validate = need_tool("venv/bin/kubernetes-validate")

    run(validate, "--strict", "-k", version, MANUAL)
