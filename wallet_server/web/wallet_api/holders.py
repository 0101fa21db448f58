"""Who holds a pass: Apple's ``Authorization: ApplePass <token>``, checked with one indexed read."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from wallet_server.context import ServerContext
from wallet_server.issuance.headers import PassHeader, pass_header

SCHEME: Final = "applepass"
_NOBODY: Final = UUID(int=0)


def held_pass(context: ServerContext, authorization: str, pass_type: str, serial: str) -> PassHeader | None:
    """The pass that the caller proves to hold, or ``None``.

    A wrong token, an unknown serial number and another kind of pass are one and the same, and take the same time:
    what exists is nobody's business.
    """
    scheme, _, token = authorization.partition(" ")
    header = pass_header(context.engine, serial)
    holder, generation = (header.id, header.token_generation) if header else (_NOBODY, 0)
    right = context.mint.is_authentication_token(token.strip(), holder, generation)
    if header is None or not right or scheme.lower() != SCHEME:
        return None
    return header if pass_type == context.wallets.signer_of(header.program_id).pass_type_id else None
