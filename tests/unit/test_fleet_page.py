"""The page of a fleet: by need for attention, searched and paged by the server."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import T0
from triaged.daemon.fleet_page import (
    FLEET_SECURITY_POLICY,
    ROWS_ON_PAGE,
    FleetQuery,
    FleetRow,
    detail_of,
    fleet_page,
)
from triaged.daemon.health import Health
from triaged.triage.fleet_state import WorkspaceState

STATES = list(WorkspaceState)


def rows(count: int) -> list[FleetRow]:
    """Return workspaces of which every third fails."""
    return [
        FleetRow(
            name=f"w{number:05d}",
            state=WorkspaceState.FAILING if number % 3 == 2 else WorkspaceState.WORKING,
            labels={"region": "eu" if number % 2 else "us"},
            pending=number,
        )
        for number in range(count)
    ]


def page(found: list[FleetRow], query: str = "", *, paused: bool = False) -> str:
    given = dict(part.split("=", 1) for part in query.split("&") if part)
    return fleet_page(
        found, FleetQuery.of(given), now=T0, is_all_paused=paused, dry_run=False
    )


def names(html: str) -> list[str]:
    """Return the workspaces in the table, in its order."""
    parts = html.split('href="/workspaces/')[1:]
    return [part.partition('"')[0] for part in parts]


def test_what_needs_attention_is_first() -> None:
    """Then by name; or all by name, if that is asked for."""
    assert names(page(rows(6))) == [f"w0000{n}" for n in (2, 5, 0, 1, 3, 4)]
    assert names(page(rows(6), "sort=name")) == [f"w0000{n}" for n in range(6)]
    assert names(page(rows(6), "sort=nonsense"))[0] == "w00002"


def test_what_is_wrong_comes_before_what_is_not() -> None:
    """One that goes on although its files are wrong stands before others that work."""
    working = [row for row in rows(6) if row.state is WorkspaceState.WORKING]
    wrong = replace(working[-1], detail="rules.yaml:2:3: unknown key")

    assert names(page([*working[:-1], wrong]))[0] == wrong.name


def test_ten_thousand_are_paged() -> None:
    """A page has a part of the table, links to its neighbours, and says which part."""
    found = rows(10_000)
    first, last = page(found, "sort=name"), page(found, "sort=name&page=200")
    beyond = page(found, "sort=name&page=999999")

    assert len(names(first)) == ROWS_ON_PAGE
    assert "1 to 50 of 10,000" in first
    assert 'rel="next"' in first
    assert 'rel="prev"' not in first
    assert names(last)[-1] == "w09999"
    assert 'rel="next"' not in last
    assert names(beyond) == names(last)
    assert len(first) < 60_000


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("W00003", ["w00003"]),
        ("region=eu", ["w00005", "w00001", "w00003"]),
        ("failing", ["w00002", "w00005"]),
        ("nothing like it", []),
        ("  w00001 ", ["w00001"]),
    ],
)
def test_search(search: str, found: list[str]) -> None:
    """By name, label or state; the search is kept in all links."""
    html = page(rows(6), f"q={search}")

    assert names(html) == found
    assert found or "No workspace matches" in html


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1.5", "²", "9" * 5000])
def test_a_page_that_makes_no_sense_is_the_first(text: str) -> None:
    """Whatever stands in the address, there is a page."""
    assert FleetQuery.of({"page": text}).page == 1


def test_text_from_outside_is_escaped() -> None:
    """A label, a problem or a search cannot become markup; no script is there."""
    bad = FleetRow(
        name="w",
        state=WorkspaceState.UNUSABLE,
        labels={"a": "<b>\x1b[31m"},
        detail="<script>x</script>",
    )
    html = page([bad, replace(bad, name="v")], 'q="><script>')

    assert "<script" not in html + page([bad])
    assert "<b>\x1b" not in page([bad])
    assert "script-src" not in FLEET_SECURITY_POLICY
    assert "default-src 'none'" in FLEET_SECURITY_POLICY


def test_the_stop_of_all_is_told() -> None:
    """A paused fleet says how it goes on."""
    assert "triaged resume --all" in page(rows(2), paused=True)
    assert "triaged resume --all" not in page(rows(2))


def test_what_is_wrong_in_one_line() -> None:
    """The problem of its files before what its cycles found."""
    health = Health(heartbeat_at=0.0, interval=timedelta(minutes=5))

    def detail(state: WorkspaceState, problem: str | None = None) -> str:
        return detail_of(state, health, problem, T0)

    assert detail(WorkspaceState.UNUSABLE, "no key\nmore") == "no key"
    assert detail(WorkspaceState.UNUSABLE, "") == ""
    assert detail(WorkspaceState.STARTING) == ""
    assert detail(WorkspaceState.FAILING) == "no cycle has succeeded yet"
    health.rules_rejected = "rules.yaml:1: x\ny"
    assert "rules.yaml:1: x" in detail(WorkspaceState.WORKING)
