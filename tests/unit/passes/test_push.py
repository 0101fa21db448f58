from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from passes.apple.push import TOKENS_MAX
from passes.apple.push_outcome import PushVerdict, verdict_of
from tests.tools import require_tool
from tests.unit.passes.apns_faults import OK, FaultyApns, misconfigured, sender, tokens, verdicts
from tests.unit.passes.cards import PASS_TYPE_ID

# -- against a server that nobody here wrote ---------------------------------------------------------


@pytest.fixture
def nghttpd(apns_files, tmp_path):
    """HTTP/2 with client certificates and three streams at a time; a file per token it knows."""
    devices = tmp_path / "3" / "device"
    devices.mkdir(parents=True)
    for token in tokens(200):
        (devices / token).write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            require_tool("nghttpd"),
            "--verify-client",
            "--max-concurrent-streams=3",
            "--address=127.0.0.1",
            f"--htdocs={tmp_path}",
            str(port),
            str(apns_files / "server_key"),
            str(apns_files / "server_certificate"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _attempt in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "nghttpd did not start"
            time.sleep(0.05)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_nghttpd_gets_every_push_though_it_takes_three_at_a_time(nghttpd, apns_files):
    with sender(nghttpd, apns_files) as apns:
        first = apns.push(tokens(200))
        again = apns.push(tokens(5))
    assert [outcome.token for outcome in first] == tokens(200)
    assert verdicts(first) == {PushVerdict.ACCEPTED: 200}
    assert verdicts(again) == {PushVerdict.ACCEPTED: 5}


def test_an_unknown_path_is_our_own_fault(nghttpd, apns_files):
    with sender(nghttpd, apns_files) as apns:
        (outcome,) = apns.push(["ff"])
    assert (outcome.status, outcome.verdict) == (404, PushVerdict.CONFIGURATION)


# -- answers ------------------------------------------------------------------------------------------


def test_a_push_has_the_headers_of_a_wallet_push(tls, apns_files):
    with FaultyApns(tls, lambda token, times: OK) as server, sender(server.url, apns_files) as apns:
        apns.push(["ab12"])
    (fields,) = server.headers
    assert fields[":method"] == "POST"
    assert fields[":path"] == "/3/device/ab12"
    assert fields["apns-topic"] == PASS_TYPE_ID
    assert fields["apns-push-type"] == "background"
    assert fields["apns-priority"] == "5"
    assert fields["content-type"] == "application/json"
    assert "apns-id" not in fields, "APNs makes one itself"
    assert "apns-expiration" not in fields
    assert not fields.keys() & {"expect", "accept", "user-agent"}, "what APNs does not ask for costs every push"


def test_each_token_gets_its_own_verdict(tls, apns_files):
    moment = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    answers = {
        "a0": OK,
        "a1": (410, {"reason": "Unregistered", "timestamp": int(moment.timestamp() * 1000)}),
        "a2": (400, {"reason": "BadDeviceToken"}),
        "a3": (429, {"reason": "TooManyRequests"}),
        "a4": (503, {"reason": "ServiceUnavailable"}),
        "a5": (410, {"reason": "ExpiredToken", "timestamp": "tomorrow"}),
    }
    with FaultyApns(tls, lambda token, times: answers[token]) as server, sender(server.url, apns_files) as apns:
        outcomes = apns.push(list(answers))
    assert [(o.token, o.status, o.reason, o.timestamp, o.verdict) for o in outcomes] == [
        ("a0", 200, "", None, PushVerdict.ACCEPTED),
        ("a1", 410, "Unregistered", moment, PushVerdict.GONE),
        ("a2", 400, "BadDeviceToken", None, PushVerdict.BAD_TOKEN),
        ("a3", 429, "TooManyRequests", None, PushVerdict.RETRY_LATER),
        ("a4", 503, "ServiceUnavailable", None, PushVerdict.RETRY_LATER),
        ("a5", 410, "ExpiredToken", None, PushVerdict.GONE),
    ]
    assert set(server.seen.values()) == {1}
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "reason", "verdict"),
    [
        (400, "DeviceTokenNotForTopic", PushVerdict.BAD_TOKEN),
        (400, "BadTopic", PushVerdict.CONFIGURATION),
        (403, "BadCertificate", PushVerdict.CONFIGURATION),
        (405, "MethodNotAllowed", PushVerdict.CONFIGURATION),
        (413, "PayloadTooLarge", PushVerdict.CONFIGURATION),
        (500, "InternalServerError", PushVerdict.RETRY_LATER),
        (302, "", PushVerdict.CONFIGURATION),
    ],
)
def test_the_table_of_answers(status, reason, verdict):
    assert verdict_of(status, reason) is verdict


def test_a_wrong_configuration_stops_the_rest(tls, apns_files):
    with (
        FaultyApns(tls, lambda token, times: (403, {"reason": "BadCertificate"})) as server,
        sender(server.url, apns_files, streams_max=2) as apns,
    ):
        outcomes = apns.push(tokens(50))
    assert verdicts(outcomes) == {PushVerdict.CONFIGURATION: 50}
    assert {outcome.reason for outcome in outcomes} == {"BadCertificate"}
    assert sum(server.seen.values()) <= 4
    assert outcomes[-1].status == 0


def test_an_answer_that_is_no_json_still_has_a_verdict(tls, apns_files):
    with (
        FaultyApns(tls, lambda token, times: (503, ["odd"])) as server,
        sender(server.url, apns_files) as apns,
    ):
        (outcome,) = apns.push(["aa"])
    assert (outcome.reason, outcome.verdict) == ("", PushVerdict.RETRY_LATER)


def test_the_same_token_twice_is_pushed_once_and_a_bad_one_never(tls, apns_files):
    with FaultyApns(tls, lambda token, times: OK) as server, sender(server.url, apns_files) as apns:
        outcomes = apns.push(["aa", "../../etc", "aa", "", "bb"])
    assert [(o.token, o.verdict) for o in outcomes] == [
        ("aa", PushVerdict.ACCEPTED),
        ("../../etc", PushVerdict.BAD_TOKEN),
        ("", PushVerdict.BAD_TOKEN),
        ("bb", PushVerdict.ACCEPTED),
    ]
    assert server.seen == {"aa": 1, "bb": 1}


# -- faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["goaway", "drop", "reset", "cancel"])
def test_a_break_in_the_middle_loses_nothing(tls, apns_files, fault):
    """Every fiftieth push meets the fault the first time; all are accepted in the end, each once."""

    def decide(token: str, times: int):
        return fault if int(token, 16) % 50 == 25 and times == 1 else OK

    with FaultyApns(tls, decide) as server, sender(server.url, apns_files, attempts_max=8) as apns:
        outcomes = apns.push(tokens(300))
    assert [outcome.token for outcome in outcomes] == tokens(300)
    assert verdicts(outcomes) == {PushVerdict.ACCEPTED: 300}
    assert set(server.seen) == set(tokens(300))


def test_an_idle_connection_s_time_out_is_sent_again(tls, apns_files):
    def decide(token: str, times: int):
        return (400, {"reason": "IdleTimeout"}) if times == 1 else OK

    with FaultyApns(tls, decide) as server, sender(server.url, apns_files) as apns:
        outcomes = apns.push(tokens(3))
    assert verdicts(outcomes) == {PushVerdict.ACCEPTED: 3}
    assert server.seen == dict.fromkeys(tokens(3), 2)


def test_a_connection_gone_silent_is_replaced(tls, apns_files):
    """The first connection answers once and then never again."""
    with (
        FaultyApns(tls, lambda token, times: OK) as server,
        sender(server.url, apns_files, request_timeout_seconds=0.3) as apns,
    ):
        server.decide = lambda token, times: "stall" if server.connections == 1 and token != tokens(1)[0] else OK
        outcomes = apns.push(tokens(10))
        assert verdicts(outcomes) == {PushVerdict.ACCEPTED: 10}
        assert server.connections == 2


def test_a_fresh_connection_is_tried_with_one_push_first(tls, apns_files):
    """A server that takes three at a time and is slow to say so gets no rush that it must refuse."""
    with (
        FaultyApns(tls, lambda token, times: OK, max_streams=3, settings_delay_seconds=0.1) as server,
        sender(server.url, apns_files) as apns,
    ):
        outcomes = apns.push(tokens(100))
    assert verdicts(outcomes) == {PushVerdict.ACCEPTED: 100}
    assert server.connections == 1
    assert server.seen == dict.fromkeys(tokens(100), 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds packets back")
def test_pushes_travel_together(tls, apns_files):
    with (
        FaultyApns(tls, lambda token, times: OK, max_streams=300) as server,
        sender(server.url, apns_files) as apns,
    ):
        apns.push(tokens(300))
        apns.push(tokens(300))
        packets = server.packets()
    assert server.connections == 1
    assert packets < 100, f"{packets} packets for 600 pushes"


def test_what_is_held_back_is_let_go_before_waiting(tls, apns_files):
    """The kernel's own timer lets go after 200 ms; of twenty calls on a busy machine one is quicker than that."""
    seconds = []
    with FaultyApns(tls, lambda token, times: OK) as server, sender(server.url, apns_files) as apns:
        apns.push(tokens(1))
        for _call in range(20):
            begun = time.monotonic()
            apns.push(tokens(1))
            seconds.append(time.monotonic() - begun)
    assert min(seconds) < 0.2


def test_what_never_works_is_for_later(tls, apns_files):
    with (
        FaultyApns(tls, lambda token, times: "drop") as server,
        sender(server.url, apns_files, attempts_max=2) as apns,
    ):
        outcomes = apns.push(tokens(4))
    assert verdicts(outcomes) == {PushVerdict.RETRY_LATER: 4}
    assert all(outcome.reason for outcome in outcomes)
    assert max(server.seen.values()) <= 4  # libcurl repeats by itself what was surely not processed


def test_the_deadline_ends_a_call_and_the_next_one_works(tls, apns_files):
    stalled = {"on": True}
    with (
        FaultyApns(tls, lambda token, times: "stall" if stalled["on"] else OK) as server,
        sender(server.url, apns_files, streams_max=2) as apns,
    ):
        outcomes = apns.push(tokens(5), deadline_seconds=0.5)
        assert verdicts(outcomes) == {PushVerdict.RETRY_LATER: 5}
        stalled["on"] = False
        assert verdicts(apns.push(tokens(5))) == {PushVerdict.ACCEPTED: 5}


def test_an_absent_server_is_for_later(apns_files):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    waits: list[float] = []
    with sender(f"https://127.0.0.1:{port}", apns_files, sleep=waits.append) as apns:
        outcomes = apns.push(tokens(2))
    assert verdicts(outcomes) == {PushVerdict.RETRY_LATER: 2}
    assert len(waits) >= 2


def test_a_client_certificate_that_the_server_refuses_is_a_configuration_fault(tls, apns_files):
    outcomes = misconfigured(
        tls,
        apns_files,
        certificate_pem=(apns_files / "stranger_certificate").read_bytes(),
        key_pem=(apns_files / "stranger_key").read_bytes(),
    )
    assert "alert" in outcomes[0].reason


def test_a_server_that_is_not_apple_s_is_refused(tls, apns_files):
    misconfigured(tls, apns_files, ca_file=str(apns_files / "stranger_root"))


def test_a_server_without_http_2_is_refused(tls, apns_files):
    tls.set_alpn_protocols(["http/1.1"])
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        plain, _address = listener.accept()
        with tls.wrap_socket(plain, server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    with (
        listener,
        sender(f"https://127.0.0.1:{listener.getsockname()[1]}", apns_files) as apns,
    ):
        (outcome,) = apns.push(["aa"])
        thread.join(timeout=10)
    assert (outcome.reason, outcome.verdict) == ("NotHttp2", PushVerdict.CONFIGURATION)


def test_connections_are_kept_between_calls(tls, apns_files):
    with FaultyApns(tls, lambda token, times: OK) as server, sender(server.url, apns_files) as apns:
        for _call in range(3):
            apns.push(tokens(20))
    assert server.connections == 1


def test_misuse_is_said_at_once(apns_files):
    with pytest.raises(ValueError, match="https"):
        sender("http://api.push.apple.com", apns_files)
    apns = sender("https://127.0.0.1:9", apns_files)
    with pytest.raises(ValueError, match="at most"):
        apns.push(["aa"] * (TOKENS_MAX + 1))
    apns.close()
    with pytest.raises(ValueError, match="closed"):
        apns.push(["aa"])
