"""When points expire: always at the end of a local day of the program."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from wallet_server.programs.definition import ProgramDefinition


def end_of_day(day: date, zone: str) -> datetime:
    """The moment at which a local day is over, in UTC: where the next one begins."""
    following = day + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def local_day(moment: datetime, zone: str) -> date:
    """The local day of a moment."""
    return moment.astimezone(ZoneInfo(zone)).date()


def expires_at(program: ProgramDefinition, earned_at: datetime) -> datetime | None:
    """When points that are earned at this moment expire: from then on they are gone.

    ``None`` where they never do, and where only inactivity ends them. Source: ``bonus-processing.md``.
    """
    expiry, zone = program.points.expiry, program.time_zone
    earned_on = local_day(earned_at, zone)
    if expiry.kind == "rolling_days":
        assert expiry.days is not None, "the program file was checked"
        return end_of_day(earned_on + timedelta(days=expiry.days), zone)
    if expiry.kind == "fixed_date":
        assert expiry.month is not None, "the program file was checked"
        assert expiry.day is not None, "the program file was checked"
        this_year = date(earned_on.year, expiry.month, expiry.day)
        # "All that was earned before it": what is earned on the day itself has a year.
        last = this_year if earned_on < this_year else this_year.replace(year=earned_on.year + 1)
        return end_of_day(last, zone)
    return None


def grace_until(program: ProgramDefinition, now: datetime) -> datetime:
    """Until when points stay that a refund returns after their lot has expired."""
    return end_of_day(
        local_day(now, program.time_zone) + timedelta(days=program.points.refund_grace_days), program.time_zone
    )


def last_day(program: ProgramDefinition, expires: datetime) -> date:
    """The last local day on which points can be spent that expire at this moment: what people are told."""
    return local_day(expires - timedelta(microseconds=1), program.time_zone)
