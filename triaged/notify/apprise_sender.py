"""Sends messages through Apprise, to the URLs of a private file.

Such URLs contain passwords and tokens, and Apprise's own log and errors contain URLs.
So only the line and the kind of service of a destination are ever shown, and what went
wrong in words of our own.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from triaged.errors import ConfigError, os_reason
from triaged.leadlex.api_key import read_private
from triaged.notify.message import Delivery, Message, Receipt

if TYPE_CHECKING:
    from types import ModuleType

VARIABLE: Final = "TRIAGED_NOTIFY_FILE"

_MAX_FILE_BYTES: Final = 64 * 1024
_MAX_DESTINATIONS: Final = 50
# Only services for mail take as long an HTML message; chat services know a few tags.
_MAIL_LENGTH: Final = 32_768
_LOGGERS: Final = ("apprise", "requests", "urllib3")

_STATUS: Final = re.compile(r"\berror[=:] ?([1-5][0-9]{2})\b")
_SMTP_STATUS: Final = re.compile(r"Socket Exception: \(([45][0-9]{2}), ")
# A gateway that gives up may already have passed the message on.
_UNCERTAIN_STATUS: Final = frozenset({"502", "504"})
# Errors before anything was sent.
_NOT_CONNECTED: Final = (
    "CERTIFICATE_VERIFY_FAILED",
    "Connection refused",
    "ConnectTimeoutError",
    "NameResolutionError",
    "NewConnectionError",
    "Name or service not known",
    "Network is unreachable",
    "No address associated with hostname",
    "No route to host",
    "Temporary failure in name resolution",
)


@dataclass(frozen=True, slots=True)
class _Destination:
    line: int
    url: str

    @property
    def key(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()


class AppriseSender:
    """Sends to the URLs of a file, which is read again for each message."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def check(self) -> None:
        for _ in self._services():
            pass

    def send(
        self, message: Message, *, skip: frozenset[str] = frozenset()
    ) -> Sequence[Delivery]:
        services = list(self._services())
        return [
            _send_to(destination, service, message)
            for destination, service in services
            if destination.key not in skip
        ]

    def _services(self) -> Iterator[tuple[_Destination, Any]]:
        apprise = _load_apprise()
        asset = apprise.AppriseAsset(
            app_id="triaged",
            app_desc="triaged",
            # Icons would be fetched from another host by whoever reads the message.
            image_url_mask="",
            image_url_logo="",
            # A redirect would send the message, and secrets with it, elsewhere.
            http_redirects=False,
            secure_logging=True,
        )
        wrong = []
        for destination in self._read():
            with _captured_log():
                try:
                    service = apprise.Apprise.instantiate(destination.url, asset=asset)
                except Exception:  # noqa: BLE001 - its message may contain the URL
                    service = None
            if service is None:
                wrong.append(destination.line)
            else:
                # A message that is too long for the service would be refused.
                if service.overflow_mode == apprise.OverflowMode.UPSTREAM:
                    service.overflow_mode = apprise.OverflowMode.SPLIT
                yield destination, service
        if wrong:
            lines = f"line{'s' * (len(wrong) > 1)} {', '.join(map(str, wrong))}"
            raise self._problem(f"{lines}: not a notification URL that Apprise knows")

    def _read(self) -> list[_Destination]:
        try:
            data = read_private(
                self._file, what="the notification URLs", limit=_MAX_FILE_BYTES + 1
            )
            text = data.decode()
        except OSError as error:
            raise self._problem(os_reason(error)) from error
        except UnicodeDecodeError:
            # Without its cause, which contains the text.
            raise self._problem("is not UTF-8 text") from None
        except ValueError as error:
            raise self._problem(str(error)) from error
        if len(data) > _MAX_FILE_BYTES:
            raise self._problem(f"is longer than {_MAX_FILE_BYTES // 1024} KiB")
        found = [
            _Destination(number, line.strip())
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not 0 < len(found) <= _MAX_DESTINATIONS:
            raise self._problem(
                f"holds {len(found)} notification URLs; expected 1 to"
                f" {_MAX_DESTINATIONS}, one a line"
            )
        return found

    def _problem(self, message: str) -> ConfigError:
        return ConfigError.of_setting(VARIABLE, f"{self._file}: {message}")


def _load_apprise() -> "ModuleType":
    for name in _LOGGERS:
        # Their messages contain URLs and must not reach the log.
        logging.getLogger(name).propagate = False
    try:
        import apprise  # noqa: PLC0415 - optional, and takes long to import
    except ImportError as error:
        raise ConfigError.of_setting(
            VARIABLE, "notifications need the package apprise; install triaged[notify]"
        ) from error
    return apprise


def _send_to(destination: _Destination, service: Any, message: Message) -> Delivery:  # noqa: ANN401 - untyped
    import apprise  # noqa: PLC0415 - see above

    wants_html = service.resolve_format(None) == apprise.NotifyFormat.HTML
    as_html = wants_html and service.body_maxlen >= _MAIL_LENGTH
    kind = apprise.NotifyType
    with _captured_log() as records:
        try:
            is_sent = service.notify(
                title=message.subject,
                body=message.html if as_html else message.text,
                body_format=apprise.NotifyFormat.HTML
                if as_html
                else apprise.NotifyFormat.TEXT,
                notify_type=kind.WARNING if message.is_warning else kind.INFO,
            )
        except Exception as error:  # noqa: BLE001 - its message may contain the URL
            receipt, problem = Receipt.UNKNOWN, f"{type(error).__name__} in Apprise"
        else:
            receipt, problem = (
                (Receipt.SENT, "") if is_sent else classify_failure(records)
            )
    return Delivery(
        key=destination.key,
        line=destination.line,
        service=str(service.service_name),
        receipt=receipt,
        problem=problem,
    )


def classify_failure(records: Sequence[str]) -> tuple[Receipt, str]:
    """Return whether a failed message has definitely not arrived, and why it failed.

    Apprise reports success or failure only; what happened is in its log. Whatever is
    not recognized there may have arrived, and is not sent again.
    """
    text = "\n".join(records)
    if any(record.startswith("Sent ") for record in records):
        return Receipt.UNKNOWN, "only some of its recipients were reached"
    if any(sign in text for sign in _NOT_CONNECTED):
        return Receipt.FAILED, "no connection"
    status = _STATUS.search(text) or _SMTP_STATUS.search(text)
    if status is None:
        return Receipt.UNKNOWN, "no usable answer"
    uncertain = status[1] in _UNCERTAIN_STATUS
    return (Receipt.UNKNOWN if uncertain else Receipt.FAILED), f"answered {status[1]}"


class _Recorder(logging.Handler):
    """Keeps the texts of log records, for the duration of one message."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.texts.append(record.getMessage())
        except (TypeError, ValueError):
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Keep the record without its values, instead of printing it."""
        self.texts.append(str(record.msg))


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collect what Apprise logs; one message is sent at a time."""
    logger, recorder = logging.getLogger("apprise"), _Recorder()
    level = logger.level
    logger.addHandler(recorder)
    logger.setLevel(logging.DEBUG)
    try:
        yield recorder.texts
    finally:
        logger.setLevel(level)
        logger.removeHandler(recorder)
