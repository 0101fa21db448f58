"""Tables of the passes given out, the phones that hold them, and the ties between."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from wallet_server.db import JSONColumn, ProgramOwned, UTCDateTime, new_id, partial_index
from wallet_server.members.models import member_key


class IssuedPass(ProgramOwned, table=True):
    """One card in one kind of wallet.

    ``version`` is raised in the transaction of each change; ``update_tag`` follows, given by the push job
    under one lock, so that tags become visible in order (invariant P1).
    """

    __tablename__ = "issued_pass"
    __table_args__ = (
        member_key(),
        sa.ForeignKeyConstraint(["program_id", "card_id"], ["card.program_id", "card.id"]),
        sa.UniqueConstraint("wallet", "serial"),
        sa.UniqueConstraint("card_id", "wallet"),
        sa.UniqueConstraint("program_id", "id"),
        sa.CheckConstraint("wallet IN ('apple', 'google')", name="wallet_known"),
        sa.Index("ix_issued_pass_program_id_member_id", "program_id", "member_id"),
        # What a tick counts: the newest fetches.
        sa.Index("ix_issued_pass_fetched_at", "fetched_at"),
        # What is refused: nothing, on a good day.
        partial_index("ix_issued_pass_refused", "program_id", "id", where="push_error IS NOT NULL"),
        # Whom phones owe a fetch: few at any moment, so the index is small.
        partial_index(
            "ix_issued_pass_unfetched", "program_id", "unfetched_since", "id", where="unfetched_since IS NOT NULL"
        ),
        # A change writes a row three times (raised, tagged, pushed) and touches no index: with room on its page
        # PostgreSQL leaves all of them alone.
        {"postgresql_with": {"fillfactor": 60}},
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    member_id: UUID
    card_id: UUID
    wallet: str = Field(max_length=8)
    serial: str = Field(max_length=64, description="URL-safe; Google: the suffix of the object id.")
    token_generation: int = 0
    version: int = Field(default=1, sa_type=sa.BigInteger)
    last_modified: datetime = Field(sa_type=UTCDateTime, description="Whole seconds; moves >= 1 s a change.")
    changed_at: datetime = Field(sa_type=UTCDateTime)
    update_tag: int = Field(default=0, sa_type=sa.BigInteger)
    live: bool = Field(default=False, description="Apple: on a device; Google: the object exists.")
    pushed_version: int = Field(default=0, sa_type=sa.BigInteger, description="Newest that the push service took.")
    pushed_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    fetched_version: int = Field(default=0, sa_type=sa.BigInteger, description="Newest that a phone fetched.")
    fetched_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    behind_since: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="First change that the wallet does not show; none: up to date."
    )
    unfetched_since: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="Apple: when a phone was first told of what it has not fetched."
    )
    delivered_change_at: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="The `behind_since` that the newest delivery ended."
    )
    installed_at: datetime | None = Field(
        default=None, sa_type=UTCDateTime, description="First on a phone; Google: first said to be saved."
    )
    removed_at: datetime | None = Field(default=None, sa_type=UTCDateTime, description="On no phone since; else none.")
    removed_why: str | None = Field(default=None, max_length=16, description="`deleted`, `unreachable` or `voided`.")
    heard_ms: int | None = Field(
        default=None, sa_type=sa.BigInteger, description="`expTimeMillis` of Google's newest message about it."
    )
    push_error: str | None = Field(
        default=None, max_length=200, description="Why the newest version was not taken; none: no trouble."
    )
    created_at: datetime = Field(sa_type=UTCDateTime)
    voided_at: datetime | None = Field(default=None, sa_type=UTCDateTime)


class UpdateTag(SQLModel, table=True):
    """The last update tag given, in milliseconds of its moment or above: one row, locked while tags are given."""

    __tablename__ = "update_tag"

    id: int = Field(default=1, primary_key=True)
    last: int = Field(default=0, sa_type=sa.BigInteger)


class Device(SQLModel, table=True):
    """A phone, as Apple's protocol names it; it holds the push token."""

    __tablename__ = "device"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    library_identifier: str = Field(max_length=128, unique=True)
    push_token: str = Field(max_length=200, index=True)
    created_at: datetime = Field(sa_type=UTCDateTime)
    token_at: datetime = Field(sa_type=UTCDateTime, description="When the push token was last told to us.")


class Registration(ProgramOwned, table=True):
    """A phone that wants to hear of a pass's changes."""

    __tablename__ = "registration"
    __table_args__ = (
        sa.ForeignKeyConstraint(["program_id", "pass_id"], ["issued_pass.program_id", "issued_pass.id"]),
        sa.UniqueConstraint("device_id", "pass_id"),
        sa.Index("ix_registration_pass_id", "pass_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    device_id: UUID = Field(foreign_key="device.id")
    pass_id: UUID
    registered_at: datetime = Field(sa_type=UTCDateTime)


class SigningCertificate(ProgramOwned, table=True):
    """The certificate that signs a program's passes now: another one makes all of them as good as changed."""

    __tablename__ = "signing_certificate"

    program_id: UUID = Field(foreign_key="program.id", primary_key=True)
    fingerprint: str = Field(max_length=64, description="SHA-256 of the certificate, in hex.")
    first_used_at: datetime = Field(sa_type=UTCDateTime)


class GooglePace(SQLModel, table=True):
    """When one issuer's next call to Google may begin, for all processes together."""

    __tablename__ = "google_pace"

    issuer_id: str = Field(max_length=32, primary_key=True)
    free_at: int = Field(sa_type=sa.BigInteger, description="Microseconds since 1970.")


class GoogleCallback(SQLModel, table=True):
    """A message of Google's that has been acted upon; Google repeats itself, the nonce tells."""

    __tablename__ = "google_callback"

    nonce: str = Field(max_length=200, primary_key=True)
    received_at: datetime = Field(sa_type=UTCDateTime)


class WalletKey(SQLModel, table=True):
    """A private key that a wallet's company knows us by, sealed under ``WALLET_SECRET_KEY``.

    Of Apple's kind there are several a program over the years: one with a certificate for each year, and one
    whose request is on its way. Without a program it is the one of all programs that have none of their own.
    """

    __tablename__ = "wallet_key"
    __table_args__ = (sa.CheckConstraint("kind IN ('apple', 'google')", name="kind_known"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    program_id: UUID | None = Field(default=None, foreign_key="program.id", index=True)
    kind: str = Field(max_length=8)
    fingerprint: str = Field(max_length=64, unique=True, description="SHA-256 of the public key, in hex.")
    sealed: bytes = Field(sa_type=sa.LargeBinary, description="Apple: PKCS #8; Google: the key file. Encrypted.")
    identity: str = Field(default="", max_length=200, description="Pass type id, or Google's issuer id.")
    team_id: str = Field(default="", max_length=32)
    certificate: bytes | None = Field(default=None, sa_type=sa.LargeBinary, description="DER; none: only asked for.")
    intermediate: bytes | None = Field(default=None, sa_type=sa.LargeBinary, description="DER.")
    not_after: datetime | None = Field(default=None, sa_type=UTCDateTime)
    created_at: datetime = Field(sa_type=UTCDateTime)
    imported_at: datetime | None = Field(default=None, sa_type=UTCDateTime)


class DeliveryHour(ProgramOwned, table=True):
    """Updates of passes whose change was made in one hour: how many were taken and fetched, and how late.

    An update is everything between a pass falling behind and its phone having caught up, so changes that came
    together are one. It is counted under the hour of its first change, whenever it arrives.
    """

    __tablename__ = "delivery_hour"
    __table_args__ = (
        sa.CheckConstraint("wallet IN ('apple', 'google')", name="wallet_known"),
        sa.CheckConstraint("step IN ('accepted', 'fetched')", name="step_known"),
        sa.CheckConstraint("updates > 0", name="updates_positive"),
    )

    program_id: UUID = Field(primary_key=True, foreign_key="program.id")
    hour: datetime = Field(primary_key=True, sa_type=UTCDateTime, description="Its beginning.")
    wallet: str = Field(primary_key=True, max_length=8)
    step: str = Field(primary_key=True, max_length=8)
    lag_bucket: int = Field(primary_key=True, description="Place in `delivery.LAG_BOUNDS_S`.")
    updates: int = Field(sa_type=sa.BigInteger)
    lag_ms: int = Field(sa_type=sa.BigInteger, description="The lags of all of them together.")


class DeliveryMark(SQLModel, table=True):
    """Up to where fetches have been counted: one row."""

    __tablename__ = "delivery_mark"

    id: int = Field(default=1, primary_key=True)
    counted_until: datetime = Field(sa_type=UTCDateTime)


class DeliveryWatch(ProgramOwned, table=True):
    """What the last look at a program's passes found: for metrics, and for the alarm in the panel."""

    __tablename__ = "delivery_watch"

    program_id: UUID = Field(primary_key=True, foreign_key="program.id")
    watched_at: datetime = Field(sa_type=UTCDateTime)
    passes: dict[str, dict[str, int]] = Field(sa_type=JSONColumn, description="Number by wallet and state.")
    before: dict[str, list[int]] = Field(
        sa_type=JSONColumn, description="What was pruned from delivery_hour, by `wallet step`: updates by bucket, ms."
    )
    unfetched_alarm_since: datetime | None = Field(default=None, sa_type=UTCDateTime)
    fetched_share: float | None = Field(default=None, description="Of the last hours, 0 to 1; none: too few to say.")
    usual_share: float | None = Field(default=None, description="Of the same hours in the weeks before.")
    refused_alarm_since: datetime | None = Field(default=None, sa_type=UTCDateTime)
