"""The forms of the page over a real socket: what they record, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import httpx
import pytest
from structlog.testing import capture_logs

from tests.builders import T0, a_task, an_intent
from tests.clocks import ManualClock
from tests.http_probe import HttpProbe, form_fields, serving
from triaged.daemon import page_forms
from triaged.daemon.internal_errors import Where
from triaged.daemon.page_forms import MAX_FORM_BYTES
from triaged.ledger import Ledger
from triaged.ledger.dismissals import Outcome
from triaged.ledger.flags import Flag, FlagName
from triaged.ledger.opening import open_database
from triaged.ledger.vetoes import Veto
from triaged.settings import PageMode

pytestmark = pytest.mark.anyio

TASK: Final = "task/1 <b>\r\né"
NO_RULES: Final = '{"protect": [], "rules": [], "closest_rule": null}'
BY: Final = "127.0.0.1 on the page"


class Visitor:
    """A person with a browser that is at the page."""

    def __init__(self, probe: HttpProbe, clock: ManualClock) -> None:
        self.probe = probe
        self.ledger = probe.daemon.workspace.ledger
        self.clock = clock
        self.origin = f"http://127.0.0.1:{probe.port}"

    async def form(self) -> dict[str, str]:
        """Return the fields of the page's form that pauses."""
        return form_fields((await self.probe.ask("GET", "/")).text, "/pause")

    async def send(
        self, path: str, fields: dict[str, str] | bytes, **headers: str | bytes | None
    ) -> httpx.Response:
        """Send a form as a browser does; a header of None is left out."""
        given = {
            "origin": self.origin,
            "sec-fetch-site": "same-origin",
            "content-type": "application/x-www-form-urlencoded",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        async with httpx.AsyncClient(base_url=self.origin) as http:
            return await http.post(
                path,
                content=body,
                headers=httpx.Headers(
                    [
                        (name.encode(), v if isinstance(v, bytes) else v.encode())
                        for name, v in given.items()
                        if v is not None
                    ]
                ),
            )

    def is_untouched(self) -> bool:
        """Say whether nothing was vetoed or paused."""
        paused = self.ledger.flags.get(FlagName.PAUSED)
        return paused is None and not self.ledger.vetoes.all()


def know(ledger: Ledger, task_id: str = TASK) -> None:
    """Record a dismissal whose outcome is not known, so that the task has a page."""
    task = a_task(id=task_id, description="<i>Find</i> CEOs")
    ledger.dismissals.record_intent(an_intent(task=task, trace=NO_RULES))


@pytest.fixture
async def visitor(tmp_path: Path) -> AsyncIterator[Visitor]:
    clock = ManualClock()
    async with serving(tmp_path, clock=clock) as probe:
        yield Visitor(probe, clock)


async def test_pause(visitor: Visitor) -> None:
    """The button pauses, says who and when, and leads back to a page that shows it."""
    fields = await visitor.form()
    with capture_logs() as logs:
        answer = await visitor.send("/pause", fields)
    page = (await visitor.probe.ask("GET", "/")).text

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert visitor.ledger.flags.get(FlagName.PAUSED) == Flag(T0, "", BY)
    assert f"paused at 2026-03-01 00:00 UTC by {BY}" in page
    assert 'action="/pause"' not in page
    assert [log["event"] for log in logs] == ["dismissing.paused"]
    assert logs[0]["by"] == BY


async def test_an_earlier_pause_keeps_its_author_and_note(visitor: Visitor) -> None:
    """Who pauses what is paused already changes nothing, and is not logged."""
    fields = await visitor.form()
    visitor.ledger.flags.set(FlagName.PAUSED, reason="audit", by="lex", at=T0)
    visitor.clock.advance(timedelta(hours=1))
    with capture_logs() as logs:
        answer = await visitor.send("/pause", fields)

    assert answer.status_code == 303
    assert visitor.ledger.flags.get(FlagName.PAUSED) == Flag(T0, "audit", "lex")
    assert logs == []


async def test_keep(visitor: Visitor) -> None:
    """The button on a task's page vetoes it, whatever its id, and the pages show it."""
    know(visitor.ledger)
    path = "/tasks/task%2F1%20%3Cb%3E%0D%0A%C3%A9"
    page = (await visitor.probe.ask("GET", path)).text
    with capture_logs() as logs:
        answer = await visitor.send("/veto", form_fields(page, "/veto"))

    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert visitor.ledger.vetoes.all() == [Veto(TASK, T0, BY)]
    assert [log["event"] for log in logs] == ["task.vetoed"]
    shown = (await visitor.probe.ask("GET", path)).text
    assert f"since 2026-03-01 00:00:00 UTC by {BY}" in shown
    assert 'action="/veto"' not in shown
    visitor.clock.advance(timedelta(seconds=2))
    page = (await visitor.probe.ask("GET", "/")).text
    assert "Kept by people" in page
    assert BY in page


async def test_a_dismissed_task_cannot_be_kept(visitor: Visitor) -> None:
    """The page of a task that is gone offers nothing that would not help."""
    entry = visitor.ledger.dismissals.record_intent(an_intent("gone", trace=NO_RULES))
    visitor.ledger.dismissals.record_outcome(entry, Outcome.CONFIRMED, at=T0)
    page = (await visitor.probe.ask("GET", "/tasks/gone")).text

    assert 'action="/veto"' not in page
    assert 'action="/pause"' in page


async def test_an_unknown_task_is_not_kept(visitor: Visitor) -> None:
    """A client cannot fill the ledger with ids, nor keep a task by a prefix."""
    know(visitor.ledger, "task-one")
    token = (await visitor.form())["token"]
    answers = [
        await visitor.send("/veto", {"token": token, "task": task_id})
        for task_id in ("task-two", "task-on", "task-one%00")
    ]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert visitor.is_untouched()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example", "sec_fetch_site": "cross-site"}, 403),
        ({"origin": "https://evil.example", "sec_fetch_site": None}, 403),
        ({"origin": "http://127.0.0.1:1", "sec_fetch_site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": None}, 403),
        ({"origin": None, "sec_fetch_site": None}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 400),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "multipart/form-data; boundary=x"}, 415),
        ({"content_type": None}, 415),
    ],
)
async def test_a_foreign_request_is_refused(
    visitor: Visitor, headers: dict[str, str | None], status: int
) -> None:
    """Even with the right token, another site, name or kind of request does nothing."""
    know(visitor.ledger, "task-one")
    token = (await visitor.form())["token"]
    for path in ("/pause", "/veto"):
        fields = {"token": token, "task": "task-one"}
        answer = await visitor.send(path, fields, **headers)

        assert answer.status_code == status
    assert visitor.is_untouched()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 403),
        (b"token=", 403),
        (b"token=guess", 403),
        (b"token=%C3%A9", 403),
        (b"task=task-one", 403),
        (b"token={token}&token={token}", 400),
        (b"token={token}&task=a&more=b", 400),
        (b"token={token}&task=%FF", 400),
        (b"token", 400),
        (b"\xff\xfe", 400),
        (b"token={token}", 400),
        (b"token={token}&task=", 400),
        (b"token={token}&task=%25FF", 400),
    ],
)
async def test_a_wrong_form_is_refused(
    visitor: Visitor, body: bytes, status: int
) -> None:
    """A form without its token, or that is not the page's, does nothing."""
    token = (await visitor.form())["token"].encode()
    answer = await visitor.send("/veto", body.replace(b"{token}", token))

    assert answer.status_code == status
    assert visitor.is_untouched()


async def test_a_token_is_of_one_process(tmp_path: Path, visitor: Visitor) -> None:
    """After a restart the form of an older page is refused, and the answer says why."""
    token = (await visitor.form())["token"]
    async with serving(tmp_path / "next") as probe:
        later = Visitor(probe, ManualClock())
        answer = await later.send("/pause", {"token": token})

        assert answer.status_code == 403
        assert "reload it" in answer.text
        assert later.is_untouched()


async def test_a_large_form_is_refused(visitor: Visitor) -> None:
    """A body is read up to a limit, announced or not."""
    token = (await visitor.form())["token"]
    just = urlencode({"token": token, "task": "x"}).encode()
    just += b"x" * (MAX_FORM_BYTES - len(just))

    assert (await visitor.send("/veto", just)).status_code == 404
    assert (await visitor.send("/veto", just + b"x")).status_code == 413


async def test_a_client_that_leaves_costs_nothing(visitor: Visitor) -> None:
    """A request that ends before its body is neither an error nor a pause."""
    token = (await visitor.form())["token"]
    words = (
        "POST /pause HTTP/1.1\r\nHost: localhost\r\n"
        f"Origin: http://localhost\r\nContent-Length: 99\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken={token}"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", visitor.probe.port)
    writer.write(words.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    alive = await visitor.probe.ask("GET", "/healthz")

    assert alive.status_code == 200
    assert visitor.is_untouched()
    assert visitor.probe.daemon.errors.counts()[Where.PAGE] == 0


async def test_too_many_forms_are_refused(visitor: Visitor) -> None:
    """A few a second are read; the others wait, and the page is still shown."""
    statuses = [
        (await visitor.send("/pause", {"token": "guess"})).status_code for _ in range(8)
    ]

    assert statuses == [403] * 5 + [429] * 3
    assert (await visitor.probe.ask("GET", "/")).status_code == 200
    fields = await visitor.form()
    assert (await visitor.send("/pause", fields)).headers["retry-after"] == "5"
    visitor.clock.advance(timedelta(seconds=5))
    assert (await visitor.send("/pause", fields)).status_code == 303


@pytest.mark.parametrize("path", ["/pause", "/veto"])
async def test_reading_changes_nothing(visitor: Visitor, path: str) -> None:
    """No other method than POST reaches a form; no other path takes a POST."""
    know(visitor.ledger, "task-one")
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        answer = await visitor.probe.ask(method, f"{path}?task=task-one")

        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    for other in ("/", "/tasks/task-one", "/metrics"):
        assert (await visitor.send(other, await visitor.form())).status_code == 405
    assert visitor.is_untouched()


async def test_a_busy_ledger_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process writes, the answer says that nothing was recorded."""
    monkeypatch.setattr(page_forms, "LEDGER_SECONDS", 0.1)
    async with serving(tmp_path) as probe:
        visitor = Visitor(probe, ManualClock())
        fields = await visitor.form()
        with closing(open_database(Path(visitor.ledger.location).parent)) as other:
            with other.transaction("default"):
                answer = await visitor.send("/pause", fields)
            later = await visitor.send("/pause", fields)

    assert answer.status_code == 503
    assert "nothing was recorded" in answer.text
    assert later.status_code == 303


def _move_away(path: Path) -> None:
    path.rename(path.with_suffix(".away"))


async def test_a_lost_ledger_is_an_error(visitor: Visitor) -> None:
    """What cannot be recorded is never answered as if it were."""
    fields = await visitor.form()
    _move_away(Path(visitor.ledger.location))
    answer = await visitor.send("/pause", fields)

    assert answer.status_code == 500
    assert visitor.probe.daemon.errors.counts()[Where.PAGE] == 1


async def test_who_comes_from_the_proxys_header(tmp_path: Path) -> None:
    """A proxy on loopback names the person, in UTF-8; the text is only text."""
    async with serving(tmp_path, page_user_header="X-Remote-User") as probe:
        visitor = Visitor(probe, ManualClock())
        name = "Müller <b>\x7f".encode()
        fields = await visitor.form()
        await visitor.send("/pause", fields, x_remote_user=name)
        page = (await probe.ask("GET", "/")).text

        flag = visitor.ledger.flags.get(FlagName.PAUSED)
        assert flag == Flag(T0, "", "Müller <b>\\x7f on the page")
        assert "by Müller &lt;b&gt;" in page


async def test_nobody_chooses_an_address(visitor: Visitor) -> None:
    """Headers of proxies that were not asked for do not change who it was."""
    fields = await visitor.form()
    await visitor.send(
        "/pause", fields, x_forwarded_for="10.9.9.9", x_remote_user="root"
    )

    assert visitor.ledger.flags.get(FlagName.PAUSED) == Flag(T0, "", BY)


async def test_a_page_that_only_reads(tmp_path: Path) -> None:
    """With `read` there is no form, no path for one, and the policy allows none."""
    async with serving(tmp_path, page=PageMode.READ) as probe:
        know(probe.daemon.workspace.ledger, "task-one")
        answers = [await probe.ask("GET", path) for path in ("/", "/tasks/task-one")]
        posted = [await probe.ask("POST", path) for path in ("/pause", "/veto")]

    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert "<form" not in answer.text
        assert "form-action 'none'" in answer.headers["content-security-policy"]
    assert [answer.status_code for answer in posted] == [404, 404]


async def test_a_page_that_keeps(visitor: Visitor) -> None:
    """With `keep` the policy allows forms to this server only."""
    policy = (await visitor.probe.ask("GET", "/")).headers["content-security-policy"]

    assert "form-action 'self'" in policy
    assert "default-src 'none'" in policy


async def test_no_page(tmp_path: Path) -> None:
    """With `off` there is neither page nor form; metrics and health remain."""
    async with serving(tmp_path, page=PageMode.OFF) as probe:
        paths = ("/", "/tasks/x", "/style.css", "/pause", "/veto")
        gone = [await probe.ask("GET", path) for path in paths]
        there = [await probe.ask("GET", path) for path in ("/metrics", "/healthz")]

    assert [answer.status_code for answer in gone] == [404] * len(paths)
    assert [answer.status_code for answer in there] == [200, 200]
