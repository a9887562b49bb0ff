"""``triaged run --once`` against a bare httpx loop that does only the calls.

Run ``python -m tests.bench.once``: 2,000 dismissals on a sandbox without limits, both
with the same concurrency, in turn; prints the wall times and the median ratio.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from triaged.triage.dispatcher import MAX_CONCURRENT

TARGET: Final = 2.0
KEY: Final = "wbk_bench"
RULES: Final = """\
version: 1
safety: {max_dismissals_per_cycle: 100000, max_dismissals_per_day: 100000,
         max_share_of_pending: 1.0, min_age: 0s}
rules:
  - name: clutter
    match: {description: '^\\[TEST\\]'}
    dismiss: testing
"""


async def bare(api: str) -> None:
    """Do only the calls: one list, then all dismissals, several at a time."""
    headers = {"Authorization": f"Bearer {KEY}"}
    limit = asyncio.Semaphore(MAX_CONCURRENT)
    async with httpx.AsyncClient(headers=headers, timeout=30) as client:
        listed = await client.get(f"{api}/v1/lexi/tasks?status=pending")
        tasks = listed.json()["data"]["tasks"]

        async def dismiss(task_id: str) -> None:
            async with limit:
                url = f"{api}/v1/lexi/tasks/{task_id}/dismiss"
                answer = await client.post(url, json={"reason": "testing"})
                answer.raise_for_status()

        await asyncio.gather(*(dismiss(task["id"]) for task in tasks))


@contextlib.contextmanager
def sandbox() -> Iterator[str]:
    """Run a sandbox without limits in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "triaged", "sandbox", "--plan", "unlimited"]
    process = subprocess.Popen(
        [*command, "--tasks", "0", "--port", str(port)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def fill(root: str, count: int) -> None:
    """Begin anew with so many tasks that are to be dismissed."""
    tasks = [
        {
            "id": f"task-{number}",
            "type": "contact_update",
            "status": "pending",
            "description": f"[TEST] merge contacts {number}",
            "created_at": "2026-01-01T00:00:00Z",
            "metadata": {},
        }
        for number in range(count)
    ]
    httpx.post(f"{root}/sandbox/reset").raise_for_status()
    body = {"tasks": tasks}
    httpx.post(f"{root}/sandbox/tasks", json=body, timeout=60).raise_for_status()


def dismissed(root: str) -> int:
    """Count what the sandbox saw dismissed."""
    state = httpx.get(f"{root}/sandbox/state", timeout=60).json()
    return int(state["tasks"]["dismissed"])


def timed(command: list[str], environ: dict[str, str], root: str, count: int) -> float:
    """Run a command on a full sandbox and return its wall time in seconds."""
    fill(root, count)
    started = time.perf_counter()
    subprocess.run(command, env=environ, check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    assert dismissed(root) == count
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        asyncio.run(bare(given.bare))
        return
    ratios = []
    with sandbox() as root, tempfile.TemporaryDirectory() as directory:
        api = f"{root}/functions/v1/api-gateway"
        rules = Path(directory) / "rules.yaml"
        rules.write_text(RULES)
        for number in range(given.rounds):
            environ = {
                **os.environ,
                "TRIAGED_API_KEY": KEY,
                "TRIAGED_API_URL": api,
                "TRIAGED_RULES": str(rules),
                "TRIAGED_STATE_DIR": f"{directory}/{number}",
                "TRIAGED_RATE_LIMIT": "1000000/1m",
                "TRIAGED_DAILY_LIMIT": "1000000",
            }
            ours = [sys.executable, "-m", "triaged", "run", "--once"]
            theirs = [sys.executable, "-m", "tests.bench.once", "--bare", api]
            a = timed(ours, environ, root, given.tasks)
            b = timed(theirs, environ, root, given.tasks)
            ratios.append(a / b)
            print(f"run --once {a:.2f} s, bare loop {b:.2f} s, ratio {a / b:.2f}")
    ratio = statistics.median(ratios)
    verdict = "PASS" if ratio < TARGET else "FAIL"
    print(json.dumps({"tasks": given.tasks, "median_ratio": round(ratio, 3)}))
    print(f"{verdict}: median ratio {ratio:.2f}, wanted below {TARGET:g}")
    sys.exit(verdict == "FAIL")


if __name__ == "__main__":
    main()
