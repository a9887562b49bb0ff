"""Lint and render a chart; run by the Python that has Helm's SDK, JSON in, JSON out."""

import json
import sys

import helm_python as helm  # type: ignore[import-not-found]


def main() -> None:
    asked = json.load(sys.stdin)
    answer: dict[str, object] = {"manifests": {}, "error": None}
    try:
        answer["lint"] = helm.lint(asked["chart"], asked["values"], strict=True)
        with helm.Chart.load(asked["chart"]) as chart:
            answer["manifests"] = chart.render(
                asked["values"], name=asked["name"], namespace=asked["namespace"]
            )
    except helm.HelmError as error:
        answer["error"] = str(error)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
