"""Settings: read once from the environment, frozen, and the only reader of ``os.environ``.

A bad value stops the start with a sentence. Each setting marked as a secret may also be given as a file
(``NAME_FILE``), the way container platforms hand out secrets. ``docs/settings.md`` lists them all, and a
test holds the two together.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from passes.google.callbacks import GOOGLE_KEYS_URL, SENDER
from wallet_server.errors import ConfigurationError

APNS_URL = "https://api.push.apple.com"
"""Passes always use production: there are no sandbox tokens for Wallet."""
GOOGLE_API_URL = "https://walletobjects.googleapis.com"
SECRET_KEY_BYTES_MIN = 32
SECRETS = frozenset({"WALLET_SECRET_KEY", "DATABASE_URL", "REDIS_URL", "WALLET_SMTP_URL"})
_WEAK_KEYS = frozenset({"secret", "changeme", "change-me", "password", "default", "test", "dev"})

FilePath = Annotated[Path, BeforeValidator(lambda value: Path(value).expanduser())]


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http or https address without a query, such as https://wallet.example.com")
    return value.rstrip("/")


class Settings(BaseModel):
    """Everything that the environment decides.

    Field names are the variables' names; help texts become ``docs/settings.md``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    WALLET_DATA_DIR: FilePath = Field(default=Path("var"), description="Folder of everything the server keeps itself.")
    DATABASE_URL: str = Field(
        default="",
        description="`postgresql://user:password@host/name`; empty means SQLite in the data folder.",
    )
    REDIS_URL: str = Field(
        default="",
        description="Valkey or Redis, `redis://host:6379/0` or `unix:///path?db=0`; empty means the embedded Valkey.",
    )
    WALLET_PUBLIC_URL: str = Field(
        default="http://127.0.0.1:8000",
        description="The address under which phones reach this server; https outside a sandbox.",
    )
    WALLET_SECRET_KEY: str = Field(
        default="",
        description="At least 32 characters; made at the first start in the data folder. Signs cookies and derives "
        "pass tokens: keep it, or every installed pass loses its server.",
        repr=False,
    )
    WALLET_APPLE_PASS_TYPE_ID: str = Field(default="", description="Pass type id, `pass.com.example.loyalty`.")
    WALLET_APPLE_TEAM_ID: str = Field(default="", description="Apple team id, ten characters.")
    WALLET_APPLE_CERTIFICATE_FILE: FilePath | None = Field(
        default=None, description="Pass type id certificate (PEM). Without it a development certificate is made."
    )
    WALLET_APPLE_KEY_FILE: FilePath | None = Field(default=None, description="Its private key (PEM).")
    WALLET_APPLE_WWDR_FILE: FilePath | None = Field(
        default=None,
        description="Apple's WWDR intermediate certificate that issued it (PEM); alone: the one that "
        "`apple import-certificate` takes.",
    )
    WALLET_APNS_URL: str = Field(default="", description=f"Apple's push service; `{APNS_URL}`, or the sandbox's.")
    WALLET_APNS_CA_FILE: FilePath | None = Field(
        default=None, description="Certificate authority of the push service (PEM); the system's if empty."
    )
    WALLET_APNS_KEY_FILE: FilePath | None = Field(
        default=None,
        description="Push key of the team (`.p8`): pushes with tokens made from it instead of the certificate.",
    )
    WALLET_APNS_KEY_ID: str = Field(default="", description="Its key id, ten characters.")
    WALLET_GOOGLE_ISSUER_ID: str = Field(
        default="", description="Issuer id of the Google Wallet console; empty: no Google."
    )
    WALLET_GOOGLE_SERVICE_ACCOUNT_FILE: FilePath | None = Field(default=None, description="Service account key (JSON).")
    WALLET_GOOGLE_PLACES: bool = Field(
        default=False,
        description="1: cards in Google Wallet tell where outlets are. Only once Google has allowed it to the issuer, "
        "or it refuses every card.",
    )
    WALLET_GOOGLE_API_URL: str = Field(
        default="", description=f"Google Wallet's API; `{GOOGLE_API_URL}`, or the sandbox's."
    )
    WALLET_GOOGLE_KEYS_URL: str = Field(
        default="",
        description=f"Where Google publishes the keys that sign its notices; `{GOOGLE_KEYS_URL}`, or the sandbox's.",
    )
    WALLET_GOOGLE_SENDER: str = Field(default=SENDER, description="Google's name in the signature of its notices.")
    WALLET_SMTP_URL: str = Field(
        default="",
        description="Mail server, `smtp://user:password@host:587`; or none. TLS is demanded of any but this machine's; "
        "`smtps://` begins with it, and `smtp://host:25?tls=none` does without (and without a password).",
        repr=False,
    )
    WALLET_MAIL_FROM: str = Field(default="", description="Our own e-mail address in the mails, `cards@example.com`.")
    WALLET_SANDBOX: bool = Field(
        default=False,
        description="1: simulated phones, stand-ins of Apple's and Google's servers, and a clock that can be moved.",
    )

    WALLET_PROXIES: int = Field(
        default=0,
        ge=0,
        le=5,
        description="How many reverse proxies of your own stand in front and set `X-Forwarded-*`; 0: none is believed.",
    )
    WALLET_WEBHOOK_PRIVATE: bool = Field(
        default=False,
        description="1: webhooks may also go to addresses of your own network (10.0.0.1, this machine), over https.",
    )

    @field_validator("WALLET_PUBLIC_URL", "WALLET_APNS_URL", "WALLET_GOOGLE_API_URL", "WALLET_GOOGLE_KEYS_URL")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return _http_url(value) if value else value

    @field_validator("DATABASE_URL")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        if value and not value.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://", "postgres://")):
            raise ValueError("must begin with postgresql:// or sqlite:///")
        return value.replace("postgres://", "postgresql://", 1)

    @field_validator("REDIS_URL")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value

    @field_validator("WALLET_SMTP_URL")
    @classmethod
    def _check_smtp_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (
            parts.scheme not in ("smtp", "smtps")
            or not parts.hostname
            or parts.path not in ("", "/")
            or parts.port == 0  # a port that is no number raises by itself
            or parts.query not in ("", "tls=none")
        ):
            raise ValueError("must look like smtp://user:password@host:587 or smtps://host")
        if parts.query == "tls=none" and (parts.username or parts.scheme == "smtps"):
            raise ValueError("may name tls=none only as smtp:// and without user and password")
        return value

    @field_validator("WALLET_MAIL_FROM")
    @classmethod
    def _check_mail_from(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", value):
            raise ValueError("must be an e-mail address alone, such as cards@example.com")
        return value

    @field_validator("WALLET_SECRET_KEY")
    @classmethod
    def _check_secret_key(cls, value: str) -> str:
        # A real loyalty back end was taken over because its session key was the word "secret".
        if value and (len(value) < SECRET_KEY_BYTES_MIN or value.lower() in _WEAK_KEYS or len(set(value)) < 10):
            raise ValueError(f"is weak: give at least {SECRET_KEY_BYTES_MIN} random characters, or leave it empty")
        return value

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        apple = {
            "WALLET_APPLE_CERTIFICATE_FILE": self.WALLET_APPLE_CERTIFICATE_FILE,
            "WALLET_APPLE_KEY_FILE": self.WALLET_APPLE_KEY_FILE,
            "WALLET_APPLE_WWDR_FILE": self.WALLET_APPLE_WWDR_FILE,
        }
        # Apple's intermediate may stand alone: `apple import-certificate` asks for it.
        given = [name for name, path in apple.items() if path and name != "WALLET_APPLE_WWDR_FILE"]
        missing = [name for name, path in apple.items() if not path]
        if given and missing:
            raise ValueError(f"{', '.join(given)} is set, so {', '.join(missing)} must be set too")
        if given and not (self.WALLET_APPLE_PASS_TYPE_ID and self.WALLET_APPLE_TEAM_ID):
            raise ValueError("Apple's certificate needs WALLET_APPLE_PASS_TYPE_ID and WALLET_APPLE_TEAM_ID")
        if given and self.WALLET_SANDBOX:
            raise ValueError("WALLET_SANDBOX is refused with Apple's certificates: a moved clock must not reach phones")
        if bool(self.WALLET_APNS_KEY_FILE) != bool(self.WALLET_APNS_KEY_ID):
            raise ValueError("WALLET_APNS_KEY_FILE and WALLET_APNS_KEY_ID go together")
        if self.WALLET_APNS_KEY_FILE and self.WALLET_SANDBOX:
            raise ValueError("WALLET_SANDBOX is refused with Apple's push key: a moved clock must not reach phones")
        google = (self.WALLET_GOOGLE_ISSUER_ID, self.WALLET_GOOGLE_SERVICE_ACCOUNT_FILE)
        if any(google) and not all(google):
            raise ValueError("WALLET_GOOGLE_ISSUER_ID and WALLET_GOOGLE_SERVICE_ACCOUNT_FILE go together")
        if bool(self.WALLET_SMTP_URL) != bool(self.WALLET_MAIL_FROM):
            raise ValueError("WALLET_SMTP_URL and WALLET_MAIL_FROM go together")
        for name in (*apple, "WALLET_APNS_CA_FILE", "WALLET_APNS_KEY_FILE", "WALLET_GOOGLE_SERVICE_ACCOUNT_FILE"):
            path: Path | None = getattr(self, name)
            if path and not os.access(path, os.R_OK):
                raise ValueError(f"{name}: {path} cannot be read")
        return self

    @property
    def database_url(self) -> str:
        """The database in use: the configured one, or the SQLite file in the data folder."""
        return self.DATABASE_URL or f"sqlite:///{self.WALLET_DATA_DIR.resolve() / 'wallet.sqlite'}"

    @property
    def public_url(self) -> str:
        """The public address without a slash at its end."""
        return self.WALLET_PUBLIC_URL

    @property
    def apns_url(self) -> str:
        """Apple's push service, or its stand-in."""
        return self.WALLET_APNS_URL or APNS_URL

    @property
    def google_api_url(self) -> str:
        """Google Wallet's API, or its stand-in."""
        return self.WALLET_GOOGLE_API_URL or GOOGLE_API_URL

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for child processes."""
        return {
            name: ("1" if value is True else str(value))
            for name, value in ((name, getattr(self, name)) for name in type(self).model_fields)
            if value not in (None, "", False)
        }


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings; make the data folder and the secret key if they are not there yet.

    Raises :class:`ConfigurationError` with one sentence a finding.
    """
    environ = os.environ if environ is None else environ
    _refuse_unknown_names(environ)
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        if environ.get(name):
            values[name] = environ[name]
        file_name = f"{name}_FILE"
        if name in SECRETS and environ.get(file_name):
            if name in values:
                raise ConfigurationError(f"{name} and {file_name} are both set; give one of them")
            try:
                values[name] = Path(environ[file_name]).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigurationError(f"{file_name}: {error.filename}: {error.strerror}") from error
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_sentence(item) for item in error.errors())) from error
    _make_data_folder(settings.WALLET_DATA_DIR)
    if not settings.WALLET_SECRET_KEY:
        settings = settings.model_copy(update={"WALLET_SECRET_KEY": _kept_secret_key(settings.WALLET_DATA_DIR)})
    return settings


def _refuse_unknown_names(environ: Mapping[str, str]) -> None:
    known = {*Settings.model_fields, *(f"{name}_FILE" for name in SECRETS)}
    for name in sorted(environ):
        if name.startswith("WALLET_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; is {near[0]} meant?" if near else ""
            raise ConfigurationError(f"{name} is no setting of this server{hint}")


def _sentence(item: Any) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{item['loc'][0]} {message}" if item["loc"] else message


def _make_data_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"WALLET_DATA_DIR: {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"WALLET_DATA_DIR: {folder} cannot be written")


def _kept_secret_key(folder: Path) -> str:
    path = folder / "secret-key"
    try:
        # O_EXCL: of two processes that start at once, one makes the key and both read the same.
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        key = path.read_text(encoding="ascii").strip()
        if len(key) < SECRET_KEY_BYTES_MIN:
            raise ConfigurationError(f"{path} is damaged: restore it from the backup") from None
        return key
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        key = secrets.token_hex(32)
        file.write(key)
    return key
