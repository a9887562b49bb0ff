"""What may happen to a workspace, in any order, and what must be true after each step.

Hypothesis draws the steps; ``comparison`` does them to product and model alike.
"""

from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from fractions import Fraction
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.reliability.comparison import NOT_SENT, ModelComparison
from tests.reliability.model import BREAKER_MIN
from tests.reliability.model_rules import (
    REASONS,
    WORDS,
    RuleSpec,
    Spec,
)
from tests.reliability.model_server import CRASHES, OUTCOMES, ServerLimits
from tests.reliability.strategies import ages, server_limits, specs, texts
from triaged.ledger.dismissals import DismissalFilter

# Enough that a share of them opens the breaker.
CROWD: Final = 23
MOST_TASKS: Final = 150
# What a neighbour leaves to the server: it is we who must stop, not be refused.
LEFT_OVER: Final = 5
RETENTION: Final = timedelta(days=2)
# SimulatedUsers midnight our day begins some seconds after the server's.
CLOCKS_APART: Final = timedelta(minutes=2)


class ProductStateMachine(RuleBasedStateMachine):
    """One workspace, lived through twice."""

    counted: ClassVar[Counter[str]] = Counter()

    @initialize(spec=specs(), plan=server_limits)
    def begin(self, spec: Spec, plan: ServerLimits) -> None:
        self.comparison = ModelComparison(spec, plan)
        self.made = 0
        self.pruned = False

    # --- what people and others do --------------------------------------------------

    @rule(text=texts, age=ages, count=st.sampled_from([1, 2, 4]))
    def new_tasks(self, text: str, age: int | None, count: int) -> None:
        for _ in range(count):
            self._make(f"{text} {self.made}", age)

    @rule(text=st.sampled_from(WORDS), age=st.sampled_from([180, 4320]))
    def many_tasks(self, text: str, age: int) -> None:
        for _ in range(CROWD):
            self._make(f"{text} {self.made}", age)

    @rule(beyond=st.sampled_from([0, 1]))
    def edge_of_the_breaker(self, beyond: int) -> None:
        """Make the tasks that rules want just the share that is allowed, or more."""
        seen, model = self.comparison.server.pending(), self.comparison.model
        wanted = model.wanted(seen)
        most = int(wanted / Fraction(model.spec.share)) - beyond
        if wanted > BREAKER_MIN:
            for _ in range(len(seen), min(most, MOST_TASKS)):
                self._make(f"call {self.made}", 180)
        self.comparison.cycle()

    @rule(age=ages, data=st.data(), loud=st.booleans())
    def copied_task(self, age: int | None, data: st.DataObject, loud: bool) -> None:
        if task := self._pick(data):
            text = str(task["description"])
            self._make(f" {text.upper()}  " if loud else text, age)

    @rule(text=texts, data=st.data())
    def changed_text(self, text: str, data: st.DataObject) -> None:
        if task := self._pick(data):
            task["description"] = f"{text} {task['id']}"

    @rule(data=st.data(), hours=st.sampled_from([1, 24]))
    def changed_text_and_back(self, data: st.DataObject, hours: int) -> None:
        held = {task_id for task_id, _ in self.comparison.model.holding}
        if task := self._pick(data, first=held):
            before = task["description"]
            task["description"] = f"call {task['id']}"
            self.comparison.cycle()
            task["description"] = before
            self.comparison.clock.advance(hours * 3600)
            self.comparison.cycle()

    @rule(data=st.data(), status=st.sampled_from(["approved", "dismissed"]))
    def person_settles(self, data: st.DataObject, status: str) -> None:
        # Most of all what we have tried and do not know of.
        unknown = {line.task_id for line in self.comparison.model.open_lines()}
        if task := self._pick(data, first=unknown):
            task["status"] = status

    @rule(data=st.data())
    def vetoed(self, data: st.DataObject) -> None:
        if task := self._pick(data):
            comparison = self.comparison
            comparison.parts.ledger.vetoes.add(task["id"], at=comparison.clock.now())
            comparison.model.vetoed.add(task["id"])

    @precondition(lambda self: self.comparison.model.vetoed)
    @rule(data=st.data())
    def veto_lifted(self, data: st.DataObject) -> None:
        vetoed = self.comparison.model.vetoed
        task_id = data.draw(st.sampled_from(sorted(vetoed)))
        self.comparison.parts.ledger.vetoes.remove(task_id)
        vetoed.remove(task_id)

    @rule()
    def paused_and_resumed(self) -> None:
        self.comparison.cycle_while_paused()

    @rule(spec=specs())
    def other_rules(self, spec: Spec) -> None:
        self.comparison.follow(spec)

    @rule(minutes=st.sampled_from([1, 10, 60, 6 * 60, 25 * 60]))
    def time_passes(self, minutes: int) -> None:
        self.comparison.clock.advance(minutes * 60)

    @rule(calls=st.sampled_from([1, 3, 20]), ours=st.booleans())
    def others_call(self, calls: int, ours: bool) -> None:
        if ours:
            self.comparison.other_process_calls()
            return
        server = self.comparison.server
        room = max(server.remaining - LEFT_OVER, 0)
        server.neighbours[server.day] += min(calls, room)

    # --- what the product does ------------------------------------------------------

    @rule(
        minutes=st.sampled_from([0, 10, 60, 24 * 60]),
        dry_run=st.sampled_from([False, False, False, False, True]),
    )
    def cycle(self, minutes: int, dry_run: bool) -> None:
        self.comparison.clock.advance(minutes * 60)
        self.comparison.cycle(dry_run=dry_run)

    @rule(
        text=st.sampled_from(WORDS),
        faults=st.lists(st.sampled_from(sorted(OUTCOMES)), min_size=1, max_size=3),
        then=st.sampled_from(["", "approved", "dismissed"]),
        by_command=st.sampled_from([False, False, True]),
    )
    def faulty_dismissals(
        self, text: str, faults: list[str], then: str, by_command: bool
    ) -> None:
        server = self.comparison.server
        for _ in range(3):
            self._make(f"{text} {self.made}", 4320)
        for number, task in enumerate(server.pending()):
            server.faults[task.id] = faults[number % len(faults)]
        self.comparison.command() if by_command else self.comparison.cycle()
        # People are quick where we do not know.
        for line in self.comparison.model.open_lines():
            if then and server.tasks[line.task_id]["status"] == "pending":
                server.tasks[line.task_id]["status"] = then

    @rule(
        fault=st.sampled_from(
            ["drop-before-effect", "5xx", "429", "unreachable", "401"]
        ),
        status=st.sampled_from(["pending", "dismissed"]),
    )
    def cycle_without_a_list(self, fault: str, status: str) -> None:
        self.comparison.server.list_faults[status] = fault
        self.comparison.cycle()

    @rule(text=st.sampled_from(WORDS), fault=st.sampled_from(["5xx", "429", "401"]))
    def unknown_for_longer(self, text: str, fault: str) -> None:
        """Let dismissals stay unknown while others wait; they still count as spent."""
        server = self.comparison.server
        self.comparison.follow(Spec(rules=(RuleSpec(on=text, cap=2),)))
        for faults in ("drop-after-effect", ""):
            for _ in range(3):
                self._make(f"{text} {self.made}", 4320)
            server.faults = dict.fromkeys((t.id for t in server.pending()), faults)
            server.list_faults["dismissed"] = fault
            self.comparison.cycle()

    @rule(
        text=st.sampled_from(WORDS),
        nth=st.sampled_from([1, 2, 9]),
        fault=st.sampled_from(sorted(CRASHES)),
    )
    def crash(self, text: str, nth: int, fault: str) -> None:
        for _ in range(nth):
            self._make(f"{text} {self.made}", 4320)
        self.comparison.server.crash = nth, fault
        self.comparison.cycle()

    @rule(data=st.data(), faulty=st.booleans())
    def by_hand(self, data: st.DataObject, faulty: bool) -> None:
        if task := self._pick(data):
            if faulty:
                self.comparison.server.faults[task["id"]] = "drop-after-effect"
            self.comparison.command([task["id"]])

    @rule()
    def applied(self) -> None:
        self.comparison.command()

    @rule()
    def restart(self) -> None:
        self.comparison.restart()

    @rule()
    def pruned_ledger(self) -> None:
        before = self.comparison.clock.now() - RETENTION
        self.comparison.parts.ledger.prune(before=before)
        self.comparison.model.prune(before)
        self.pruned = True

    # --- what must be true ----------------------------------------------------------

    @invariant()
    def nothing_forbidden_was_asked(self) -> None:
        assert self.comparison.server.broken == []

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        found, book = (
            self.comparison.beside.dismissals.query(DismissalFilter()),
            self.comparison.model.book,
        )
        ledger = self.comparison.beside

        recorded = {
            entry.id: (entry.task_id, entry.rule, entry.outcome)
            for entry in found
            if not (entry.detail or "").startswith(NOT_SENT)
        }
        expected = {
            key: (line.task_id, line.rule, line.outcome) for key, line in book.items()
        }
        assert recorded == expected
        attempts = {
            name: n for (name, _), n in ledger.counters.values("attempts").items()
        }
        assert attempts == dict(self.comparison.model.attempts)
        assert ledger.counters.values("dismissals") == dict(
            self.comparison.model.confirmed
        )
        assert ledger.vetoes.task_ids() == self.comparison.model.vetoed

    @invariant()
    def every_dismissal_is_in_the_book_once(self) -> None:
        effects, book = (
            self.comparison.server.effects,
            self.comparison.model.book.values(),
        )
        confirmed = Counter(x.task_id for x in book if x.outcome == "confirmed")
        kept = {x.task_id for x in book if x.is_spent}

        assert set(effects.values()) <= {1}
        assert set(confirmed.values()) <= {1}
        assert set(effects) - self.comparison.model.pruned <= kept

    @invariant()
    def observed_tasks_are_counted_once(self) -> None:
        if self.pruned:
            # What was pruned is observed again.
            return
        seen = {
            (o.task_id, o.rule) for o in self.comparison.beside.feedback.observations()
        }
        model, totals = (
            self.comparison.model,
            self.comparison.beside.counters.values("observed"),
        )

        assert model.observed <= seen <= model.observed | model.perhaps
        assert totals == Counter((name, REASONS[name[3:]]) for _, name in seen)

    @invariant()
    def the_quota_counts_each_call(self) -> None:
        server, rate_limiter = (
            self.comparison.server,
            self.comparison.parts.rate_limiter,
        )
        if self.comparison.clock.now() - server.day > CLOCKS_APART:
            ours = server.ours[server.day]
            spent = rate_limiter.snapshot().used_today

            assert ours <= spent <= ours + self.comparison.ghosts()

    def teardown(self) -> None:
        if hasattr(self, "comparison"):
            ProductStateMachine.counted += self.comparison.counted
            self.comparison.close()

    def _make(self, text: str, age: int | None) -> None:
        self.made += 1
        now = self.comparison.clock.now()
        created = None if age is None else now - timedelta(minutes=age)
        self.comparison.server.add(f"t{self.made:04}", text, created)

    def _pick(
        self, data: st.DataObject, *, first: Collection[str] = ()
    ) -> dict[str, Any] | None:
        """Draw a pending task, one of the first where any of them is pending."""
        tasks = self.comparison.server.tasks.values()
        pending = [task for task in tasks if task["status"] == "pending"]
        chosen = [task for task in pending if task["id"] in first] or pending
        return data.draw(st.sampled_from(chosen)) if chosen else None
