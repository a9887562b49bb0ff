"""The Kubernetes objects as kustomize and Helm make them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deploy.external_tools import DEPLOY, HERE, need_tool, run

KUSTOMIZE: Final = DEPLOY / "kubernetes/kustomize"
CHART: Final = DEPLOY / "kubernetes/chart"

# What only Helm says of its objects, and to whom.
_HELMS_OWN: Final = {
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}

Objects = dict[str, dict[str, Any]]


def kustomized(directory: Path) -> Objects:
    """Return what ``kubectl kustomize`` makes, by kind and name."""
    text = run(need_tool("venv/bin/kubectl"), "kustomize", directory).stdout
    return by_name([text])


def rendered(**values: Any) -> Objects:
    """Return what the chart makes with these values, by kind and name."""
    answer = ask_helm(values)
    assert answer["error"] is None
    manifests: Mapping[str, str] = answer["manifests"]
    texts = [text for path, text in manifests.items() if path.endswith(".yaml")]
    return by_name(texts)


def ask_helm(values: Mapping[str, Any]) -> Any:
    """Lint and render the chart; an error is part of the answer."""
    need_tool("venv/lib")
    asked = {
        "chart": str(CHART),
        "values": values,
        "name": "triaged",
        "namespace": "triaged",
    }
    python = need_tool("venv/bin/python")
    done = run(python, HERE / "helm_render.py", stdin=json.dumps(asked))
    return json.loads(done.stdout)


def by_name(texts: Sequence[str]) -> Objects:
    """Read YAML documents into a mapping by kind and name."""
    objects = [
        each for text in texts for each in yaml.load_all(text, yaml.CSafeLoader) if each
    ]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in objects}


def plain(objects: Objects) -> Objects:
    """Leave out what the tool says of itself; the rest must be the same."""
    return {name: _plain(each) for name, each in objects.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _plain(each) for key, each in value.items()}
        kept = {key: each for key, each in kept.items() if key not in _HELMS_OWN}
        if kept.get("annotations") == {"helm.sh/resource-policy": "keep"}:
            del kept["annotations"]
        return kept
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.rstrip() if isinstance(value, str) else value


def pod_of(objects: Objects) -> Any:
    """Return the spec of the one pod that these objects run."""
    return _template_of(objects)["spec"]


def labels_of(objects: Objects) -> dict[str, str]:
    """Return the labels of the one pod that these objects run."""
    labels: dict[str, str] = _template_of(objects)["metadata"]["labels"]
    return labels


def _template_of(objects: Objects) -> Any:
    for each in objects.values():
        if each["kind"] == "Deployment":
            return each["spec"]["template"]
        if each["kind"] == "CronJob":
            return each["spec"]["jobTemplate"]["spec"]["template"]
    raise AssertionError(list(objects))
