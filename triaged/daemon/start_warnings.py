"""What the log says at start about why nothing will be dismissed."""

import structlog

from triaged.ledger.flags import FlagName, Flags

log = structlog.get_logger()


def warn_if_idle(flags: Flags, *, dry_run: bool, resume: str) -> None:
    """Log a warning for a dry run, and one for a pause, which ``resume`` ends."""
    if dry_run:
        log.warning("daemon.dry_run", effect="nothing is dismissed")
    paused = flags.get(FlagName.PAUSED)
    if paused is not None:
        log.warning(
            "daemon.paused",
            effect=f"nothing is dismissed until `{resume}`",
            since=paused.since.isoformat(timespec="seconds"),
            note=paused.reason,
            by=paused.set_by,
        )
