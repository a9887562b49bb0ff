"""Tests of the texts of notifications: their form, and hostile texts in them."""

import os
from collections.abc import Mapping
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders import T0
from tests.notifications import BERLIN, HOSTILE, some_facts
from triaged.notify.message import Message
from triaged.notify.neutral import neutralize, shorten, without_links
from triaged.notify.render import render_alerts, render_digest, render_test
from triaged.triage.alerts import Alert, AlertKind, breaker_alert, key_alert
from triaged.triage.digest import ChangedRule, DigestFacts, TaskLine, build_digest

GOLDEN: Final = Path(__file__).parents[1] / "golden/notify"
PAGE: Final = "https://triaged.example.com"
EMPTY: Final = DigestFacts(
    workspace="acme", since=T0 - timedelta(days=7), until=T0, dry_run=True
)
ALERTS: Final = (
    breaker_alert(T0, "the rules want 30 of 40 pending tasks, more than the share"),
    key_alert(T0 + timedelta(minutes=1)),
    Alert(name="d", kind=AlertKind.DEMOTED, at=T0, rule="old-lists"),
    Alert(name="p", kind=AlertKind.PROMOTED, at=T0, rule="weekend", detail=HOSTILE),
)


def digest(facts: DigestFacts, page_url: str | None = None) -> Message:
    return render_digest(build_digest(facts), at=BERLIN, page_url=page_url)


MESSAGES: Final[Mapping[str, Message]] = {
    "digest": digest(some_facts()),
    "digest-links": digest(some_facts(), PAGE),
    "digest-empty": digest(EMPTY),
    "alerts": render_alerts(ALERTS, workspace="acme", at=BERLIN, page_url=PAGE),
    "alert": render_alerts(ALERTS[2:3], workspace="acme", at=BERLIN, page_url=None),
    "test": render_test(workspace="acme", now=T0, at=BERLIN, page_url=None),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_reads_as_it_was_read_before(name: str) -> None:
    """Each message, as text and as HTML, is what a person last read and liked."""
    message = MESSAGES[name]
    shown = {
        f"{name}.txt": f"Subject: {message.subject}\n\n{message.text}",
        f"{name}.html": message.html,
    }
    if os.environ.get("TRIAGED_UPDATE_GOLDEN") == "1":
        for file, text in shown.items():
            (GOLDEN / file).write_text(text)

    for file, text in shown.items():
        assert (GOLDEN / file).read_text() == text


class Tags(HTMLParser):
    """Collects the tags and the addresses of links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]


OURS: Final = Tags("".join(m.html for m in MESSAGES.values())).tags


def hostile_digest(text: str, page_url: str | None) -> Message:
    """Return a digest with a text in each place that others can fill."""
    key = ("clutter", "testing")
    return digest(
        some_facts(
            dismissed={key: 1},
            examples={key: [TaskLine(text, text)]},
            descriptions={"7a3c0005-aaaa": text},
            changes=[ChangedRule(rule="a", is_promotion=True, at=T0, by=text)],
            problems=[text],
        ),
        page_url,
    )


@given(st.text(max_size=300), st.sampled_from([None, PAGE]))
@example(HOSTILE, PAGE)
@example("\udc80 lone surrogate", PAGE)
@example("x\n\nDismissed: 99\n- forged", None)
@example("</a></li><script>alert(1)</script>", PAGE)
@example("javascript:alert(1)//", PAGE)
def test_no_text_changes_the_form_of_a_message(text: str, page_url: str | None) -> None:
    """No tag, link, mention, line or control character comes from a text."""
    usual, message = hostile_digest("x", page_url), hostile_digest(text, page_url)
    found = Tags(message.html)

    assert found.tags <= OURS
    assert all(link.startswith(PAGE) for link in found.links)
    assert len(message.text.splitlines()) == len(usual.text.splitlines())
    assert message.subject == usual.subject
    for line in (*message.text.splitlines(), *message.html.splitlines()):
        assert line.isprintable()
    ours = "".join(usual.text.split())
    for character in "@<>[]*_~|#\\":
        assert message.text.count(character) == ours.count(character)


@given(st.text(max_size=2_000), st.integers(10, 200))
def test_a_text_is_short_and_on_one_line(text: str, limit: int) -> None:
    """However long, wide or odd it is."""
    line = shorten(text, limit=limit)

    assert len(line) <= limit
    assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "See https://evil.example.com/x.",
            "See https:\u2215\u2215evil\u2024example\u2024com/x.",
        ),
        ("www.evil.com", "www\u2024evil\u2024com"),
        ("Dr. Who at 3.5 km", "Dr. Who at 3\u20245 km"),
        ("nothing to see", "nothing to see"),
    ],
)
def test_no_text_becomes_a_link(text: str, expected: str) -> None:
    """Clients turn what looks like an address into a link; this does not."""
    assert without_links(text) == expected


def test_mentions_and_markup_become_look_alikes() -> None:
    """People still read what the task says; a chat service finds nothing in it."""
    shown = neutralize("@everyone <!here> [x](y) **b** `c` ~s~ #channel")

    assert not set("@<>[]*`~#") & set(shown)
    assert "everyone" in shown
