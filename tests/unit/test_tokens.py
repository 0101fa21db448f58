"""Tokens are derived, differ by purpose and generation, and are not guessable from ids."""

from __future__ import annotations

from uuid import UUID

from wallet_server.db import new_id
from wallet_server.tokens import TokenMint, fingerprint, new_secret

KEY = "0123456789abcdefghijklmnopqrstuvwxyz-test"


def test_an_authentication_token_is_the_same_every_time_and_long_enough() -> None:
    pass_id = new_id()
    token = TokenMint(KEY).authentication_token(pass_id)
    assert token == TokenMint(KEY).authentication_token(pass_id)
    assert len(token) == 43
    assert TokenMint(KEY).is_authentication_token(token, pass_id)


def test_tokens_differ_by_id_key_generation_and_purpose() -> None:
    mint, id_ = TokenMint(KEY), new_id()
    tokens = {
        mint.authentication_token(id_),
        mint.authentication_token(id_, generation=1),
        mint.authentication_token(new_id()),
        TokenMint(KEY + "x").authentication_token(id_),
        mint.page_token(id_),
        mint.page_token(id_, generation=1),
    }
    assert len(tokens) == 6
    assert not mint.is_authentication_token(mint.authentication_token(id_), id_, generation=1)


def test_a_page_token_names_its_member_and_cannot_be_altered() -> None:
    mint, member_id = TokenMint(KEY), UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    token = mint.page_token(member_id)
    assert mint.member_of_page_token(token) == member_id
    assert mint.is_page_token(token, member_id)
    for index in range(0, len(token), 5):
        altered = token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]
        claimed = mint.member_of_page_token(altered)
        assert claimed is None or not mint.is_page_token(altered, claimed)


def test_a_malformed_page_token_names_nobody() -> None:
    mint = TokenMint(KEY)
    for token in ("", "x", "not base64 at all!", "ж" * 43, "A" * 42, "A" * 44):
        assert mint.member_of_page_token(token) is None


def test_secrets_are_random_and_their_fingerprints_are_not_the_secret() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(secret) == 43 for secret in secrets)
    assert len(fingerprint(KEY)) == 64
