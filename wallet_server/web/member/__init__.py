"""The door of the member: a page at a secret address, without a password."""

from __future__ import annotations

from wallet_server.web.member.pages import blueprint

__all__ = ["blueprint"]
