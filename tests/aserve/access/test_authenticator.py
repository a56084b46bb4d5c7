"""Who a client is: what is remembered, what is checked, and how much of that at once."""

import base64
import threading
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.access.authenticator import (
    REMEMBERED_S,
    Authenticator,
    BusyError,
    LoginChecks,
    TooManyFailuresError,
    WrongLoginError,
)
from aserve.access.failed_logins import FailedLogins
from aserve.access.logins import Logins

ONE, OTHER = "192.0.2.1", "192.0.2.2"


class Slow:
    """A secret that counts its checks, and waits where a test says so."""

    is_slow = True

    def __init__(self):
        self.count = self.running = self.most = 0
        self.started, self.go_on = threading.Semaphore(0), threading.Event()
        self.go_on.set()
        self._lock = threading.Lock()

    def matches(self, password):
        with self._lock:
            self.count += 1
            self.running += 1
            self.most = max(self.most, self.running)
        self.started.release()
        assert self.go_on.wait(20)
        with self._lock:
            self.running -= 1
        return password == b"secret"


@pytest.fixture
def slow():
    return Slow()


def make(slow=None, waiting=8, **more):
    logins = Logins(["ann:secret"])
    if slow:
        logins._secrets, logins._stand_ins = {b"ann": slow}, (slow,)
    return Authenticator(logins, FailedLogins(), LoginChecks(waiting), **more)


def basic(pair):
    return "Basic " + base64.b64encode(pair.encode()).decode()


def ask(authenticator, pair, client=ONE, now=0, *, may_wait=True):
    return authenticator.user_of(basic(pair), client, now, may_wait=may_wait)


@pytest.mark.parametrize("header", [None, "Bearer x", "Basi", "", "Digest username=ann"])
def test_what_is_no_basic_login_is_none(header):
    assert make().user_of(header, ONE, 0, may_wait=False) is None


@pytest.mark.parametrize("header", ["basic ", "BASIC  ", "bAsIc\t"])
def test_the_name_of_the_scheme_has_any_case(header):
    text = base64.b64encode(b"ann:secret").decode()
    if "\t" in header:
        assert make().user_of(header + text, ONE, 0, may_wait=False) is None
    else:
        assert make().user_of(header + text, ONE, 0, may_wait=False) == "ann"


@given(st.text(st.characters(max_codepoint=255), max_size=50))
def test_no_login_is_more_than_wrong(text):
    with pytest.raises(WrongLoginError):
        make().user_of("Basic " + text, ONE, 0, may_wait=False)


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
def test_a_login_is_in_utf_8_or_in_latin_1(coding):
    """RFC 7617 section 2.1 has clients take UTF-8; requests and others send Latin-1."""
    authenticator = Authenticator(Logins(["jörg:pässwörd"]), FailedLogins(), LoginChecks(1))
    for pair, user in (("jörg:pässwörd", "jörg"), ("jörg:passwörd", None)):
        header = "Basic " + base64.b64encode(pair.encode(coding)).decode()
        with nullcontext() if user else pytest.raises(WrongLoginError):
            assert authenticator.user_of(header, ONE, 0, may_wait=False) == user


def test_a_slow_check_is_never_made_where_nothing_may_wait(slow):
    authenticator = make(slow)
    with pytest.raises(BlockingIOError):
        ask(authenticator, "ann:secret", may_wait=False)
    assert slow.count == 0
    assert ask(authenticator, "ann:secret") == "ann"
    assert ask(authenticator, "ann:secret", OTHER, may_wait=False) == "ann"
    assert slow.count == 1
    assert authenticator.known_user(basic("ann:secret"), 0) == "ann"
    assert authenticator.known_user(basic("ann:other"), 0) is None


def test_a_login_is_remembered_for_five_minutes(slow):
    authenticator = make(slow)
    ask(authenticator, "ann:secret", now=0)
    assert ask(authenticator, "ann:secret", now=REMEMBERED_S - 1, may_wait=False) == "ann"
    with pytest.raises(BlockingIOError):
        ask(authenticator, "ann:secret", now=REMEMBERED_S, may_wait=False)


def test_no_password_is_remembered_and_not_too_many_logins(slow):
    slow.matches = lambda _password: True
    authenticator = make(slow, max_remembered=3)
    for number in range(10):
        ask(authenticator, f"ann:secret{number}")
    assert len(authenticator._remembered) == 3
    assert "secret" not in repr(vars(authenticator))
    assert base64.b64encode(b"ann:secret9") not in repr(vars(authenticator)).encode()


def test_the_wrong_login_of_a_client_is_not_checked_again(slow):
    authenticator = make(slow)
    for may_wait in (True, True, False):
        with pytest.raises(WrongLoginError):
            ask(authenticator, "ann:wrong", may_wait=may_wait)
    assert slow.count == 1
    with pytest.raises(WrongLoginError):
        ask(authenticator, "ann:wrong", OTHER)
    assert slow.count == 2


def test_who_guesses_is_not_heard_even_with_the_right_password(slow):
    authenticator = make(slow)
    assert ask(authenticator, "ann:secret") == "ann"
    for number in range(10):
        assert not authenticator.is_barred(ONE, 5)
        with pytest.raises(WrongLoginError):
            ask(authenticator, f"{'ann' if number % 2 else 'ben'}:{number}", now=5)
    assert authenticator.is_barred(ONE, 5)
    with pytest.raises(TooManyFailuresError) as raised:
        ask(authenticator, "ann:secret", now=6, may_wait=False)
    assert raised.value.retry_after == 599
    assert slow.count == 11
    assert ask(authenticator, "ann:secret", OTHER, now=6, may_wait=False) == "ann"
    assert ask(authenticator, "ann:secret", now=605) == "ann"


def in_threads(count, work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_two_passwords_are_checked_at_once_and_more_wait_or_are_told_to(slow):
    authenticator = make(slow, waiting=4)
    slow.go_on.clear()
    results, done = [], threading.Semaphore(0)

    def work(number):
        try:
            ask(authenticator, f"ann:wrong{number}", f"192.0.2.{number}")
        except (WrongLoginError, BusyError) as error:
            results.append(type(error))
        done.release()

    threads = in_threads(7, work)
    for _ in range(3):  # those for which there is no room are told at once
        assert done.acquire(timeout=20)
    assert results == [BusyError] * 3
    for _ in range(2):
        assert slow.started.acquire(timeout=20)
    slow.go_on.set()
    for thread in threads:
        thread.join(20)
    assert results.count(WrongLoginError) == 4
    assert slow.most <= 2


def test_a_page_and_its_images_come_with_one_login_that_is_checked_twice_at_most(slow):
    authenticator = make(slow)
    slow.go_on.clear()
    users = []
    threads = in_threads(6, lambda _number: users.append(ask(authenticator, "ann:secret")))
    assert slow.started.acquire(timeout=20)
    slow.go_on.set()
    for thread in threads:
        thread.join(20)
    assert users == ["ann"] * 6
    assert slow.count <= 2


def test_guesses_that_wait_are_not_checked_once_there_were_too_many(slow):
    """However many connections guess at once, no more than two are beyond the limit."""
    authenticator = make(slow, waiting=40)
    slow.go_on.clear()
    errors = []

    def work(number):
        with pytest.raises((WrongLoginError, TooManyFailuresError)) as raised:
            ask(authenticator, f"ann:{number}")
        errors.append(raised.type)

    threads = in_threads(30, work)
    assert slow.started.acquire(timeout=20)
    slow.go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(errors) == 30
    assert 10 <= slow.count <= 11
