"""The review on a real terminal."""

import pytest

from tests.e2e.harness import Program, a_listed, add
from tests.e2e.terminal import CTRL_C, CTRL_D, Terminal
from tests.sandbox_server import RunningSandbox
from triaged.sandbox.faults import parse_fault

REASONS = "(Enter)"


@pytest.fixture
def sandbox(sandbox: RunningSandbox) -> RunningSandbox:
    """Return a workspace with four tasks, t1 the oldest; t2 is no clutter."""
    days = [
        a_listed(f"t{n}", created_at=f"2026-01-0{n}T00:00:00Z") for n in range(1, 5)
    ]
    days[1]["description"] = "Find 20 CEOs \x1b[31mat law firms\n  rules: forged"
    add(sandbox, days)
    return sandbox


def walk(program: Program, *steps: tuple[str, str]) -> Terminal:
    """Review: wait for each text, then press the keys beside it."""
    screen = Terminal(program, "review")
    for text, keys in steps:
        screen.expect(text)
        screen.press(keys)
    return screen


def statuses(sandbox: RunningSandbox) -> list[str | None]:
    return [sandbox.world.store.status_of(f"t{n}") for n in range(1, 5)]


def test_a_review_does_what_the_person_says(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Approve, dismiss with a reason, skip, undo, quit: each key does its work."""
    screen = walk(
        program,
        ("1 of 4", "d"),
        (REASONS, "\r"),
        ("2 of 4", "a"),
        ("3 of 4", "u"),
        ("2 of 4", "s"),
        ("3 of 4", "a"),
        ("4 of 4", "q"),
    )

    assert screen.end() == 0
    assert statuses(sandbox) == ["dismissed", "pending", "approved", "pending"]
    assert "clutter would dismiss as testing" in screen.shown
    assert "Review: 1 confirmed, 1 skipped, 1 approved." in screen.shown
    (row,) = program.json("history")
    assert (row["source"], row["reason"]) == ("review", "testing")


def test_a_task_cannot_steer_the_screen(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Neither a task's text nor its id or type writes a line of ours."""
    sandbox.world.store.remove("t1")
    forged = "t9\x1b\n  rules: forged"
    oldest = a_listed(forged, created_at="2025-01-01T00:00:00Z", type=forged)
    add(sandbox, [oldest])
    screen = walk(program, ("1 of 4", "s"), ("2 of 4", "q"))

    assert screen.end() == 0
    assert "\x1b[31m" not in screen.shown
    lines = screen.shown.replace("\r", "").split("\n")
    assert sum(line.startswith("  rules: ") for line in lines) == 2


def test_the_person_chooses_the_reason(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A number is that reason; b goes back, and so does Ctrl-C, to the same task."""
    screen = walk(
        program,
        ("1 of 4", "d"),
        ("b back", "b"),
        ("1 of 4", "d"),
        ("b back", CTRL_C),
        ("1 of 4", "d"),
        ("4 duplicate", "x4"),
        ("2 of 4", "q"),
    )

    assert screen.end() == 0
    (effect,) = sandbox.world.store.effects
    assert (effect.task_id, effect.reason) == ("t1", "duplicate")


@pytest.mark.parametrize("leave", [CTRL_C, CTRL_D])
def test_ctrl_c_sends_nothing_more(
    program: Program, sandbox: RunningSandbox, leave: str
) -> None:
    """What was not sent yet is not sent, is said, and comes first the next time."""
    screen = walk(program, ("1 of 4", "s"), ("2 of 4", "a"), ("3 of 4", leave))

    assert screen.end() == 0
    assert "Not sent: the answer for t2." in screen.shown
    assert sandbox.world.store.effects == []
    again = walk(program, ("Continuing with t2; 1 older task comes last.", "q"))
    assert again.end() == 0


def test_a_closed_window_sends_nothing_more(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A terminal that goes away, even at the reasons, is no answer."""
    steps = [("1 of 4", "s"), ("2 of 4", "d"), (REASONS, "\r"), ("3 of 4", "d")]
    screen = walk(program, *steps)
    screen.expect(REASONS)
    screen.close()

    assert sandbox.world.store.effects == []
    again = walk(program, ("Continuing with t2", "q"))
    assert again.end() == 0


def test_undo_takes_back_the_last_answer_only(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A skip can be undone too; what was sent cannot, and that is said."""
    screen = walk(
        program,
        ("1 of 4", "u"),
        ("Nothing to undo", "s"),
        ("2 of 4", "u"),
        ("1 of 4", "a"),
        ("2 of 4", "s"),
        ("3 of 4", "u"),
        ("2 of 4", "u"),
        ("Nothing to undo", ""),
        ("2 of 4", "q"),
    )

    assert screen.end() == 0
    assert statuses(sandbox) == ["approved", "pending", "pending", "pending"]


def test_a_review_goes_on_where_it_stopped(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Skipped tasks come last the next time, also after an answer that was sent."""
    first = walk(program, ("1 of 4", "s"), ("2 of 4", "a"), ("3 of 4", "q"))
    first.end()
    again = walk(program, ("1 of 3", "s"), ("2 of 3", "s"), ("3 of 3", "q"))
    again.end()

    assert statuses(sandbox) == ["pending", "approved", "pending", "pending"]
    assert "Continuing with t3; 1 older task comes last." in again.shown
    order = [again.shown.index(f"· {task_id}\r") for task_id in ("t3", "t4", "t1")]
    assert order == sorted(order)


def test_a_review_that_came_to_the_end_begins_anew(
    program: Program, sandbox: RunningSandbox
) -> None:
    """After the last task the last answer is sent, and the next review starts over."""
    keys = [(f"{n} of 4", "s") for n in range(1, 4)]
    whole = walk(program, *keys, ("4 of 4", "a"))

    assert whole.end() == 0
    assert statuses(sandbox)[3] == "approved"
    again = walk(program, ("1 of 3", "q"))
    again.end()
    assert "Going on" not in again.shown
    assert "· t1" in again.shown


def test_what_may_not_be_dismissed_stays(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Protection and vetoes stand above an answer; the review tells and goes on."""
    add(sandbox, [a_listed("t1", "for the board", created_at="2026-01-01T00:00:00Z")])
    program.run("plan")
    program.run("veto", "t2")
    screen = walk(
        program,
        ("1 of 4", "d"),
        (REASONS, "\r"),
        ("2 of 4", "d"),
        (REASONS, "\r"),
        ("3 of 4", "q"),
    )

    assert screen.end() == 4
    assert "t1 is left: protected" in screen.shown
    assert "t2 is left: vetoed" in screen.shown
    assert sandbox.world.store.effects == []


def test_an_answer_goes_to_the_task_that_was_shown(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Once the rules changed the list is asked for again: another text is not meant."""
    screen = walk(program, ("1 of 4", "d"), (REASONS, "\r"))
    screen.expect("2 of 4")
    program.rules.write_text(program.rules.read_text() + "# changed\n")
    add(sandbox, [a_listed("t1", "for the board", created_at="2026-01-01T00:00:00Z")])
    screen.press("s")
    screen.expect("t1 has changed since it was shown")
    screen.expect("3 of 4")
    screen.press("q")

    assert screen.end() == 4
    assert sandbox.world.store.effects == []


def test_an_answer_that_fails_is_told_and_the_review_goes_on(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A refusal or a fault costs that answer, says so, and ends with 4."""
    sandbox.world.faults.add(parse_fault("approve:500:1"))
    sandbox.world.faults.add(parse_fault("dismiss:500-after-effect:1"))
    screen = walk(
        program,
        ("1 of 4", "a"),
        ("2 of 4", "d"),
        (REASONS, "\r"),
        ("3 of 4", "a"),
        ("4 of 4", "q"),
    )

    assert screen.end() == 4
    assert "approve: LeadLex gave no usable answer (HTTP 500)" in screen.shown
    assert "1 unknown" in screen.shown
    assert statuses(sandbox) == ["pending", "dismissed", "approved", "pending"]


def test_nobody_is_asked_about_what_cannot_be_answered(
    program: Program, sandbox: RunningSandbox
) -> None:
    """A task without an id, or dismissed before and still listed, is not shown."""
    add(sandbox, [{"type": "contact_update", "status": "pending"}])
    program.run("dismiss", "t1", "--reason", "testing", "--yes")
    add(sandbox, [a_listed("t1", created_at="2026-01-01T00:00:00Z")])
    screen = walk(program, ("1 of 3", "q"))

    assert screen.end() == 0
    assert "· t2" in screen.shown


def test_a_review_of_nothing_ends_at_once(
    program: Program, sandbox: RunningSandbox
) -> None:
    """Where nothing waits there is nothing to ask."""
    for number in range(1, 5):
        sandbox.world.store.remove(f"t{number}")
    screen = Terminal(program, "review")

    assert screen.end() == 0
    assert "Review: nothing was done." in screen.shown


def test_the_terminal_is_left_as_it_was(
    program: Program, sandbox: RunningSandbox
) -> None:
    """After a review, keys are shown and Ctrl-C is a signal again."""
    add(sandbox, [a_listed("t5")])
    screen = Terminal(program, "review")
    before = screen.modes()
    screen.expect("1 of 5")
    within = screen.modes()
    screen.press("q")
    screen.expect("Review: ")

    assert within != before
    assert screen.modes() == before
    assert screen.end() == 0
