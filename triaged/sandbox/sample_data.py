"""Names, places and phrases of a made-up law firm's workspace, for ``tasks``.

Names are invented or taken from the examples in the LeadLex documentation.
"""

from typing import Final

PEOPLE: Final = (
    "Jane Doe",
    "John Smith",
    "Hans Müller",
    "Zoë O'Connor",
    "José Ángel Nuñez",
    "Søren Kjærgaard",
    "Małgorzata Wiśniewska",
    "François Lefèvre",
    "田中 花子",
    "李 伟",
    "Ayşe Çelik",
    "Priya Raman",
    "Tom Becker",
    'William "Bill" Hargreaves',
)

FIRMS: Final = (
    "Acme Corp",
    "Roche AG",
    "Müller & Söhne GmbH",
    "Brightwater Capital LLP",
    "Nordlicht Pharma",
    "株式会社さくら特許",
    "Société Générale d'Études",
    "Hargreaves, Pike & Co.",
    "Testo Instruments",
    "Boardwalk Hotels",
)

CITIES: Final = (
    "New York",
    "Zürich",
    "München",
    "San Francisco",
    "London",
    "São Paulo",
    "東京",
    "Kraków",
    "Genève",
    "Austin",
)

ROLES: Final = (
    "CEOs",
    "General Counsel",
    "CTOs",
    "Chief Legal Officers",
    "Heads of IP",
    "M&A partners",
    "VPs Legal",
    "founders",
)

SECTORS: Final = (
    "law firms",
    "life-science companies",
    "SaaS companies with 50-200 employees",
    "medical-device makers",
    "private-equity funds",
    "fintech start-ups",
    "testing laboratories",
)

LISTS: Final = (
    "Q1 Leads",
    "Outreach Q2 2026",
    "Warm connections",
    "IP Summit München — attendees",
    "Kanzleien Zürich",
    "Dormant mandates",
)

CAMPAIGNS: Final = (
    "Outreach Q2 2026",
    "legal-automation sequence",
    "Patent box — intro",
    "Q1 Leads follow-up",
    "M&A Breakfast invitation",
)

PROTECTED_TEXTS: Final = (
    "Invite the board of {firm} to the Q3 board dinner in {city}",
    "Update the Board contact list for {firm} before Thursday's meeting",
    "Find general counsel who sit on the board of {sector} in {city}",
)

TEST_TEXTS: Final = (
    "[TEST] merge contacts",
    "[TEST] please ignore — API smoke test {n}",
    "TEST search {n}",
    "[test] {role} in {city}",
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit",
    "lorem ipsum {n}",
    "[TEST] campaign dry run for {person}",
    "TEST: list import {n} rows (do not approve)",
)

LONG_NOTE: Final = (
    "AI summary — Q2 IP audit\n\n"
    "{person} ({firm}) asked for a short list before the next call:\n"
    "  • {n} {role} at {sector} in {city}\n"
    "  • no one we wrote to in the last 90 days\n"
    "  • “warm” introductions first, then cold ones\n\n"
    "Notes from the last meeting: pricing was asked for and has not been sent; the "
    "partner would like to see three alternatives, each with a fixed fee, and a "
    "comparison with last year's mandate. Two of the four action items are still open, "
    "and the follow-up on the proposal was promised for the end of the month."
)
