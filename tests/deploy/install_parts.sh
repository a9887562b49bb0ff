#!/usr/bin/env bash
# Installs the programs that `pytest -m deploy` runs against, and libfaketime, without
# which `pytest -m reliability` skips the tests of a clock that is set.  Needs root, Debian and
# Python 3.11.  What is not from apt lands in build/parts, or in $TRIAGED_PARTS: keep that
# directory, and the next run takes seconds.
set -euo pipefail
cd "$(dirname "$0")/../.."

parts=$(realpath -m "${TRIAGED_PARTS:-build/parts}")
base=docker.io/library/python:3.11-slim-bookworm
mkdir -p "$parts"
exec 9>"$parts/lock"
flock 9 # one at a time

packages=(
  buildah catatonit crun podman mmdebstrap ca-certificates      # containers
  prometheus prometheus-alertmanager prometheus-node-exporter   # metrics and alerts
  prometheus-pushgateway
  chromium chromium-driver fonts-dejavu-core                    # screenshots of the page
  systemd iproute2 procps util-linux curl python3 python3-venv  # a machine to boot
  libfaketime                                                   # clocks that are set
)
command -v npm >/dev/null || packages+=(nodejs npm)
missing=()
for package in "${packages[@]}"; do
  dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null |
    grep -qx installed || missing+=("$package")
done
if ((${#missing[@]})); then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >"$parts/apt.log" 2>&1 || { cat "$parts/apt.log" >&2; exit 1; }
fi

# Tools have an environment of their own, apart from the product's.
if ! [ -x "$parts/venv/bin/python" ]; then
  python3 -m venv "$parts/venv"
fi
if ! [ -e "$parts/pip.done" ] || [ tests/deploy/external_tools.txt -nt "$parts/pip.done" ]; then
  "$parts/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
  "$parts/venv/bin/uv" pip install --quiet --python "$parts/venv/bin/python" \
    -r tests/deploy/external_tools.txt
  touch "$parts/pip.done"
fi

if ! [ -x "$parts/node_modules/.bin/tsc" ]; then
  npm install --silent --no-audit --no-fund --no-package-lock --prefix "$parts" \
    '@grafana/schema@13' 'typescript@7'
fi

# Its version 2 needs a newer Node.js than Debian's.
language_server=1.25.0
if [ "$("$parts/node_modules/.bin/yaml-language-server" --version 2>&1)" != "$language_server" ]; then
  npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts \
    --prefix "$parts" "yaml-language-server@$language_server"
fi

# The product as the README installs it, under Debian's Python: that one is not below a
# home directory, which the unit hides from the daemon.
if ! [ -x "$parts/machine/bin/python" ] || [ requirements.lock -nt "$parts/machine" ]; then
  rm -rf "$parts/machine"
  "$parts/venv/bin/uv" venv --quiet --no-config --relocatable \
    --python /usr/bin/python3 "$parts/machine"
  "$parts/venv/bin/uv" pip install --quiet --python "$parts/machine/bin/python" \
    --require-hashes -r requirements.lock
  touch "$parts/machine"
fi

# A stand-in for the base image, under its own name; it needs no registry.
sources=/etc/apt/sources.list.d/debian.sources
[ -e "$sources" ] || sources=/etc/apt/sources.list
if ! [ -s "$parts/base.tar" ]; then
  mmdebstrap --quiet --variant=minbase \
    --include=ca-certificates,python3-minimal,python3-pip,python3-venv \
    bookworm "$parts/base.part.tar" "$sources"
  mv "$parts/base.part.tar" "$parts/base.tar"
fi
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/images"\nrunroot = "%s/run"\n' \
  "$parts" "$parts" >"$parts/storage.conf"
export CONTAINERS_STORAGE_CONF=$parts/storage.conf
podman image exists "$base" || podman import --quiet "$parts/base.tar" "$base" >/dev/null
echo "parts are in $parts"
