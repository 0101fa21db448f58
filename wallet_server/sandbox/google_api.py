"""The Google stand-in's doors: OAuth tokens, the REST API under ``/walletobjects/v1``, save links and root keys.

Sources: Google's discovery document of the Wallet Objects API;
developers.google.com/identity/protocols/oauth2/service-account (token requests and their errors).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from wallet_server.errors import DomainError
from wallet_server.sandbox.google import FIELDS, GoogleBehaviour, GoogleError, GoogleWallet
from wallet_server.sandbox.google_jwt import BadToken, verified_claims
from wallet_server.sandbox.wire import Request, Response, json_response

SCOPE: Final = "https://www.googleapis.com/auth/wallet_object.issuer"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_LIFETIME: Final = timedelta(hours=1)
PAGE_MAX: Final = 100
CLOCKS_DIFFER: Final = timedelta(minutes=5)


class GoogleApi:
    """Answers Google's addresses on the loopback."""

    def __init__(
        self,
        wallet: GoogleWallet,
        *,
        token_uri: str,
        public_url: str,
        keys: Callable[[], dict[str, Any]],
        machine_now: Callable[[], datetime],
    ) -> None:
        self._wallet = wallet
        self._token_uri = token_uri
        self._public_url = public_url
        self._keys = keys
        self._now = machine_now
        self._tokens: dict[str, datetime] = {}

    async def answer(self, request: Request) -> Response:
        """The answer to one request."""
        parts = request.parts
        if parts == ("token",):
            return self._token(request)
        if parts == ("gp", "m", "issuer", "keys") and request.method == "GET":
            return json_response(self._keys())
        if parts[:3] == ("gp", "v", "save") and len(parts) == 4 and request.method == "GET":
            # In life this page asks on which account to save; here the person picks a phone.
            link = quote(request.target, safe="")
            return Response(303, b"", {"location": f"{self._public_url}/sandbox/phones?save={link}"})
        try:
            if parts[:2] != ("walletobjects", "v1"):
                raise GoogleError(404, "notFound", "Not Found")
            self._authorize(request)
            return json_response(self._call(request, parts[2:]))
        except GoogleError as error:
            return _error(error)

    def _token(self, request: Request) -> Response:
        form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        if request.method != "POST" or form.get("grant_type") != GRANT:
            return _refused_token("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
        try:
            claims = verified_claims(form.get("assertion", ""), self._wallet.public_key)
            self._check_assertion(claims)
        except BadToken as error:
            return _refused_token("invalid_grant", f"Invalid JWT: {error}")
        if claims.get("scope") != SCOPE:
            return _refused_token("invalid_scope", f"Not a valid scope for this service account: {claims.get('scope')}")
        now = self._now()
        self._tokens = {token: end for token, end in self._tokens.items() if end > now}
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self._tokens[token] = now + TOKEN_LIFETIME
        lifetime = int(TOKEN_LIFETIME.total_seconds())
        return json_response({"access_token": token, "expires_in": lifetime, "token_type": "Bearer"})

    def _check_assertion(self, claims: dict[str, Any]) -> None:
        if claims.get("iss") != self._wallet.client_email:
            raise BadToken("iss is not the service account.")
        if claims.get("aud") != self._token_uri:
            raise BadToken("aud must be the token address.")
        issued, ends = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int | float) or not isinstance(ends, int | float):
            raise BadToken("iat and exp are required.")
        now, slack = self._now().timestamp(), CLOCKS_DIFFER.total_seconds()
        if not (issued - slack <= now <= ends + slack) or ends - issued > TOKEN_LIFETIME.total_seconds():
            raise BadToken("Token must be a short-lived token and in a reasonable timeframe.")

    def _authorize(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        end = self._tokens.get(token)
        if scheme.lower() != "bearer" or end is None or end <= self._now():
            raise GoogleError(401, "authError", "Request had invalid authentication credentials.")
        if self._wallet.behaviour is GoogleBehaviour.DOWN:
            raise GoogleError(503, "backendError", "The service is currently unavailable.")
        if self._wallet.behaviour is GoogleBehaviour.QUOTA:
            raise GoogleError(429, "rateLimitExceeded", "Quota exceeded for quota metric 'Requests'.")
        if self._wallet.behaviour is GoogleBehaviour.DENIED:
            raise GoogleError(403, "permissionDenied", "The caller does not have permission.")

    def _call(self, request: Request, parts: tuple[str, ...]) -> dict[str, Any]:
        kind, *rest = parts or ("",)
        if kind not in FIELDS:
            raise GoogleError(404, "notFound", "Not Found")  # paths are case-sensitive
        body = _body(request)
        match (request.method, rest):
            case ("POST", []):
                return self._wallet.insert(kind, body)
            case ("GET", []):
                return self._list(kind, request.query)
            case ("GET", [resource_id]):
                return self._wallet.get(kind, resource_id)
            case ("PATCH", [resource_id]):
                return self._wallet.patch(kind, resource_id, body)
            case ("PUT", [resource_id]):
                return self._wallet.update(kind, resource_id, body)
            case ("POST", [resource_id, "addMessage"]):
                return {"resource": self._wallet.add_message(kind, resource_id, body)}
            case _:
                raise GoogleError(404, "notFound", "Not Found")  # there is no DELETE anywhere

    def _list(self, kind: str, query: dict[str, str]) -> dict[str, Any]:
        owner = query.get("issuerId" if kind == "loyaltyClass" else "classId", "")
        if not owner:
            raise GoogleError(400, "invalid", "issuerId or classId is required.")
        limit = query.get("maxResults", str(PAGE_MAX))
        if not limit.isdecimal() or int(limit) < 1:
            raise GoogleError(400, "invalid", "Invalid maxResults.")
        resources, token = self._wallet.page(kind, owner, min(int(limit), PAGE_MAX), query.get("token", ""))
        pagination: dict[str, Any] = {"kind": "walletobjects#pagination", "resultsPerPage": len(resources)}
        if token is not None:
            pagination["nextPageToken"] = token
        return {"resources": resources, "pagination": pagination}


def _body(request: Request) -> dict[str, Any]:
    if request.method == "GET":
        return {}
    try:
        return request.json()
    except DomainError as error:
        raise GoogleError(400, "parseError", "Invalid JSON payload received.") from error


def _refused_token(error: str, description: str) -> Response:
    return json_response({"error": error, "error_description": description}, 400)


def _error(error: GoogleError) -> Response:
    detail = {"message": str(error), "domain": "walletobjects", "reason": error.reason}
    return json_response({"error": {"code": error.status, "message": str(error), "errors": [detail]}}, error.status)
