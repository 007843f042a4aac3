"""`pgheadroom healthcheck`: asks a running pgheadroom whether it is ready, as a container does."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request

#: From one try to the next.
_PAUSE_SECONDS = 0.5
_TIMEOUT_SECONDS = 5.0


def trouble(url: str, seconds: float, *, servers: bool = False, insecure: bool = False) -> str:
    """What keeps the pgheadroom at `url` from being well; empty when nothing does.

    Args:
        url: its base address, http or https.
        seconds: how long to go on asking until it is well; 0 asks once.
        servers: whether every server has to be seen too, not only pgheadroom be ready.
        insecure: take any certificate.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = _asked(url.rstrip("/"), servers=servers, insecure=insecure)
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(_PAUSE_SECONDS)


def _asked(url: str, *, servers: bool, insecure: bool) -> str:
    try:
        _get(f"{url}/readyz", insecure=insecure)
        if not servers:
            return ""
        return _unseen(_get(f"{url}/api/v1/holders", insecure=insecure))
    except urllib.error.HTTPError as error:
        said = error.read(300).decode("utf-8", "replace").strip()
        return f"{error.url} answers {error.code}: {said}"
    except (KeyError, TypeError, json.JSONDecodeError):
        return f"{url} answers, but not as pgheadroom does"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return f"{url} does not answer: {reason}"


def _get(url: str, *, insecure: bool) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise ValueError("write an address that begins with http:// or https://")
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Straight there: what is asked is beside us; a proxy in the environment is for the receivers.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
        body: bytes = answer.read()
    return body


def _unseen(answer: bytes) -> str:
    """The servers that are not seen, and why."""
    found = json.loads(answer)["data"]["servers"]
    return "; ".join(
        f"{each['server']} is not seen: {each['failure']}" for each in found if not each["up"]
    )
