"""Ask Google whether it knows us: the token, the issuer, the program's class, and the way back.

The class that is written is the one that the server itself would write with the first card, so the check
leaves nothing at Google that would not be there anyway. Sources: developers.google.com/wallet/retail/
loyalty-cards/getting-started (account, issuer, API), and the errors that Google was seen to give.
"""

from __future__ import annotations

from typing import Final

import httpx

from passes.google.client import GoogleProblem, GoogleWallet, GoogleWalletError
from passes.google.parts import resource_id
from wallet_server.doctor.findings import Finding, broken, good, note
from wallet_server.issuance.credentials import GoogleParameters
from wallet_server.issuance.google import class_suffix, program_class
from wallet_server.programs.definition import ProgramDefinition

TIMEOUT_S: Final = 10.0
PART: Final = "Google"
CONSOLE: Final = "https://pay.google.com/business/console"
PROBE: Final = "wallet-server-check"
"""The name of a class that nobody makes: asking for it tells whether we may ask."""
_TOKEN_REASONS: Final = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "token"})


def check_google(
    parameters: GoogleParameters,
    program: ProgramDefinition | None,
    *,
    public_url: str,
    transport: httpx.BaseTransport | None = None,
) -> list[Finding]:
    """What Google says, step by step; the first that is broken ends the questions to Google."""
    with GoogleWallet(
        parameters.account, api_url=parameters.api_url, timeout_seconds=TIMEOUT_S, attempts_max=2, transport=transport
    ) as client:
        found = [_may_read(client, parameters, program)]
        if not found[0].cure and program is not None:
            found.append(_may_write(client, parameters, program, public_url))
    if program is None and not found[0].cure:
        found.append(
            note(PART, "No class was written: there is no program to write one of.", "Say --program, or make one.")
        )
    return [*found, _way_back(public_url, transport)]


def _may_read(client: GoogleWallet, parameters: GoogleParameters, program: ProgramDefinition | None) -> Finding:
    name = class_suffix(program) if program else PROBE
    try:
        client.get_class(resource_id(parameters.issuer_id, name))
    except GoogleWalletError as error:
        if error.problem is not GoogleProblem.NOT_FOUND:
            return _explained(error, parameters)
    return good(PART, f"{parameters.account.email} gets a token, and may read of issuer {parameters.issuer_id}.")


def _may_write(
    client: GoogleWallet, parameters: GoogleParameters, program: ProgramDefinition, public_url: str
) -> Finding:
    body = program_class(program, issuer_id=parameters.issuer_id, public_url=public_url, places=parameters.places)
    try:
        client.upsert_class(body)
    except GoogleWalletError as error:
        return _explained(error, parameters)
    return good(PART, f"The class of {program.slug} is written ({body['id']}).")


def _explained(error: GoogleWalletError, parameters: GoogleParameters) -> Finding:
    """What an error of Google's means, and the cure."""
    said = str(error).removeprefix("Google Wallet: ")
    account, text = parameters.account.email, said.lower()
    if error.reason in _TOKEN_REASONS:
        if "reasonable timeframe" in text or "short-lived" in text:
            return broken(PART, f"Google refuses our clock: {said}.", "Set this machine's clock by a time service.")
        if "signature" in text or "not found" in text or error.reason == "invalid_client":
            return broken(
                PART,
                f"Google does not know the key of {account}: {said}.",
                "Make a new key (IAM, Service accounts, Keys) and run `wallet-server google import-account`.",
            )
        return broken(
            PART, f"{account} gets no token: {said}.", "See in Google's console that the account is not disabled."
        )
    if error.problem is GoogleProblem.RETRY_LATER:
        return broken(
            PART,
            f"{parameters.api_url} does not answer: {said}.",
            "Let this machine connect to it over https, or ask again later.",
        )
    if "accessnotconfigured" in error.reason.lower() or "has not been used" in text or "disabled" in text:
        return broken(
            PART,
            f"The Google Wallet API is not enabled in the account's project: {said}.",
            "Enable it: Google Cloud console, APIs & Services, Google Wallet API.",
        )
    if error.problem is GoogleProblem.PERMISSION:
        return broken(
            PART,
            f"{account} may not act for issuer {parameters.issuer_id}: {said}.",
            f"Invite {account} at {CONSOLE} (Users, as Developer), and see that the issuer id is right.",
        )
    if error.problem is GoogleProblem.QUOTA:
        return broken(PART, f"Today's quota is used up: {said}.", "Ask again tomorrow, or ask Google for more.")
    if "merchant locations" in text:
        return broken(
            PART,
            f"Google does not let issuer {parameters.issuer_id} tell where outlets are: {said}.",
            "Ask the support of Google Wallet for it, and set WALLET_GOOGLE_PLACES only then.",
        )
    return broken(
        PART,
        f"Google does not accept it: {said}.",
        "See that the issuer id is the number in Google's console, and the pictures' address is public.",
    )


def _way_back(public_url: str, transport: httpx.BaseTransport | None) -> Finding:
    """Whether Google can tell us of saves and deletions; the address answers 405 to whoever only looks."""
    url = f"{public_url}/google/callbacks"
    if not url.startswith("https://"):
        return note(
            PART, f"Google calls back over https only, not {url}: saves are not heard of.", "Set WALLET_PUBLIC_URL."
        )
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, transport=transport) as http:
            status = http.get(url).status_code
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        return broken(PART, f"{url} does not answer: {reason}.", "See `wallet-server doctor` on the address.")
    if status != httpx.codes.METHOD_NOT_ALLOWED:
        return broken(
            PART,
            f"{url} is answered by somebody else (status {status}).",
            "Let the reverse proxy pass every path on to this server.",
        )
    return good(PART, f"{url} is there for Google's notices.")
