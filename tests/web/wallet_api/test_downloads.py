"""The member's own download of the pass."""

from __future__ import annotations

import pytest

from tests.web.wallet_api.test_apple import fields, opened


def test_a_member_downloads_the_pass_of_the_own_program(client, holder, stranger, server):
    for member in (holder, stranger):
        answer = client.get(f"/passes/{member.page_token}.pkpass")
        assert answer.status_code == 200
        assert answer.content_type == "application/vnd.apple.pkpass"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{member.program.slug}.pkpass"'
        assert answer.headers["Cache-Control"] == "no-store, private"
        document = opened(server, answer.data).pass_json
        assert document["serialNumber"] == member.serial
        assert member.issued().fetched_version == 1
        assert "page" in fields(document)


def test_head_has_the_headers_only(client, holder):
    answer = client.head(f"/passes/{holder.page_token}.pkpass")
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.content_type == "application/vnd.apple.pkpass"
    assert holder.issued().fetched_version == 0


@pytest.mark.parametrize("token", ["x", "A" * 43, "%00", "..%2f..", "x" * 5000])
def test_a_wrong_address_leads_nowhere(client, holder, token):
    assert client.get(f"/passes/{token}.pkpass").status_code == 404


def test_a_revoked_address_leads_nowhere(client, holder, server):
    revoked = server.mint.page_token(holder.member_id, 1)
    assert client.get(f"/passes/{revoked}.pkpass").status_code == 404


def test_guessing_addresses_is_slowed_down(client, holder):
    codes = [client.get(f"/passes/{'A' * 43}.pkpass").status_code for _ in range(122)]
    assert codes == [404] * 120 + [429] * 2


def test_the_download_takes_no_other_method(client, holder):
    assert client.post(f"/passes/{holder.page_token}.pkpass").status_code == 405
