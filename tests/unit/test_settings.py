"""Tests of settings: every variable, right and wrong, and the key kept secret."""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from triaged import settings as settings_module
from triaged.errors import ConfigError, Problem
from triaged.leadlex.api_key import KeySource
from triaged.quota import QuotaSettings
from triaged.setting_values import DEFAULT_URL, is_loopback
from triaged.settings import (
    SETTINGS,
    PageMode,
    Settings,
    env_name,
    read_settings,
    unknown_variables,
)

KEY: Final = "wbk_live_0123456789abcdef"
HOME: Final = {"HOME": "/home/lex"}


def read(flags: Mapping[str, str | None] | None = None, /, **environ: str) -> Settings:
    """Read settings from variables, named without their prefix, and flags."""
    named = {env_name(name): text for name, text in environ.items()}
    return read_settings(HOME | named, flags or {})


def complaints(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        read_settings(HOME | dict(environ), {})
    return [(problem.path, problem.message) for problem in raised.value.problems]


def key_file(path: Path, key: str) -> Path:
    path.write_text(key)
    path.chmod(0o600)
    return path


def key_of(source: KeySource) -> str:
    return source.read().reveal()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, on a machine without system-wide rules."""
    monkeypatch.chdir(tmp_path)
    system = tmp_path / "etc" / "rules.yaml"
    monkeypatch.setattr(settings_module, "SYSTEM_RULES", system)
    return tmp_path


@pytest.mark.usefixtures("elsewhere")
def test_defaults() -> None:
    """With nothing set, the settings are those of the documentation."""
    assert read() == Settings(
        key=KeySource(),
        api_url="https://data.leadlex.com/functions/v1/api-gateway",
        rules=(Path("rules.yaml"),),
        workspace="default",
        quota=QuotaSettings(
            minute_limit=None, minute_window=60.0, daily_limit=None, reserve=0.2
        ),
        poll_interval=timedelta(minutes=5),
        state_dir=Path("/home/lex/.local/state/triaged"),
        retention=timedelta(days=400),
        listen_host="127.0.0.1",
        listen_port=9464,
        page=PageMode.KEEP,
        page_user_header=None,
        log_level="info",
        log_format=None,
    )


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("api_url", "https://x.example/api/", "api_url", "https://x.example/api"),
        ("api_url", "https://x.example/@2", "api_url", "https://x.example/@2"),
        ("api_url", "HTTPS://x.example/A", "api_url", "https://x.example/A"),
        ("api_url", "http://localhost:8000", "api_url", "http://localhost:8000"),
        ("api_url", "http://127.0.0.1:1/x", "api_url", "http://127.0.0.1:1/x"),
        ("api_url", "http://[::1]:1", "api_url", "http://[::1]:1"),
        ("rules", "/etc/my.yaml", "rules", (Path("/etc/my.yaml"),)),
        ("workspace", "Acme-1.eu_x", "workspace", "Acme-1.eu_x"),
        ("workspace", "x" * 63, "workspace", "x" * 63),
        ("poll_interval", "1s", "poll_interval", timedelta(seconds=1)),
        ("poll_interval", "1h30m", "poll_interval", timedelta(minutes=90)),
        ("state_dir", "/var/lib/x", "state_dir", Path("/var/lib/x")),
        ("retention", "2d", "retention", timedelta(days=2)),
        ("retention", "100w", "retention", timedelta(weeks=100)),
        ("page", "OFF", "page", PageMode.OFF),
        ("page", "read", "page", PageMode.READ),
        ("page_user_header", "X-Remote-User", "page_user_header", "X-Remote-User"),
        ("listen", "0.0.0.0:0", "listen_port", 0),
        ("listen", "[::1]:65535", "listen_host", "::1"),
        ("listen", "localhost:80", "listen_host", "localhost"),
        ("log_level", "WARNING", "log_level", "warning"),
        ("log_format", "console", "log_format", "console"),
    ],
)
def test_good_values(name: str, text: str, field: str, value: object) -> None:
    """Each variable is read, in every form that is allowed."""
    assert getattr(read(**{name: text}), field) == value


@pytest.mark.parametrize(
    ("listen", "page"),
    [
        ("127.0.0.2:1", PageMode.KEEP),
        ("[::1]:1", PageMode.KEEP),
        ("localhost:1", PageMode.KEEP),
        ("0.0.0.0:1", PageMode.READ),
        ("[::]:1", PageMode.READ),
        ("10.1.2.3:1", PageMode.READ),
        ("myhost:1", PageMode.READ),
    ],
)
def test_beyond_loopback_the_page_only_reads(listen: str, page: PageMode) -> None:
    """Strangers may not pause, unless the page is told to let them."""
    assert read(listen=listen).page is page
    assert read(listen=listen, page="keep").page is PageMode.KEEP


@pytest.mark.parametrize(
    ("environ", "quota"),
    [
        ({"api_plan": "starter"}, QuotaSettings(minute_limit=10, daily_limit=100)),
        ({"api_plan": "PRO"}, QuotaSettings(minute_limit=50, daily_limit=1000)),
        ({"api_plan": "org"}, QuotaSettings(minute_limit=200, daily_limit=10_000)),
        (
            {"api_plan": "pro", "rate_limit": "5/30s", "daily_limit": "7"},
            QuotaSettings(minute_limit=5, minute_window=30.0, daily_limit=7),
        ),
        ({"rate_limit": "9/1m"}, QuotaSettings(minute_limit=9)),
        ({"reserve": "0"}, QuotaSettings(reserve=0.0)),
        ({"reserve": ".5"}, QuotaSettings(reserve=0.5)),
        ({"reserve": "0.999"}, QuotaSettings(reserve=0.999)),
    ],
)
def test_the_quota(environ: dict[str, str], quota: QuotaSettings) -> None:
    """A plan fills in what is not given by itself."""
    assert read(**environ).quota == quota


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("api_key", "two words"),
        ("api_key", "   "),
        ("api_key", "wbk_ü"),
        ("api_key", "wbk_\x00"),
        ("api_key", "w" * 4097),
        ("api_key", f'"{KEY}"'),
        ("api_key", f"'{KEY}'"),
        ("rules", "~no-such-user/rules.yaml"),
        ("state_dir", "~no-such-user"),
        ("api_url", "data.leadlex.com"),
        ("api_url", "ftp://data.leadlex.com"),
        ("api_url", "https://"),
        ("api_url", "https:///path"),
        ("api_url", "http://data.leadlex.com"),
        ("api_url", "http://127.0.0.1.example.com"),
        ("api_url", "http://localhost.evil"),
        ("api_url", "http://localhost."),
        ("api_url", "http://0.0.0.0"),
        ("api_url", "http://0"),
        ("api_url", "http://[::]"),
        ("api_url", "http://[::ffff:1.2.3.4]"),
        ("api_url", "http://[::1%25eth0.evil]"),
        ("api_url", "http://2130706433"),
        ("api_url", "http://0x7f.0.0.1"),
        ("api_url", "http://0177.0.0.1"),
        ("api_url", "http://127.1"),
        ("api_url", "http://127.0.0.1%2eevil"),
        ("api_url", "http://127。0。0。1"),
        ("api_url", "http://①27.0.0.1"),
        ("api_url", "http://lоcalhost"),  # noqa: RUF001 - a Cyrillic letter
        ("api_url", "HTTP://EXAMPLE.COM"),
        ("api_url", "http://127.0.0.1@example.com"),
        ("api_url", "http://localhost.example.com"),
        ("api_url", "http://example.com#@localhost"),
        ("api_url", "https://u:p@data.leadlex.com"),
        ("api_url", "https://@data.leadlex.com"),
        ("api_url", "https://data.leadlex.com/?a=b"),
        ("api_url", "https://data.leadlex.com/?"),
        ("api_url", "https://data.leadlex.com/#"),
        ("api_url", "https://data.leadlex.com:99999"),
        ("api_url", "https://data.leadlex.com:x"),
        ("api_url", "https://[::1"),
        ("api_url", "https://data.lead\nlex.com"),
        ("api_url", "https://data.leadlex.com/ "),
        ("api_url", " https://data.leadlex.com"),
        ("api_url", "https://data.leadlex.com/a b"),
        ("api_url", "https://data.leadlex.com\\@example.com"),
        ("workspace", "-x"),
        ("workspace", "a b"),
        ("workspace", "ü"),
        ("workspace", "x" * 64),
        ("api_plan", "gold"),
        ("rate_limit", "50"),
        ("rate_limit", "0/1m"),
        ("rate_limit", "x/1m"),
        ("rate_limit", "50/0s"),
        ("rate_limit", "50/minute"),
        ("rate_limit", "50/25h"),
        ("daily_limit", "0"),
        ("daily_limit", "-1"),
        ("daily_limit", "1.5"),
        ("daily_limit", "٣"),
        ("daily_limit", "1" * 10),
        ("reserve", "1"),
        ("reserve", "-0.1"),
        ("reserve", "20%"),
        ("reserve", "nan"),
        ("reserve", "1e-1"),
        ("poll_interval", "0s"),
        ("poll_interval", "5"),
        ("poll_interval", "five"),
        ("poll_interval", "366d"),
        ("poll_interval", "999999999w"),
        ("retention", "1d"),
        ("retention", "47h59m"),
        ("retention", "36501d"),
        ("retention", "400"),
        ("page", "write"),
        ("page_user_header", "X Remote"),
        ("page_user_header", "X-Remote-User:"),
        ("page_user_header", "X-Üser"),
        ("page_user_header", "x" * 65),
        ("page_user_header", "Authorization"),
        ("page_user_header", "cookie"),
        ("listen", "9464"),
        ("listen", "http://127.0.0.1:9464"),
        ("listen", "127.0.0.1 :9464"),
        ("listen", ":9464"),
        ("listen", "localhost"),
        ("listen", "localhost:x"),
        ("listen", "localhost:65536"),
        ("listen", "localhost:"),
        ("log_level", "loud"),
        ("log_format", "xml"),
    ],
)
def test_bad_values(name: str, text: str) -> None:
    """What a variable cannot take is refused under its name."""
    ((path, message),) = complaints({env_name(name): text})

    assert path == env_name(name)
    assert message


def test_all_problems_come_at_once() -> None:
    """Who has three mistakes is told of three mistakes."""
    environ = {
        "TRIAGED_API_PLAN": "gold",
        "TRIAGED_POLL_INTERVAL": "5",
        "TRIAGED_LISTEN": "x",
    }

    assert {path for path, _ in complaints(environ)} == environ.keys()


@given(st.text(), st.sampled_from(["api_url", "listen", "reserve", "rate_limit"]))
@example("https://[", "api_url")
def test_any_text_is_read_or_refused(text: str, name: str) -> None:
    """No text makes reading fail in any other way."""
    problems: tuple[Problem, ...] = ()
    try:
        read(**{name: text})
    except ConfigError as error:
        problems = error.problems

    assert {problem.path for problem in problems} <= {env_name(name)}


def test_a_flag_wins() -> None:
    """A flag beats the environment, even where the latter is wrong."""
    found = read(
        {"workspace": "mine", "poll_interval": None}, workspace="!", poll_interval="9m"
    )

    assert found.workspace == "mine"
    assert found.poll_interval == timedelta(minutes=9)


@pytest.mark.parametrize(
    "name", ["api_url", "poll_interval", "api_plan", "listen", "reserve"]
)
def test_an_empty_text_is_unset(name: str) -> None:
    """An empty variable is as good as none, and an empty flag takes it back."""
    assert read(**{name: ""}) == read()
    assert read({name: ""}, **{name: "!"}) == read()


def test_rules_are_looked_for_here_then_in_etc(elsewhere: Path) -> None:
    """The file here is preferred; without either, the one here will be missed."""
    neither = read().rules
    system = elsewhere / "etc" / "rules.yaml"
    system.parent.mkdir()
    system.touch()
    only_system = read().rules
    (elsewhere / "rules.yaml").touch()

    assert (neither, only_system) == ((Path("rules.yaml"),), (system,))
    assert read().rules == (Path("rules.yaml"),)


def test_rules_in_a_place_that_cannot_be_looked_at(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that cannot be looked at is no reason to fail."""
    monkeypatch.setattr(settings_module, "SYSTEM_RULES", elsewhere / ("x" * 300))

    assert read().rules == (Path("rules.yaml"),)


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({}, "/home/lex/.local/state/triaged"),
        ({"XDG_STATE_HOME": "/xdg"}, "/xdg/triaged"),
        ({"XDG_STATE_HOME": "relative"}, "/home/lex/.local/state/triaged"),
        ({"XDG_STATE_HOME": "/xdg", "STATE_DIRECTORY": "/var/a"}, "/var/a"),
        ({"STATE_DIRECTORY": "/var/a:/var/b"}, "/var/a"),
        ({"STATE_DIRECTORY": "/var/a", "TRIAGED_STATE_DIR": "/mine"}, "/mine"),
    ],
)
def test_where_the_ledger_lives(environ: dict[str, str], place: str) -> None:
    """Our own variable, then systemd's, then XDG's, then the home directory."""
    assert read_settings(HOME | environ, {}).state_dir == Path(place)


def test_a_user_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home directory, a state directory must be given."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_000)
    with pytest.raises(ConfigError) as raised:
        read_settings({}, {})
    given_one = read_settings({"TRIAGED_STATE_DIR": "/mine"}, {}).state_dir

    assert str(raised.value) == (
        "settings: TRIAGED_STATE_DIR: there is no home directory to keep the ledger"
        " in; give a state directory"
    )
    assert given_one == Path("/mine")


def test_the_system_knows_a_home() -> None:
    """Without HOME the system's own list of users tells."""
    place = read_settings({}, {}).state_dir

    assert place == Path.home() / ".local/state/triaged"


def test_the_key_from_the_environment() -> None:
    """The variable holds the key itself; blanks around it do not count."""
    assert key_of(read(api_key=f" {KEY}\n").key) == KEY


def test_the_key_from_a_file(tmp_path: Path) -> None:
    """The file is read at each use, so that a key can be rotated."""
    path = key_file(tmp_path / "key", f"{KEY}\n")
    source = read(api_key_file=str(path)).key
    first = key_of(source)
    path.write_text("wbk_new")

    assert (first, key_of(source)) == (KEY, "wbk_new")


def test_the_key_from_systemd(tmp_path: Path) -> None:
    """A credential of the unit is used when nothing else is given."""
    environ = HOME | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    without = read_settings(environ, {}).key
    key_file(tmp_path / "api-key", KEY)
    given_too = environ | {"TRIAGED_API_KEY": "wbk_other"}

    assert without == KeySource()
    assert key_of(read_settings(environ, {}).key) == KEY
    assert key_of(read_settings(given_too, {}).key) == "wbk_other"


def test_which_key_wins(tmp_path: Path) -> None:
    """The flag's file, then the key itself, then the environment's file."""
    file = key_file(tmp_path / "key", "wbk_file")
    other = key_file(tmp_path / "other", "wbk_flag")
    flags = {"api_key_file": str(other)}
    both = {"api_key": KEY, "api_key_file": str(file)}

    assert key_of(read(flags, **both).key) == "wbk_flag"
    assert key_of(read(**both).key) == KEY
    assert key_of(read(api_key="", api_key_file=str(file)).key) == "wbk_file"


def test_no_key() -> None:
    """Without a key the message says how to give one."""
    with pytest.raises(ConfigError, match="set TRIAGED_API_KEY_FILE"):
        read().key.read()


@pytest.mark.parametrize("odd", [" x", "ü", "\n\nHost: x", "\x7f"])
def test_the_key_is_never_shown(odd: str) -> None:
    """Neither a repr nor a complaint about the key shows any of it."""
    shown = [repr(read(api_key=KEY)), str(complaints({"TRIAGED_API_KEY": KEY + odd}))]

    assert not [text for text in shown if KEY[4:] in text]


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104 - nothing is bound
        ("10.0.0.1", False),
        ("localhost.", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_loopback(host: str, *, is_ours: bool) -> None:
    """Only what certainly stays on this machine is loopback."""
    assert is_loopback(host) is is_ours


def test_the_default_url_is_a_good_one() -> None:
    """What is used without a setting would be accepted as one."""
    assert read(api_url=DEFAULT_URL).api_url == DEFAULT_URL


def test_a_quoted_key_is_told() -> None:
    """Some readers of env files keep the quotation marks; the key is not shown."""
    ((_, message),) = complaints({"TRIAGED_API_KEY": f'"{KEY}"'})

    assert "in quotation marks; write it without them" in message
    assert KEY[4:] not in message


def test_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands ``~`` in an env file or a unit; we do."""
    monkeypatch.setenv("HOME", "/home/lex")
    found = read(state_dir="~/state", rules="~/r.yaml", api_key_file="~/key")

    assert found.state_dir == Path("/home/lex/state")
    assert found.rules == (Path("/home/lex/r.yaml"),)
    assert found.key == KeySource(file=Path("/home/lex/key"))
    assert read({"state_dir": "~/x"}).state_dir == Path("/home/lex/x")
    assert read(state_dir="/a/~b").state_dir == Path("/a/~b")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("TRIAGED_INTERVALL", "TRIAGED_POLL_INTERVAL"),
        ("TRIAGED_POLL_INTERVALL", "TRIAGED_POLL_INTERVAL"),
        ("TRIAGED_STATEDIR", "TRIAGED_STATE_DIR"),
        ("TRIAGED_KEY_FILE", "TRIAGED_API_KEY_FILE"),
        ("triaged_api_url", "TRIAGED_API_URL"),
        ("Triaged_Rules", "TRIAGED_RULES"),
        ("TRIAGED_ZZZZZZZZZZZZZ", None),
    ],
)
def test_an_unknown_variable_is_told(name: str, near: str | None) -> None:
    """Its name and the nearest one are given, and never its value."""
    hint = f"; did you mean {near}?" if near else ""

    assert unknown_variables({name: KEY, "HOME": "/", "TRIAGED_RULES": "x"}) == [
        f"{name} is not a setting{hint}"
    ]


@pytest.mark.parametrize(
    "name",
    [
        *map(env_name, SETTINGS),
        "TRIAGED_SERVICE_HOST",
        "TRIAGED_SERVICE_PORT_METRICS",
        "TRIAGED_PORT",
        "TRIAGED_PORT_9464_TCP_ADDR",
        "TRIAGED_METRICS_SERVICE_HOST",
        "TRIAGED_METRICS_PORT_9464_TCP",
        "MY_TRIAGED_RULES",
    ],
)
def test_what_is_no_mistake_is_not_told(name: str) -> None:
    """Settings, and what Kubernetes writes for a Service of that name, are fine."""
    assert unknown_variables({name: "x"}) == []


def test_every_setting_is_known() -> None:
    """What is read from the environment is in the list of settings, and the reverse."""

    class Recording(dict[str, str]):
        def get(self, key: str, default: object = None) -> None:  # type: ignore[override]
            del default
            asked.add(key)

    asked: set[str] = set()
    read_settings(Recording(), {"state_dir": "/x"})

    assert {name for name in asked if name.startswith("TRIAGED_")} == {
        env_name(name) for name in SETTINGS if name != "state_dir"
    }


_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
_near_misses = st.sampled_from(
    "~ ~x / 0 1/1s 50/1m 9w9w -1 [::1]:0 http://[ http://localhost https://a:b@c"
    f" {'9' * 30} \udcff 1e9 ² {KEY}".split(" ")
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *map(env_name, SETTINGS),
                "HOME",
                "XDG_STATE_HOME",
                "STATE_DIRECTORY",
                "CREDENTIALS_DIRECTORY",
                "TRIAGED_X",
            ]
        ),
        _texts | _near_misses,
    )
)
def test_any_environment_is_read_or_refused(environ: dict[str, str]) -> None:
    """Settings are read, or all problems come as one error that names the variables."""
    problems: tuple[Problem, ...] = ()
    try:
        read_settings(environ, {})
    except ConfigError as error:
        problems = error.problems

    assert all(problem.path in environ for problem in problems)
    assert all(line.isprintable() for line in unknown_variables(environ))


def test_what_needs_no_call_starts_without_heavy_libraries() -> None:
    """Values and errors of the API and the settings load none of them."""
    script = (
        "import sys, triaged.leadlex.models, triaged.leadlex.errors, triaged.settings;"
        "print(*sys.modules.keys()"
        " & {'httpx', 're2', 'yaml', 'prometheus_client'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )

    assert done.stdout == "\n"


def test_notification_urls_come_from_a_file_or_a_credential(tmp_path: Path) -> None:
    """A file that is named wins over systemd's credential; without one: none."""
    (tmp_path / "notify-urls").write_text("json://h/")
    environ = HOME | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    named = environ | {"TRIAGED_NOTIFY_FILE": "~/urls"}

    assert read_settings(HOME, {}).notify_file is None
    assert read_settings(environ, {}).notify_file == tmp_path / "notify-urls"
    assert read_settings(named, {}).notify_file == Path("~/urls").expanduser()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://triaged.example.com/", "https://triaged.example.com"),
        ("http://10.0.0.7:9464", "http://10.0.0.7:9464"),
        ("HTTPS://example.com/triage", "https://example.com/triage"),
    ],
)
def test_the_page_may_be_anywhere(url: str, expected: str) -> None:
    """Links carry no secret, so plain http is accepted; no slash ends the address."""
    assert read(page_url=url).page_url == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "notify_file",
            "slack://T1/B2/s3cr3t",
            "this is a URL, not the name of a file",
        ),
        ("notify_at", "8 o'clock", "expected a time such as 08:00"),
        ("page_url", "javascript:alert(1)", "expected an https URL such as"),
        ("page_url", "https://a@example.com", "neither user, password"),
        ("page_url", "https://example.com/?x", "neither user, password"),
        ("page_url", "https://example.com/a b", "neither blanks"),
    ],
)
def test_mistakes_about_notifications(name: str, text: str, expected: str) -> None:
    """Each is refused at the start; a URL in the wrong place is not shown."""
    ((path, message),) = complaints({env_name(name): text})

    assert path == env_name(name)
    assert expected in message
    assert "s3cr3t" not in message
