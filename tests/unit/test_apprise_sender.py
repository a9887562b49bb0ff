"""Tests of sending through Apprise, to a server on loopback that the test starts."""

import io
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.notifications import HOSTILE
from tests.webhook_server import WebhookServer, webhook_server
from triaged.errors import ConfigError
from triaged.notify.apprise_sender import AppriseSender, classify_failure
from triaged.notify.message import Delivery, Message, Receipt

SECRET: Final = "s3cr3t-token"  # noqa: S105 - of no service
MESSAGE: Final = Message(subject="triaged acme: 1 dismissed", text="t", html="<p>h</p>")


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with webhook_server(f"/{SECRET}") as running:
        yield running


def sender_for(directory: Path, *lines: str, mode: int = 0o600) -> AppriseSender:
    file = directory / "urls"
    file.write_text("\n".join(lines))
    file.chmod(mode)
    return AppriseSender(file)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def receipts(deliveries: list[Delivery]) -> list[tuple[int, str, str]]:
    return [(each.line, each.receipt, each.problem) for each in deliveries]


def test_a_message_arrives_as_it_was_written(
    tmp_path: Path, server: WebhookServer
) -> None:
    """Subject and plain text, one request a destination; comments are skipped."""
    sender = sender_for(tmp_path, "# ours", "", f"  {server.url}  ", f"{server.url}/b")
    message = Message(subject="s", text=f"{HOSTILE}\n- {{x}} :smile: \\n", html="<b>")
    deliveries = list(sender.send(message))

    assert receipts(deliveries) == [(3, "sent", ""), (4, "sent", "")]
    assert [body["title"] for body in server.received] == ["s", "s"]
    assert server.received[0]["message"].strip() == message.text.strip()


def test_what_was_skipped_gets_nothing(tmp_path: Path, server: WebhookServer) -> None:
    """A retry goes only to those destinations that lack the message."""
    sender = sender_for(tmp_path, server.url, f"{server.url}/503")
    first = list(sender.send(MESSAGE))
    again = list(sender.send(MESSAGE, skip=frozenset({first[0].key})))

    assert receipts(first) == [(1, "sent", ""), (2, "failed", "answered 503")]
    assert receipts(again) == [(2, "failed", "answered 503")]
    assert len(server.received) == 3


def test_a_redirect_is_not_followed(tmp_path: Path, server: WebhookServer) -> None:
    """The message, and secrets with it, go nowhere else."""
    deliveries = list(sender_for(tmp_path, f"{server.url}/302").send(MESSAGE))

    assert receipts(deliveries) == [(1, "failed", "answered 302")]
    assert len(server.received) == 1


def test_nobody_there_is_a_definite_failure(tmp_path: Path) -> None:
    """Without a connection nothing has arrived."""
    sender = sender_for(tmp_path, f"json://127.0.0.1:{unused_port()}/{SECRET}")

    assert receipts(list(sender.send(MESSAGE))) == [(1, "failed", "no connection")]


def test_an_answer_that_does_not_come_proves_nothing(tmp_path: Path) -> None:
    """The message may have been delivered, so it is not sent again."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        sender = sender_for(tmp_path, f"json://127.0.0.1:{port}/{SECRET}?rto=0.2")
        deliveries = list(sender.send(MESSAGE))

    assert receipts(deliveries) == [(1, "unknown", "no usable answer")]


@pytest.mark.parametrize(
    ("record", "receipt", "problem"),
    [
        ("Failed to send X notification: Not Found, error=404.", "failed", "404"),
        ("Failed to send X notification: error=504.", "unknown", "504"),
        ("Socket Exception: (535, b'bad credentials')", "failed", "535"),
        ("Socket Exception: Name or service not known", "failed", "no connection"),
        ("Socket Exception: timed out", "unknown", "no usable answer"),
        ("Socket Exception: ('Connection aborted.', ...)", "unknown", "no usable"),
        ("", "unknown", "no usable answer"),
    ],
)
def test_only_certain_failures_are_definite(
    record: str, receipt: str, problem: str
) -> None:
    """Whatever is not recognized may have arrived."""
    found, why = classify_failure([record])

    assert found == receipt
    assert problem in why
    assert classify_failure(["Sent Email to lex", record])[0] is Receipt.UNKNOWN


@pytest.mark.parametrize(
    ("lines", "mode", "expected"),
    [
        ([f"json://h/{SECRET}"], 0o644, "chmod 600"),
        ([f"json://h/{SECRET}"], 0o640, "chmod 600"),
        ([], 0o600, "holds 0 notification URLs"),
        (["# only a comment"], 0o600, "holds 0 notification URLs"),
        ([f"json://h/{n}" for n in range(51)], 0o600, "holds 51"),
        (
            ["json://h/", f"nosuch://{SECRET}", SECRET],
            0o600,
            "lines 2, 3: not a notification URL",
        ),
        (["json://h/" + "x" * 70_000], 0o600, "longer than 64 KiB"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    tmp_path: Path, lines: list[str], mode: int, expected: str
) -> None:
    """The message names the file and the line, and never a URL."""
    sender = sender_for(tmp_path, *lines, mode=mode)
    with pytest.raises(ConfigError) as raised:
        sender.check()

    assert expected in str(raised.value)
    assert str(tmp_path / "urls") in str(raised.value)
    assert SECRET not in str(raised.value)
    assert raised.value.problems[0].path == "TRIAGED_NOTIFY_FILE"


def test_a_file_that_is_no_text_or_is_missing_is_refused(tmp_path: Path) -> None:
    """The reason is named, and nothing of the content."""
    file = tmp_path / "urls"
    with pytest.raises(ConfigError, match="No such file"):
        AppriseSender(file).check()
    file.write_bytes(b"json://h/\xff" + SECRET.encode())
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="not UTF-8") as raised:
        AppriseSender(file).check()

    assert raised.value.__cause__ is None


def test_the_package_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra the message says what to install."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match=r"install triaged\[notify\]"):
        sender_for(tmp_path, "json://h/").check()


def test_no_secret_reaches_a_log_or_a_receipt(
    tmp_path: Path,
    server: WebhookServer,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever fails, and however talkative logging is."""
    root, log = logging.getLogger(), io.StringIO()
    handler, level = logging.StreamHandler(log), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    port = unused_port()
    lines = (
        f"{server.url}/500",
        f"json://lex:{SECRET}@127.0.0.1:{port}/",
        f"mailto://lex:{SECRET}@127.0.0.1:{port}/?to=a@example.com&name={SECRET}",
        f"slack://T{SECRET}/B1JKLMNOP/{SECRET}x{SECRET}",
        f"json://[::1/{SECRET}",
        f"json://{SECRET}.invalid/",
    )
    said = ""
    for line in lines:
        try:
            said += str(sender_for(tmp_path, line).send(MESSAGE)[0].problem)
        except ConfigError as error:
            said += str(error)
    root.removeHandler(handler)
    root.setLevel(level)
    written = capfd.readouterr()

    assert SECRET not in said + log.getvalue() + written.out + written.err
    assert SECRET not in repr(sender_for(tmp_path, server.url).send(MESSAGE))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_root_may_be_readable_for_our_group(tmp_path: Path) -> None:
    """As systemd and Kubernetes provide it; the same code checks a key file."""
    sender = sender_for(tmp_path, "json://127.0.0.1/", mode=0o440)
    os.chown(tmp_path / "urls", 12_345, 12_345)

    sender.check()
