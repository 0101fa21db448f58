"""What the simulated phones and stand-ins remember: one SQLite file of their own in the data folder.

It is not part of the server's database, its migrations or its backups: throwing it away gives new phones,
nothing else. One process writes it, from one thread.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from passes.apple.verify import OpenedPass
from wallet_server.db import new_id
from wallet_server.errors import NotFoundError
from wallet_server.faces.apple import PassFile
from wallet_server.sandbox.apns import Behaviour, TokenState

FILE_NAME: Final = "sandbox.sqlite"
EVENTS_MAX: Final = 200
"""Lines of a phone's diary that are kept."""
BANNERS_MAX: Final = 20
_VERSION: Final = 2

_SCHEMA: Final = """
CREATE TABLE phone (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, language TEXT NOT NULL, time_zone TEXT NOT NULL,
    device_id TEXT NOT NULL UNIQUE, push_token TEXT NOT NULL UNIQUE,
    airplane INTEGER NOT NULL DEFAULT 0, behaviour TEXT NOT NULL DEFAULT 'normal',
    created_at TEXT NOT NULL, checked_at TEXT NOT NULL
) STRICT;
CREATE TABLE retired_token (token TEXT PRIMARY KEY, phone_id TEXT NOT NULL, gone_at TEXT NOT NULL) STRICT;
CREATE TABLE stored_push (
    phone_id TEXT NOT NULL, topic TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (phone_id, topic)
) STRICT;
CREATE TABLE installed_pass (
    phone_id TEXT NOT NULL, pass_type_id TEXT NOT NULL, serial TEXT NOT NULL,
    pass_json TEXT NOT NULL, strings TEXT NOT NULL, images TEXT NOT NULL, last_modified TEXT,
    automatic_updates INTEGER NOT NULL DEFAULT 1, registered INTEGER NOT NULL DEFAULT 0,
    installed_at TEXT NOT NULL, updated_at TEXT NOT NULL, updates INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (phone_id, pass_type_id, serial)
) STRICT;
CREATE TABLE update_tag (
    phone_id TEXT NOT NULL, service TEXT NOT NULL, pass_type_id TEXT NOT NULL, tag TEXT NOT NULL,
    PRIMARY KEY (phone_id, service, pass_type_id)
) STRICT;
CREATE TABLE image (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, phone_id TEXT NOT NULL, at TEXT NOT NULL,
    kind TEXT NOT NULL, details TEXT NOT NULL
) STRICT;
CREATE INDEX event_phone ON event (phone_id, id);
CREATE TABLE banner (
    id INTEGER PRIMARY KEY AUTOINCREMENT, phone_id TEXT NOT NULL, at TEXT NOT NULL, wallet TEXT NOT NULL,
    card TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE INDEX banner_phone ON banner (phone_id, id);
CREATE TABLE google_resource (
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)
) STRICT;
CREATE TABLE google_saved (
    phone_id TEXT NOT NULL, object_id TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (phone_id, object_id)
) STRICT;
CREATE TABLE google_notice (object_id TEXT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL) STRICT;
CREATE TABLE mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL,
    content BLOB NOT NULL
) STRICT;
CREATE INDEX google_notice_object ON google_notice (object_id, at);
"""


@dataclass(frozen=True, slots=True)
class Phone:
    """A simulated person's phone."""

    id: str
    name: str
    language: str
    time_zone: str
    device_id: str
    push_token: str
    airplane: bool
    behaviour: Behaviour
    created_at: datetime
    checked_at: datetime
    """When it last asked a server of its own accord."""


@dataclass(frozen=True, slots=True)
class InstalledPass:
    """A pass on a phone. ``images`` is file name (``icon@2x.png``, ``mk.lproj/…``) → SHA-256."""

    phone_id: str
    pass_type_id: str
    serial: str
    file: PassFile
    images: Mapping[str, str]
    last_modified: str | None
    automatic_updates: bool
    registered: bool
    installed_at: datetime
    updated_at: datetime
    updates: int

    @property
    def service(self) -> str | None:
        """The address of its web service."""
        url = self.file.pass_json.get("webServiceURL")
        return str(url).rstrip("/") if url else None

    @property
    def authentication(self) -> str:
        """The Authorization header of its calls."""
        return f"ApplePass {self.file.pass_json.get('authenticationToken', '')}"


@dataclass(frozen=True, slots=True)
class Event:
    """A line of a phone's diary; ``kind`` and ``details`` become a sentence where it is read."""

    id: int
    at: datetime
    kind: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Banner:
    """A message on the lock screen. ``wallet`` is ``apple`` or ``google``, ``card`` names the pass."""

    id: int
    at: datetime
    wallet: str
    card: str
    title: str
    text: str


class Store:
    """The file, opened. Not for use by two threads."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. One of another version of this program is replaced."""
        self._connection = _open(path)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's writes or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def rows(self, statement: str, *parameters: Any) -> list[sqlite3.Row]:
        """Run a statement of the parts of the sandbox that have tables of their own (Google's, mails)."""
        return list(self._connection.execute(statement, parameters))

    def _run(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, parameters)

    # -- phones --

    def add_phone(self, *, name: str, language: str, time_zone: str, now: datetime) -> Phone:
        """A new phone with its own device id and push token."""
        phone_id = str(new_id())
        self._run(
            "INSERT INTO phone (id, name, language, time_zone, device_id, push_token, created_at, checked_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(phone_id, name, language, time_zone, secrets.token_hex(16), secrets.token_hex(32)),
            *(now.isoformat(), now.isoformat()),
        )
        return self.phone(phone_id)

    def phone(self, phone_id: str) -> Phone:
        """One phone. Raises ``NotFoundError(unknown_phone)``."""
        row = self._run("SELECT * FROM phone WHERE id = ?", phone_id).fetchone()
        if row is None:
            raise NotFoundError("unknown_phone", "there is no such phone")
        return _phone(row)

    def phones(self, *, after: str = "", limit: int = 100) -> list[Phone]:
        """Phones in the order in which they were added, those behind ``after``."""
        statement = "SELECT * FROM phone WHERE id > ? ORDER BY id LIMIT ?"
        return [_phone(row) for row in self._run(statement, after, limit)]

    def phones_not_heard_since(self, moment: datetime, limit: int) -> list[Phone]:
        """Phones that hold passes and have not asked of their own accord since ``moment``."""
        statement = (
            "SELECT * FROM phone WHERE checked_at < ? AND airplane = 0 AND EXISTS"
            " (SELECT 1 FROM installed_pass WHERE phone_id = phone.id AND registered) ORDER BY checked_at LIMIT ?"
        )
        return [_phone(row) for row in self._run(statement, moment.isoformat(), limit)]

    def count_phones(self) -> int:
        return int(self._run("SELECT count(*) FROM phone").fetchone()[0])

    def change_phone(self, phone_id: str, **changes: str | int) -> Phone:
        """Set columns of a phone (the callers' own words, never input)."""
        assignments = ", ".join(f"{name} = ?" for name in changes)
        self._run(f"UPDATE phone SET {assignments} WHERE id = ?", *changes.values(), phone_id)  # noqa: S608
        return self.phone(phone_id)

    def retire_token(self, phone: Phone, now: datetime) -> Phone:
        """Give the phone a new push token; the old one is gone from now on."""
        with self.transaction():
            self._run("INSERT INTO retired_token VALUES (?, ?, ?)", phone.push_token, phone.id, now.isoformat())
            return self.change_phone(phone.id, push_token=secrets.token_hex(32))

    def remove_phone(self, phone: Phone, now: datetime) -> None:
        """Throw a phone away; pushes to it are answered "gone"."""
        with self.transaction():
            self._run("INSERT INTO retired_token VALUES (?, ?, ?)", phone.push_token, phone.id, now.isoformat())
            self._run("DELETE FROM phone WHERE id = ?", phone.id)
            for table in ("installed_pass", "update_tag", "event", "banner", "stored_push", "google_saved"):
                self._run(f"DELETE FROM {table} WHERE phone_id = ?", phone.id)  # noqa: S608 - our own names

    def token_state(self, token: str) -> TokenState | None:
        """What APNs knows of a push token."""
        row = self._run("SELECT id, behaviour FROM phone WHERE push_token = ?", token).fetchone()
        if row is not None:
            return TokenState(row["id"], Behaviour(row["behaviour"]))
        row = self._run("SELECT phone_id, gone_at FROM retired_token WHERE token = ?", token).fetchone()
        if row is not None:
            return TokenState(row["phone_id"], Behaviour.NORMAL, datetime.fromisoformat(row["gone_at"]))
        return None

    def store_push(self, phone_id: str, topic: str) -> None:
        """Keep a push until the phone has acted on it: one per topic, with how often it came."""
        statement = "INSERT INTO stored_push VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1"
        self._run(statement, phone_id, topic)

    def stored_pushes(self, phone_id: str) -> dict[str, int]:
        """Topic → count of the pushes that a phone has not acted on."""
        rows = self._run("SELECT topic, count FROM stored_push WHERE phone_id = ? ORDER BY topic", phone_id)
        return {row["topic"]: row["count"] for row in rows}

    def forget_push(self, phone_id: str, topic: str, count: int) -> None:
        """Forget a push, unless another came since ``count`` was read."""
        self._run("DELETE FROM stored_push WHERE phone_id = ? AND topic = ? AND count = ?", phone_id, topic, count)

    def phones_with_pushes(self) -> list[str]:
        """Phones within reach that have pushes to act on."""
        statement = "SELECT DISTINCT phone_id FROM stored_push JOIN phone ON id = phone_id WHERE NOT airplane"
        return [row["phone_id"] for row in self._run(statement)]

    # -- passes --

    def put_pass(self, phone: Phone, opened: OpenedPass, *, last_modified: str | None, now: datetime) -> InstalledPass:
        """Install a pass, or replace the one of the same type and serial."""
        document = opened.pass_json
        images = dict(opened.images)
        for language, files in opened.localized_images.items():
            images |= {f"{language}.lproj/{name}": data for name, data in files.items()}
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in images.items()}
        with self.transaction():
            for name, data in images.items():
                self._run("INSERT OR IGNORE INTO image VALUES (?, ?)", hashes[name], data)
            self._run(
                "INSERT INTO installed_pass (phone_id, pass_type_id, serial, pass_json, strings, images,"
                " last_modified, installed_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET pass_json = excluded.pass_json, strings = excluded.strings,"
                " images = excluded.images, last_modified = excluded.last_modified,"
                " updated_at = excluded.updated_at, updates = updates + 1",
                *(phone.id, document["passTypeIdentifier"], document["serialNumber"]),
                *(_json(document), _json(opened.strings), _json(hashes), last_modified),
                *(now.isoformat(), now.isoformat()),
            )
        return self.installed(phone.id, str(document["passTypeIdentifier"]), str(document["serialNumber"]))

    def installed(self, phone_id: str, pass_type_id: str, serial: str) -> InstalledPass:
        """One pass. Raises ``NotFoundError(unknown_pass)``."""
        found = self.find_installed(phone_id, pass_type_id, serial)
        if found is None:
            raise NotFoundError("unknown_pass", "there is no such pass on this phone")
        return found

    def find_installed(self, phone_id: str, pass_type_id: str, serial: str) -> InstalledPass | None:
        statement = "SELECT * FROM installed_pass WHERE phone_id = ? AND pass_type_id = ? AND serial = ?"
        row = self._run(statement, phone_id, pass_type_id, serial).fetchone()
        return _installed(row) if row is not None else None

    def passes(self, phone_id: str) -> list[InstalledPass]:
        """A phone's passes, the newest first."""
        statement = "SELECT * FROM installed_pass WHERE phone_id = ? ORDER BY installed_at DESC, serial"
        return [_installed(row) for row in self._run(statement, phone_id)]

    def change_pass(self, card: InstalledPass, **changes: str | int) -> None:
        """Set columns of a pass (the callers' own words, never input)."""
        assignments = ", ".join(f"{name} = ?" for name in changes)
        where = "phone_id = ? AND pass_type_id = ? AND serial = ?"
        statement = f"UPDATE installed_pass SET {assignments} WHERE {where}"  # noqa: S608
        self._run(statement, *changes.values(), card.phone_id, card.pass_type_id, card.serial)

    def remove_pass(self, card: InstalledPass) -> None:
        self._run(
            "DELETE FROM installed_pass WHERE phone_id = ? AND pass_type_id = ? AND serial = ?",
            *(card.phone_id, card.pass_type_id, card.serial),
        )

    def tag(self, phone_id: str, service: str, pass_type_id: str) -> str | None:
        """The last update tag that a server told the phone."""
        statement = "SELECT tag FROM update_tag WHERE phone_id = ? AND service = ? AND pass_type_id = ?"
        row = self._run(statement, phone_id, service, pass_type_id).fetchone()
        return str(row["tag"]) if row is not None else None

    def put_tag(self, phone_id: str, service: str, pass_type_id: str, tag: str) -> None:
        self._run("INSERT OR REPLACE INTO update_tag VALUES (?, ?, ?, ?)", phone_id, service, pass_type_id, tag)

    def image(self, sha256: str) -> bytes:
        """A picture by its hash. Raises ``NotFoundError(unknown_image)``."""
        row = self._run("SELECT data FROM image WHERE sha256 = ?", sha256).fetchone()
        if row is None:
            raise NotFoundError("unknown_image", "there is no such image")
        return bytes(row["data"])

    # -- diary and lock screen --

    def log(self, phone_id: str, kind: str, now: datetime, **details: Any) -> None:
        """Write a line into a phone's diary; the oldest make room."""
        cursor = self._run(
            "INSERT INTO event (phone_id, at, kind, details) VALUES (?, ?, ?, ?)",
            *(phone_id, now.isoformat(), kind, _json(details)),
        )
        if (cursor.lastrowid or 0) % 10 == 0:
            statement = (
                "DELETE FROM event WHERE phone_id = ? AND id <="
                " (SELECT id FROM event WHERE phone_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)"
            )
            self._run(statement, phone_id, phone_id, EVENTS_MAX)

    def events(self, phone_id: str, limit: int = 50) -> list[Event]:
        """The diary, newest first."""
        statement = "SELECT * FROM event WHERE phone_id = ? ORDER BY id DESC LIMIT ?"
        return [
            Event(row["id"], datetime.fromisoformat(row["at"]), row["kind"], json.loads(row["details"]))
            for row in self._run(statement, phone_id, limit)
        ]

    def show_banner(self, phone_id: str, *, wallet: str, card: str, title: str, text: str, now: datetime) -> None:
        """Put a message on the lock screen."""
        self._run(
            "INSERT INTO banner (phone_id, at, wallet, card, title, text) VALUES (?, ?, ?, ?, ?, ?)",
            *(phone_id, now.isoformat(), wallet, card, title, text),
        )

    def banners(self, phone_id: str, limit: int = BANNERS_MAX) -> list[Banner]:
        """The lock screen's messages, newest first."""
        statement = "SELECT * FROM banner WHERE phone_id = ? ORDER BY id DESC LIMIT ?"
        return [
            Banner(row["id"], datetime.fromisoformat(row["at"]), row["wallet"], row["card"], row["title"], row["text"])
            for row in self._run(statement, phone_id, limit)
        ]

    def clear_banners(self, phone_id: str) -> None:
        self._run("DELETE FROM banner WHERE phone_id = ?", phone_id)


def _open(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _VERSION):
        connection.close()
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
        connection, version = _connect(path), 0
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    # Control calls of a test may come from another thread than the one that made the store; never at once.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _phone(row: sqlite3.Row) -> Phone:
    return Phone(
        id=row["id"],
        name=row["name"],
        language=row["language"],
        time_zone=row["time_zone"],
        device_id=row["device_id"],
        push_token=row["push_token"],
        airplane=bool(row["airplane"]),
        behaviour=Behaviour(row["behaviour"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        checked_at=datetime.fromisoformat(row["checked_at"]),
    )


def _installed(row: sqlite3.Row) -> InstalledPass:
    return InstalledPass(
        phone_id=row["phone_id"],
        pass_type_id=row["pass_type_id"],
        serial=row["serial"],
        file=PassFile(json.loads(row["pass_json"]), json.loads(row["strings"])),
        images=json.loads(row["images"]),
        last_modified=row["last_modified"],
        automatic_updates=bool(row["automatic_updates"]),
        registered=bool(row["registered"]),
        installed_at=datetime.fromisoformat(row["installed_at"]),
        updated_at=datetime.fromisoformat(row["updated_at"]),
        updates=row["updates"],
    )


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
