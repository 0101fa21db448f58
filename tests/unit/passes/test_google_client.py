from __future__ import annotations

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from google.auth import jwt

from passes.google.client import GoogleProblem, GoogleWallet, GoogleWalletError, MessageOutcome, TokenBucket
from passes.google.objects import message
from tests.unit.passes.fake_google import FakeGoogle, error

OBJECT_ID = "3388.card-1"


@pytest.fixture
def google() -> FakeGoogle:
    return FakeGoogle()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def wallet(google, account, waits):
    time = {"now": 1_790_000_000.0}

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        time["now"] += seconds

    with GoogleWallet(
        account,
        transport=httpx.MockTransport(google),
        clock=lambda: time["now"],
        monotonic=lambda: time["now"],
        sleep=sleep,
        jitter=lambda: 1.0,
    ) as client:
        client.time = time
        yield client


def body(**changes) -> dict:
    return {"id": OBJECT_ID, "classId": "3388.program", "state": "ACTIVE", **changes}


def problem(call) -> GoogleWalletError:
    with pytest.raises(GoogleWalletError) as caught:
        call()
    return caught.value


def note(message_id: str = "m1", notify: bool = True) -> dict:
    return message(message_id=message_id, header="News", text="Coffee", notify=notify)


# -- the token ---------------------------------------------------------------------------------------


def test_the_assertion_is_what_google_asks_for_and_the_token_is_kept(wallet, google, account_key):
    wallet.upsert_object(body())
    wallet.get_object(OBJECT_ID)
    assert google.tokens == 1
    public = account_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = jwt.decode(google.assertions[0], certs=public, verify=False)
    assert claims == {
        "iss": "wallet@example.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/wallet_object.issuer",
        "aud": "https://token.example.com/token",
        "iat": 1_790_000_000,
        "exp": 1_790_003_600,
    }


def test_the_token_is_renewed_before_it_ends_and_once_when_it_is_refused(wallet, google):
    wallet.upsert_object(body())
    wallet.time["now"] += 3550
    wallet.get_object(OBJECT_ID)
    assert google.tokens == 2
    google.tokens = 7  # the token that the client holds is no longer good
    google.resources[OBJECT_ID]["accountId"] = "5"
    assert wallet.get_object(OBJECT_ID)["accountId"] == "5"
    assert google.tokens == 8


def test_a_token_that_is_always_refused_is_a_matter_of_permission(wallet, google):
    google.script = [("before", error(401, "authError")), ("before", error(401, "authError"))]
    assert problem(lambda: wallet.get_object(OBJECT_ID)).problem is GoogleProblem.PERMISSION


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), GoogleProblem.PERMISSION),
        (httpx.Response(200, json={"nothing": 1}), GoogleProblem.PERMISSION),
        (httpx.Response(200, text="<html>"), GoogleProblem.PERMISSION),
        (httpx.Response(503), GoogleProblem.RETRY_LATER),
    ],
)
def test_no_token_says_why(wallet, google, answer, kind):
    google.script = [("token", answer)]
    assert problem(lambda: wallet.get_object(OBJECT_ID)).problem is kind


# -- writing -----------------------------------------------------------------------------------------


def test_an_object_is_created_and_then_brought_up_to_date(wallet, google):
    wallet.upsert_object(body(accountId="1"))
    assert wallet.upsert_object(body(accountId="2"))["accountId"] == "2"
    one = f"loyaltyObject/{OBJECT_ID}"
    assert google.calls == ["POST loyaltyObject", "POST loyaltyObject", f"GET {one}", f"PATCH {one}"]


def test_an_object_that_is_there_and_right_is_left_alone(wallet, google):
    """Our own lost answer: a second write would ring the phone again."""
    google.script = [("after", httpx.ReadTimeout("slow"))]
    made = wallet.upsert_object(body(accountId="1", notifyPreference="NOTIFY_ON_UPDATE"))
    assert made["accountId"] == "1"
    assert [call.split()[0] for call in google.calls] == ["POST", "POST", "GET"]


def test_only_what_differs_is_patched(wallet, google):
    texts = [{"id": "tier", "header": "Tier", "body": "Gold"}]
    google.resources[OBJECT_ID] = {**body(accountId="1", textModulesData=texts), "messages": [{"id": "m1"}]}
    wallet.upsert_object(body(accountId="2", textModulesData=texts))
    assert google.bodies[-1] == {"accountId": "2"}
    assert google.resources[OBJECT_ID]["messages"] == [{"id": "m1"}]


@pytest.mark.parametrize("exists", [True, False])
def test_what_is_no_longer_said_is_taken_away(wallet, google, exists):
    """PATCH merges: the name of somebody who wants to be forgotten would stay on the card."""
    google.resources[OBJECT_ID] = body(accountName="Ana", barcode={"type": "QR_CODE", "value": "1"})
    wallet.upsert_object(body(state="INACTIVE"), exists=exists)
    assert google.resources[OBJECT_ID] == body(state="INACTIVE")


@pytest.mark.parametrize("exists", [True, False])
def test_nothing_stays_within_a_part_that_is_said_anew(wallet, google, exists):
    """A balance has exactly one form: one that outgrows 32 bits would stand beside its older self and be refused."""
    google.resources[OBJECT_ID] = body(
        barcode={"type": "QR_CODE", "value": "é", "alternateText": "1", "renderEncoding": "UTF_8"},
        loyaltyPoints={"label": "Points", "localizedLabel": {"defaultValue": {}}, "balance": {"int": 2_000_000_000}},
    )
    now = body(
        barcode={"type": "QR_CODE", "value": "1"},
        loyaltyPoints={"label": "Points", "balance": {"string": "3000000000"}},
    )
    wallet.upsert_object(now, exists=exists)
    assert google.resources[OBJECT_ID] == now


def test_a_program_with_a_new_name_loses_the_translations_of_the_old_one(wallet, google):
    card = {"id": "3388.program", "issuerName": "A", "programName": "B", "reviewStatus": "UNDER_REVIEW"}
    old = {"defaultValue": {"language": "en", "value": "A"}}
    google.resources["3388.program"] = {**card, "localizedIssuerName": old, "localizedProgramName": old}
    wallet.upsert_class(card)
    assert google.resources["3388.program"] == card


def test_a_class_asks_for_review_with_every_change(wallet, google):
    card = {"id": "3388.program", "issuerName": "A", "programName": "B", "reviewStatus": "UNDER_REVIEW"}
    google.resources["3388.program"] = {**card, "reviewStatus": "APPROVED"}
    wallet.upsert_class(card)
    assert google.calls[-1].startswith("GET"), "Google's own word about the review is no reason to write"
    wallet.upsert_class({**card, "programName": "C"})
    assert google.bodies[-1] == {"programName": "C", "reviewStatus": "UNDER_REVIEW"}


def test_an_object_that_is_known_to_exist_is_patched_and_created_if_it_does_not(wallet, google):
    wallet.upsert_object(body(), exists=True)
    assert google.calls == [f"PATCH loyaltyObject/{OBJECT_ID}", "POST loyaltyObject"]
    wallet.upsert_object(body(), exists=True)
    assert google.calls[2:] == [f"PATCH loyaltyObject/{OBJECT_ID}"]


def test_a_race_for_the_creation_is_won_by_whoever(wallet, google):
    google.script = [("before", error(404, "notFound")), ("before", error(409, "alreadyExists"))]
    google.resources[OBJECT_ID] = body()
    assert wallet.upsert_object(body(accountId="3"), exists=True)["accountId"] == "3"
    assert [call.split()[0] for call in google.calls] == ["PATCH", "POST", "GET", "PATCH"]


def test_an_object_without_its_class_is_not_created_again_and_again(wallet, google):
    google.script = [("before", error(404, "classNotFound"))]
    assert problem(lambda: wallet.upsert_object(body())).problem is GoogleProblem.NOT_FOUND
    assert len(google.calls) == 1


def test_a_class_is_written_in_the_same_way(wallet, google):
    card = {"id": "3388.program", "issuerName": "A", "programName": "B", "reviewStatus": "UNDER_REVIEW"}
    wallet.upsert_class(card)
    assert wallet.get_class("3388.program")["programName"] == "B"
    assert google.calls[0] == "POST loyaltyClass"


def test_a_patch_merges(wallet, google):
    wallet.upsert_object(body(accountId="1"))
    assert wallet.patch_object(OBJECT_ID, {"state": "INACTIVE"})["accountId"] == "1"


@pytest.mark.parametrize(
    "fault",
    [
        error(503, "backendError"),
        error(500, ""),
        error(429, "rateLimitExceeded"),
        error(403, "rateLimitExceeded"),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_write_that_may_be_repeated_is_repeated(wallet, google, waits, fault, when):
    google.script = [(when, fault)]
    wallet.upsert_object(body(accountId="9"))
    assert google.resources[OBJECT_ID]["accountId"] == "9"
    assert waits == [0.5]


def test_repeating_ends_and_waits_longer_each_time(wallet, google, waits):
    google.script = [("before", error(503, "backendError"))] * 4
    assert problem(lambda: wallet.get_object(OBJECT_ID)).problem is GoogleProblem.RETRY_LATER
    assert len(google.calls) == 4
    assert waits == [0.5, 1.0, 2.0]


def test_google_s_own_wish_to_wait_is_granted_within_reason(wallet, google, waits):
    answer = error(429, "rateLimitExceeded")
    for seconds in ("7", "9999"):
        google.script.append(("before", httpx.Response(429, headers={"retry-after": seconds}, content=answer.content)))
    google.resources[OBJECT_ID] = body()
    wallet.get_object(OBJECT_ID)
    assert waits == [7.0, 20.0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(403, "permissionDenied"), GoogleProblem.PERMISSION),
        (error(403, "quotaExceeded"), GoogleProblem.QUOTA),
        (error(400, "invalidResource"), GoogleProblem.INVALID),
        (error(404, "notFound"), GoogleProblem.NOT_FOUND),
        (error(403, "dailyLimitExceeded"), GoogleProblem.QUOTA),
        (error(403, "forbidden"), GoogleProblem.PERMISSION),
        (error(409, "alreadyExists"), GoogleProblem.CONFLICT),
        (httpx.Response(403, text="<html>"), GoogleProblem.PERMISSION),
        (httpx.Response(302, headers={"location": "https://x"}), GoogleProblem.INVALID),
    ],
)
def test_errors_are_told_apart_by_their_reason(wallet, google, answer, kind):
    google.script = [("before", answer)]
    caught = problem(lambda: wallet.get_object(OBJECT_ID))
    assert (caught.problem, caught.status) == (kind, answer.status_code)
    assert len(google.calls) == 1


def test_a_reason_in_the_newer_form_is_read_too(wallet, google, waits):
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED"}
    newer = {"error": {"code": 403, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": [{}, info]}}
    google.resources[OBJECT_ID] = body()
    google.script = [("before", httpx.Response(403, json=newer))]
    wallet.get_object(OBJECT_ID)
    assert waits == [0.5]


def test_an_endless_answer_is_cut_off(wallet, google):
    google.script = [("before", httpx.Response(200, content=b"x" * 1_100_000))] * 4
    assert problem(lambda: wallet.get_object(OBJECT_ID)).problem is GoogleProblem.RETRY_LATER


def test_an_id_cannot_leave_its_path(wallet, google):
    problem(lambda: wallet.get_object("../issuer/1"))
    assert google.calls == ["GET loyaltyObject/../issuer/1"]  # decoded by the fake: it came as %2F


# -- messages ----------------------------------------------------------------------------------------


def messages(google) -> list[tuple[str, str]]:
    return [(item["id"], item["messageType"]) for item in google.resources[OBJECT_ID].get("messages", [])]


def test_a_message_is_added_once(wallet, google):
    google.resources[OBJECT_ID] = body()
    assert wallet.add_message(OBJECT_ID, note()) is MessageOutcome.NOTIFIED
    assert wallet.add_message(OBJECT_ID, note("m2", notify=False)) is MessageOutcome.SILENT
    assert messages(google) == [("m1", "TEXT_AND_NOTIFY"), ("m2", "TEXT")]


@pytest.mark.parametrize(
    "fault", [httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut"), error(502, "backendError")]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_open_question_is_answered_by_looking(wallet, google, fault, when):
    """Whether the lost answer belonged to a message that arrived or not: in the end it is there once."""
    google.resources[OBJECT_ID] = body()
    google.script = [(when, fault)]
    assert wallet.add_message(OBJECT_ID, note()) is MessageOutcome.NOTIFIED
    assert messages(google) == [("m1", "TEXT_AND_NOTIFY")]


def test_a_refused_connection_is_no_open_question(wallet, google):
    google.resources[OBJECT_ID] = body()
    google.script = [("before", httpx.ConnectError("refused"))]
    wallet.add_message(OBJECT_ID, note())
    assert [call.split("/")[-1] for call in google.calls] == ["addMessage", "addMessage"]


def test_a_question_that_stays_open_is_said_and_can_be_taken_up_later(wallet, google):
    google.resources[OBJECT_ID] = body()
    google.script = [
        ("after", httpx.ReadTimeout("slow")),
        *[("before", httpx.ReadTimeout("slow"))] * 4,
    ]
    assert problem(lambda: wallet.add_message(OBJECT_ID, note())).problem is GoogleProblem.RETRY_LATER
    assert wallet.add_message(OBJECT_ID, note(), check_first=True) is MessageOutcome.NOTIFIED
    assert messages(google) == [("m1", "TEXT_AND_NOTIFY")]


def test_a_used_up_quota_turns_a_notice_into_a_text(wallet, google):
    google.resources[OBJECT_ID] = body()
    google.script = [("before", error(403, "quotaExceeded"))]
    assert wallet.add_message(OBJECT_ID, note()) is MessageOutcome.SILENT
    assert messages(google) == [("m1", "TEXT")]


def test_a_quota_that_even_a_text_exceeds_is_said(wallet, google):
    google.resources[OBJECT_ID] = body()
    google.script = [("before", error(403, "quotaExceeded"))]
    assert problem(lambda: wallet.add_message(OBJECT_ID, note(notify=False))).problem is GoogleProblem.QUOTA


def test_a_missing_card_takes_no_message(wallet):
    assert problem(lambda: wallet.add_message(OBJECT_ID, note())).problem is GoogleProblem.NOT_FOUND


# -- pace --------------------------------------------------------------------------------------------


def test_no_more_than_twenty_requests_a_second(wallet, google, waits):
    google.resources[OBJECT_ID] = body()
    for _call in range(120):
        wallet.get_object(OBJECT_ID)
    assert sum(waits) == pytest.approx((120 - 20) / 20)


def test_an_idle_bucket_fills_to_one_second_s_worth_and_no_more():
    now = [0.0]
    waits: list[float] = []
    bucket = TokenBucket(10, monotonic=lambda: now[0], sleep=waits.append)
    now[0] = 100.0
    for _call in range(10):
        bucket.take()
    assert waits == []
    bucket.take()
    assert waits == [pytest.approx(0.1)]


def test_a_pace_that_is_shared_takes_the_place_of_our_own(google, account):
    taken = []

    class Shared:
        def take(self) -> None:
            taken.append(len(google.calls))
            if len(taken) == 3:
                raise GoogleWalletError(GoogleProblem.RETRY_LATER, 0, "pace", "others are before us")

    google.resources[OBJECT_ID] = body()
    with GoogleWallet(account, transport=httpx.MockTransport(google), pace=Shared()) as client:
        client.get_object(OBJECT_ID)
        client.get_object(OBJECT_ID)
        assert problem(lambda: client.add_message(OBJECT_ID, note())).reason == "pace"
    assert taken == [0, 1, 2]
    assert len(google.calls) == 2, "a call went out that the pace had forbidden"
