"""One request to a vendor, and its answer or failure in words that hold no secret.

Errors of the HTTP library repeat the address, which may be the credential: none of their text is
used, and none of them is chained.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
from requests import exceptions as errors
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.exceptions import HTTPError, NewConnectionError

from exporter.notify.receiver import DeliveryError, Reason

#: Vendors answer in a few words; whatever is longer is not theirs.
_MOST_BYTES = 16_384
_REDIRECT, _BAD_REQUEST, _SERVER = 300, 400, 500
_STATUSES = {
    401: Reason.AUTH,
    403: Reason.AUTH,
    404: Reason.GONE,
    408: Reason.TIMEOUT,
    410: Reason.GONE,
    429: Reason.RATE_LIMITED,
}
_JSON = {"Content-Type": "application/json; charset=utf-8"}
Secret = TypeVar("Secret")
_PERMANENT = frozenset({Reason.PAYLOAD, Reason.AUTH, Reason.GONE})
#: Answers behind which the message may have been taken all the same.
_AMBIGUOUS = frozenset({Reason.SERVER, Reason.TIMEOUT, Reason.UNEXPECTED})
#: A longer Retry-After than this is an error or an attack, and would silence pages.
MOST_RETRY_AFTER_SECONDS = 3600.0

# urllib3 logs the path of each request at DEBUG and the address of odd answers at WARNING: for an
# incoming webhook that is the credential. What matters of it is in our own errors.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `body` is cut at 16 KiB, `retry_after` in seconds from now."""

    status: int
    body: str
    retry_after: float | None = None
    whole: bool = True
    """Whether `body` is all that was to come."""

    @property
    def reason(self) -> Reason:
        """What the status means by itself; a 4xx that nobody documents will not get better."""
        known = _STATUSES.get(self.status)
        if known is not None:
            return known
        if self.status >= _SERVER:
            return Reason.SERVER
        if self.status >= _BAD_REQUEST:
            return Reason.PAYLOAD
        return Reason.REDIRECT if self.status >= _REDIRECT else Reason.UNEXPECTED

    def refusal(self, reason: Reason, message: str, wait: float | None = None) -> DeliveryError:
        """This answer as an error; `wait` in seconds where the answer names none."""
        asked = wait if self.retry_after is None else self.retry_after
        permanent, ambiguous = reason in _PERMANENT, reason in _AMBIGUOUS
        return DeliveryError(
            reason, message, retry_after=asked, permanent=permanent, ambiguous=ambiguous
        )


def secret(read: Callable[[], Secret], key: str) -> Secret:
    """What `read` gives: a secret that is read anew for each attempt.

    Raises:
        DeliveryError: it cannot be read just now; `key` names its setting.
    """
    try:
        return read()
    except OSError as error:
        message = f"cannot read {key}_file: {error.strerror}"
    except ValueError:
        message = f"{key}_file is empty or not text"
    raise DeliveryError(Reason.CONFIG, message)


class Poster:
    """Sends JSON over one `requests.Session`; `timeout` bounds connecting, and the answer."""

    def __init__(self, timeout: float, clock: Callable[[], float] = time.time) -> None:
        self._timeout = timeout
        self._clock = clock
        self._session = requests.Session()
        # Pages are hours apart. A connection kept that long has often been forgotten by a firewall
        # on the way, and the page would spend its first timeout on finding out.
        self._session.headers.update({"Connection": "close", "User-Agent": "pgheadroom"})
        self._session.auth = _as_addressed

    def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """The answer to `body`, whatever its status; redirects are answers, never followed.

        Raises:
            DeliveryError: there was no answer.
        """
        return self._ask("POST", url, body, {**_JSON, **(headers or {})})

    def get(self, url: str) -> Reply:
        """The answer of `url`, in the same way.

        Raises:
            DeliveryError: there was no answer.
        """
        return self._ask("GET", url, None, {})

    def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        failure: DeliveryError
        try:
            return self._answer(method, url, body, headers)
        except errors.RequestException as error:
            failure = _failure(error, self._timeout)
        except ValueError:  # some malformed addresses escape the library's own tree
            failure = DeliveryError(Reason.CONFIG, "the address is not usable")
        raise failure

    def _answer(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        give_up = time.monotonic() + 2 * self._timeout
        with self._session.request(
            method,
            url,
            data=body,
            headers=dict(headers),
            timeout=(self._timeout, self._timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            received, whole = _body(response, give_up)
            wait = retry_after(response.headers.get("Retry-After"), self._clock())
            return Reply(response.status_code, received.decode("utf-8", "replace"), wait, whole)


def _body(response: requests.Response, give_up: float) -> tuple[bytes, bool]:
    """What came of the body until `give_up`, by the steady clock, and whether that is all of it.

    The status is the answer. A body that is cut short or cannot be decoded does not take it back.
    """
    received = b""
    try:
        for chunk in response.iter_content(1024):
            received += chunk
            # The read timeout begins anew with every byte; this one does not.
            if len(received) > _MOST_BYTES or time.monotonic() > give_up:
                return received[:_MOST_BYTES], False
    except (errors.RequestException, HTTPError):
        return received[:_MOST_BYTES], False
    return received, True


def _as_addressed(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """`request` with the log-in that its address holds, if any, and otherwise as it is.

    Where it is left to requests, a ~/.netrc that knows the host replaces the receiver's own log-in.
    """
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 10.2.3: seconds, or a date); None if unusable.

    >>> retry_after("120", 0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 15.0)
    (120.0, 45.0)
    >>> retry_after("soon", 0.0), retry_after("99999999", 0.0)
    (None, 3600.0)
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # Ten digits are three centuries; int() of a header's worth of them would be an error.
        return min(float(int(text[:10])), MOST_RETRY_AFTER_SECONDS)
    try:
        date = parsedate_to_datetime(text)
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, at - now), MOST_RETRY_AFTER_SECONDS)


#: What kinds of error mean; the first that fits. Ambiguous: some of the request may have arrived.
_FAILURES: tuple[tuple[tuple[type[Exception], ...], Reason, str, bool], ...] = (
    ((errors.ConnectTimeout,), Reason.TIMEOUT, "no connection within {timeout:g} s", False),
    ((errors.Timeout,), Reason.TIMEOUT, "no answer within {timeout:g} s", True),
    ((errors.ProxyError,), Reason.NETWORK, "the proxy cannot be reached or refuses", False),
    ((errors.SSLError,), Reason.TLS, "TLS failed; is the certificate authority known?", True),
    (
        (errors.ConnectionError, errors.ChunkedEncodingError),
        Reason.NETWORK,
        "the connection ended before an answer was complete",
        True,
    ),
    (
        (errors.InvalidURL, errors.InvalidSchema, errors.MissingSchema),
        Reason.CONFIG,
        "the address is not usable",
        False,
    ),
)


def _failure(error: errors.RequestException, timeout: float) -> DeliveryError:
    """What went wrong, from the kind of `error` alone."""
    if _never_connected(error):
        return DeliveryError(Reason.NETWORK, "cannot connect; name, port or network is wrong")
    for kinds, reason, message, ambiguous in _FAILURES:
        if isinstance(error, kinds):
            return DeliveryError(reason, message.format(timeout=timeout), ambiguous=ambiguous)
    return DeliveryError(Reason.UNEXPECTED, f"failed: {type(error).__name__}", ambiguous=True)


def _never_connected(error: errors.RequestException) -> bool:
    """Whether no byte can have been sent."""
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", cause), NewConnectionError)
