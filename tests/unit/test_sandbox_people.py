"""Simulated people: tasks arrive and are settled as a policy says, in time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tests.builders import T0, a_task
from triaged.rules.task import Task
from triaged.sandbox.people import People, PeopleSettings
from triaged.sandbox.store import PERSON, Store

DELAY = timedelta(hours=8)


def by_text(tasks: Sequence[Task], _: datetime) -> Mapping[str, str]:
    """Dismiss tests, approve the rest, and leave what nobody understands."""
    return {
        task.id: "dismissed" if "TEST" in (task.description or "") else "approved"
        for task in tasks
        if task.id and task.description
    }


def some_people(store: Store, **changes: object) -> People:
    settings = PeopleSettings(policy=by_text, delay=DELAY, **changes)  # type: ignore[arg-type]
    return People(settings, store, seed=1, now=T0)


def a_store(*descriptions: str) -> Store:
    tasks = [
        dict(a_task(id=f"t{number}", description=text).raw)
        for number, text in enumerate(descriptions)
    ]
    return Store(tasks)


def test_people_take_their_time() -> None:
    """Nothing is settled at once, everything within seven quarters of the delay."""
    store = a_store("TEST 1", "Find 20 CEOs", "")
    people = some_people(store)
    people.catch_up(T0)
    at_once = list(store.effects)
    people.catch_up(T0 + DELAY * 1.75)
    done = {effect.task_id: (effect.status, effect.by) for effect in store.effects}

    assert at_once == []
    assert done == {"t0": ("dismissed", PERSON), "t1": ("approved", PERSON)}
    for effect in store.effects:
        assert DELAY * 0.25 <= effect.at - T0 <= DELAY * 1.75


def test_looking_more_often_changes_nothing() -> None:
    """The same decisions at the same times, however often somebody asks."""
    seldom, often = a_store(*["TEST"] * 9), a_store(*["TEST"] * 9)
    one, other = some_people(seldom), some_people(often)
    one.catch_up(T0)
    for minute in range(0, 15 * 60, 7):
        other.catch_up(T0 + timedelta(minutes=minute))
    one.catch_up(T0 + timedelta(hours=15))
    other.catch_up(T0 + timedelta(hours=15))

    expected = {(effect.task_id, effect.at) for effect in seldom.effects}
    assert len(expected) == 9
    assert {(effect.task_id, effect.at) for effect in often.effects} == expected


def test_people_err_as_often_as_said() -> None:
    """About such a share of the decisions is the contrary of the policy."""
    store = a_store(*["TEST"] * 400)
    people = some_people(store, error_rate=0.1)
    people.catch_up(T0)
    people.catch_up(T0 + timedelta(days=1))
    counted = Counter(effect.status for effect in store.effects)

    assert counted.total() == 400
    assert 20 < counted["approved"] < 60


def test_tasks_arrive_over_the_day() -> None:
    """So many a day, evenly, each created when it arrives."""
    store = Store()
    people = some_people(store, arrivals_per_day=24)
    people.catch_up(T0 + timedelta(hours=6))
    after_six_hours = sum(store.counts().values())
    people.catch_up(T0 + timedelta(days=3))

    assert after_six_hours == 6
    assert sum(store.counts().values()) == 72
    assert len({effect.task_id for effect in store.effects}) == len(store.effects)
