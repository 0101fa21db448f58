"""A Google that keeps resources as the real one does, for a client that is given its transport."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote

import httpx

from tests.unit.passes.google_schema import faults

ROOT = "/walletobjects/v1/"


def error(status: int, reason: str, text: str = "because") -> httpx.Response:
    details = [{"message": text, "domain": "walletobjects", "reason": reason}]
    return httpx.Response(status, json={"error": {"code": status, "message": text, "errors": details}})


class FakeGoogle:
    """Keeps resources like Google; `script` holds answers or faults for the next calls of one path."""

    def __init__(self) -> None:
        self.resources: dict[str, dict] = {}
        self.calls: list[str] = []
        self.bodies: list[dict] = []
        self.tokens = 0
        self.assertions: list[str] = []
        self.script: list = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "token.example.com":
            form = parse_qs(request.content.decode())
            assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
            self.assertions.append(form["assertion"][0])
            if self.script and self.script[0][0] == "token":
                return self.script.pop(0)[1]
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"t{self.tokens}", "expires_in": 3600})
        path = unquote(request.url.path).removeprefix(ROOT)
        self.calls.append(f"{request.method} {path}")
        if request.headers["authorization"] != f"Bearer t{self.tokens}":
            return error(401, "authError")
        if self.script and self.script[0][0] == "before":
            return self._fault(self.script.pop(0)[1])
        answer = self._carry_out(request, path)
        if self.script and self.script[0][0] == "after":
            return self._fault(self.script.pop(0)[1])
        return answer

    def _fault(self, fault):
        if isinstance(fault, Exception):
            raise fault
        return fault

    def _carry_out(self, request: httpx.Request, path: str) -> httpx.Response:
        kind, _, rest = path.partition("/")
        body = json.loads(request.content or b"null")
        if request.method == "POST" and not rest:
            assert faults(kind[0].upper() + kind[1:], body) == []
            if body["id"] in self.resources:
                return error(409, "alreadyExists")
            self.resources[body["id"]] = body
            return httpx.Response(200, json=body)
        resource_id, _, verb = rest.partition("/")
        if resource_id not in self.resources:
            return error(404, "notFound")
        resource = self.resources[resource_id]
        if verb == "addMessage":
            assert faults("AddMessageRequest", body) == []
            resource.setdefault("messages", []).append(body["message"])
        elif request.method == "PATCH":
            self.bodies.append(body)
            merge(resource, body)
        return httpx.Response(200, json=resource)


def merge(resource: dict, changes: dict) -> None:
    """As Google does: objects are merged, lists replaced, null takes away."""
    for name, value in changes.items():
        if value is None:
            resource.pop(name, None)
        elif isinstance(value, dict) and isinstance(resource.get(name), dict):
            merge(resource[name], value)
        else:
            resource[name] = value
