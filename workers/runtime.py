"""What a worker process holds: the server's context and one open line to each wallet."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

import structlog

from passes.apple.provider_token import ProviderKeyProblem, ProviderToken
from passes.apple.push import ApnsSender
from passes.apple.push_outcome import PushOutcome
from passes.apple.signing import Signer
from wallet_server.context import ServerContext
from wallet_server.errors import ConfigurationError
from wallet_server.issuance.content import CardState
from wallet_server.issuance.google import CardMessage, GoogleCards
from wallet_server.issuance.pace import SharedPace
from wallet_server.mail.letters import Letter
from wallet_server.mail.sender import MailSender, MailServer
from wallet_server.mail.sender import Outcome as MailOutcome
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.webhooks.address import address_policy
from wallet_server.webhooks.deliveries import Line, Outcome
from wallet_server.webhooks.sender import WebhookSender


class Pusher(Protocol):
    """Apple's push service, seen from here: :class:`passes.apple.push.ApnsSender`, or a test's own."""

    def push(self, tokens: Sequence[str], *, deadline_seconds: float = ...) -> list[PushOutcome]:
        """Push to every token; one outcome for each."""

    def close(self) -> None:
        """Close the connection."""


class Google(Protocol):
    """Google Wallet, seen from here: :class:`wallet_server.issuance.google.GoogleCards`, or a test's own."""

    def put(
        self,
        program: ProgramDefinition,
        state: CardState,
        *,
        page_url: str,
        notify: bool = False,
        messages: Sequence[CardMessage] = (),
    ) -> Mapping[str, bool]:
        """Bring one card at Google to this state, and add messages; whether each of them notifies."""

    def close(self) -> None:
        """Close the connection."""


class Webhooks(Protocol):
    """Those who listen, seen from here: :class:`wallet_server.webhooks.sender.WebhookSender`."""

    def send(self, lines: Sequence[Line], *, begin_within_s: float) -> Mapping[Line, Sequence[Outcome]]:
        """Send each line up to its first failure."""

    def close(self) -> None:
        """Close the connections."""


class MailLine(Protocol):
    """The mail server, seen from here: :class:`wallet_server.mail.sender.MailSender`."""

    def send(self, letter: Letter, hand_over: Callable[[], bool]) -> MailOutcome:
        """Hand in one mail; ``hand_over`` is asked right before the end of its text."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """One worker process. ``chance`` spreads retries; it decides nothing else."""

    context: ServerContext
    pusher: Pusher
    google: Google | None
    webhooks: Webhooks
    mail: MailLine | None = None
    chance: random.Random = field(default_factory=random.Random)
    program_pushers: Mapping[UUID, Pusher] = field(default_factory=dict)
    """Lines of programs with a pass type of their own: certificate and topic are another's there."""
    push_key: bytes | None = field(default=None, repr=False)
    """The team's push key as it was read last: its file may be gone when a line has to be made anew."""

    def close(self) -> None:
        """Hang up."""
        for pusher in (self.pusher, *self.program_pushers.values()):
            pusher.close()
        if self.google is not None:
            self.google.close()
        self.webhooks.close()
        self.context.engine.dispose()


class RuntimeKeeper:
    """A worker's runtime, whose lines follow the keys that are imported. For one thread.

    Keys with which no lines can be made leave everything as it was: the lines in use still work.
    """

    def __init__(self, runtime: Runtime, current: Callable[[], ServerContext]) -> None:
        self._runtime = runtime
        self._current = current
        self._refused: ServerContext | None = None

    def __call__(self) -> Runtime:
        """The runtime to do the next work with; lines whose keys were replaced are hung up and made anew."""
        context = self._current()
        if context is not self._runtime.context and context is not self._refused:
            try:
                self._runtime = _renewed(self._runtime, context)
            except ConfigurationError as error:
                self._refused = context
                structlog.get_logger().error("no lines can be made with the keys: those before stay", error=str(error))
        return self._runtime

    def close(self) -> None:
        """Hang up."""
        self._runtime.close()


def make_runtime(context: ServerContext) -> Runtime:
    """Prepare the lines to the wallets; nothing is sent before the first push.

    Raises :class:`ConfigurationError` for an address that cannot be one of a push service.
    """
    key = _read_push_key(context)
    own = {program_id: _pusher(context, signer, key) for program_id, signer in context.wallets.programs.items()}
    return Runtime(
        context=context,
        pusher=_pusher(context, context.wallets.signer, key),
        google=_google(context),
        webhooks=make_webhooks(context),
        mail=make_mail(context),
        program_pushers=own,
        push_key=key,
    )


def _renewed(runtime: Runtime, context: ServerContext) -> Runtime:
    """The runtime with these keys: lines whose keys are the same stay open."""
    before, now = runtime.context.wallets, context.wallets
    key = _push_key_again(runtime, context)
    # New ones first: whatever is wrong with a key must not leave a worker without any line.
    own = {
        program_id: runtime.program_pushers[program_id]
        if _is_same(before.programs.get(program_id), signer) and program_id in runtime.program_pushers
        else _pusher(context, signer, key)
        for program_id, signer in now.programs.items()
    }
    pusher = runtime.pusher if _is_same(before.signer, now.signer) else _pusher(context, now.signer, key)
    google = runtime.google if before.google == now.google else _google(context)
    kept = {id(line) for line in (pusher, google, *own.values())}
    for line in (runtime.pusher, runtime.google, *runtime.program_pushers.values()):
        if line is not None and id(line) not in kept:
            line.close()
    return replace(runtime, context=context, pusher=pusher, google=google, program_pushers=own, push_key=key)


def _is_same(before: Signer | None, now: Signer) -> bool:
    return before is not None and before.fingerprint == now.fingerprint


def _google(context: ServerContext) -> GoogleCards | None:
    parameters = context.wallets.google
    if parameters is None:
        return None
    pace = SharedPace(context.engine, parameters.issuer_id)
    return GoogleCards(parameters, public_url=context.settings.public_url, pace=pace)


def _pusher(context: ServerContext, signer: Signer, push_key: bytes | None) -> ApnsSender:
    """The line to Apple's push service for one pass type: by the team's push key if there is one."""
    token = None if push_key is None else _provider_token(context, signer, push_key)
    try:
        return ApnsSender(
            context.wallets.apns.url,
            certificate_pem=b"" if token else signer.client_certificate_pem(),
            key_pem=b"" if token else signer.client_key_pem(),
            provider_token=token,
            topic=signer.pass_type_id,
            ca_file=context.wallets.apns.ca_file,
        )
    except ValueError as error:
        raise ConfigurationError(f"WALLET_APNS_URL: {error}") from error


def _read_push_key(context: ServerContext) -> bytes | None:
    """The file of the team's push key; ``None`` where none is set. Raises :class:`ConfigurationError`."""
    path = context.settings.WALLET_APNS_KEY_FILE
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"WALLET_APNS_KEY_FILE: {path}: {error.strerror}") from error


def _push_key_again(runtime: Runtime, context: ServerContext) -> bytes | None:
    """The push key read anew; the one in memory where the file is gone or spoilt, which ``/metrics`` tells of."""
    try:
        key = _read_push_key(context)
        if key is not None:
            _provider_token(context, context.wallets.signer, key)
    except ConfigurationError as error:
        if runtime.push_key is None:
            raise
        structlog.get_logger().error("the push key cannot be read: the one in memory stays", error=str(error))
        return runtime.push_key
    return key


def _provider_token(context: ServerContext, signer: Signer, push_key: bytes) -> ProviderToken:
    try:
        return ProviderToken.load(push_key, key_id=context.settings.WALLET_APNS_KEY_ID, team_id=signer.team_id)
    except ProviderKeyProblem as problem:
        raise ConfigurationError(f"WALLET_APNS_KEY_FILE: {problem}") from problem


def make_webhooks(context: ServerContext) -> WebhookSender:
    """The line to those who listen; nothing is opened yet."""
    return WebhookSender(
        context.mint,
        address_policy(context.settings),
        clock=context.clock,
        machine_clock=context.machine_clock,
    )


def make_mail(context: ServerContext) -> MailSender | None:
    """The line to the mail server; nothing is opened yet. ``None`` where none is set."""
    server = MailServer.of(context.settings)
    return MailSender(server, name=context.settings.WALLET_MAIL_FROM.rpartition("@")[2]) if server else None
