"""The forms of a running daemon's page: what they forbid no longer leaves."""

from datetime import UTC, datetime, timedelta
from typing import Final

import httpx

from tests.e2e.harness import RULES, Program, RunningDaemon, a_listed, add, eventually
from tests.http_probe import form_fields
from tests.sandbox_server import RunningSandbox
from triaged.sandbox.faults import parse_fault

# A request that was written before the answer may be read this much later.
IN_TRANSIT: Final = timedelta(seconds=0.3)
MANY: Final = RULES.replace(
    "max_share_of_pending: 1.0",
    "max_share_of_pending: 1.0, max_dismissals_per_cycle: 500,"
    " max_dismissals_per_day: 500",
)
HOLDING: Final = RULES.replace("    match: {desc", "    hold: 4s\n    match: {desc")


def send(daemon: RunningDaemon, page: str, action: str) -> httpx.Response:
    """Send the first form of a page with this action, as a browser does."""
    fields = form_fields(daemon.get(page).text, action)
    headers = {"Origin": daemon.url()}
    return httpx.post(daemon.url() + action, data=fields, headers=headers, timeout=30)


def test_a_pause_on_the_page_acts_at_once(
    program: Program, sandbox: RunningSandbox
) -> None:
    """When the answer is there, no further dismissal is sent; `status` says who."""
    program.rules.write_text(MANY)
    add(sandbox, [a_listed(f"t{number:03}") for number in range(300)])
    sandbox.world.faults.add(parse_fault("dismiss:slow=0.02:300"))
    with program.daemon() as daemon:
        daemon.wait_for("task.dismissed", times=5)
        answer = send(daemon, "/", "/pause")
        returned = datetime.now(UTC)  # noqa: TID251 - real processes, real time
        paused = daemon.wait_for("dismissing.paused")
        cycles = len(daemon.named("cycle.finished"))
        daemon.wait_for("cycle.finished", times=cycles + 3)
        status = program.json("status")
        late = [
            call.received_at - returned
            for call in list(sandbox.world.calls)
            if call.operation == "dismiss" and call.received_at > returned + IN_TRANSIT
        ]

    assert (answer.status_code, late) == (303, [])
    assert sandbox.world.store.counts()["pending"] > 0
    assert paused["by"] == status["paused"]["by"] == "127.0.0.1 on the page"
    assert daemon.named("internal_error.survived") == []


def test_a_task_kept_on_the_page_stays(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A held task that a person keeps is never dismissed; the commands say who."""
    program.rules.write_text(HOLDING)
    program.settings["TRIAGED_PAGE_USER_HEADER"] = "X-Remote-User"
    add(sandbox, [a_listed("kept-by-petra"), a_listed("not-kept-by-her")])
    with program.daemon() as daemon:
        daemon.wait_for("cycle.finished")
        page = daemon.get("/tasks/kept-by-petra").text
        answer = httpx.post(
            daemon.url() + "/veto",
            data=form_fields(page, "/veto"),
            headers={"Origin": daemon.url(), "X-Remote-User": "petra"},
            timeout=30,
        )
        eventually(lambda: sandbox.world.store.counts()["dismissed"] == 1)
        cycles = len(daemon.named("cycle.finished"))
        daemon.wait_for("cycle.finished", times=cycles + 2)
        page = daemon.get("/").text
        said = program.run("status").stdout

    assert answer.headers["location"] == "/tasks/kept-by-petra"
    assert sandbox.world.store.ids("pending") == ["kept-by-petra"]
    assert "petra on the page" in page
    assert "by petra on the page" in said
    (veto,) = program.json("veto", "--list")
    assert (veto["task_id"], veto["by"]) == ("kept-by-petra", "petra on the page")
