"""Finish an SBOM: the version, names that last, who needs what; and check it."""

import json
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main(draft: str, target: str) -> None:
    """Read a draft of the tool's, and write the SBOM."""
    sbom: dict[str, Any] = json.loads(Path(draft).read_text())
    product = sbom["metadata"]["component"]
    product["version"] = Path(target).name.split("-")[1].removesuffix(".cdx.json")
    product["purl"] = product["bom-ref"] = f"pkg:pypi/triaged@{product['version']}"
    for component in sbom["components"]:
        # The line in our file is not its name, and where it was fetched from
        # depends on who built it; its hashes do not.
        component["bom-ref"] = component["purl"]
        del component["description"]
        for reference in component["externalReferences"]:
            reference["url"] = component["purl"]
            del reference["comment"]
    needed = sorted(component["purl"] for component in sbom["components"])
    sbom["dependencies"] = [
        {"ref": product["purl"], "dependsOn": needed},
        *({"ref": purl} for purl in needed),
    ]
    text = json.dumps(sbom, indent=2, sort_keys=True) + "\n"
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        sys.exit(f"the SBOM is not valid: {wrong}")
    Path(target).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
