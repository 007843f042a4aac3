"""Passwords that are made when they are needed: by a program, or signed as a token of AWS IAM.

Neither may hold up the loop: a program runs beside it, and boto3, which asks other machines for its
own credentials, in a thread. Nothing that they say is repeated, it may be the secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import logging
import os
import signal
import threading
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.config.credentials import Credentials, RdsIam
from exporter.snapshot.server import Failure, Reason
from exporter.sources.errors import SourceError
from exporter.sources.trust import given_environment

_LONGEST = 65536
#: libpq's default port (https://www.postgresql.org/docs/current/libpq-connect.html).
_PORT = "5432"
_AWS_FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
}
_AWS = "check the AWS credentials that pgheadroom runs with, and that they allow rds-db:connect"
NO_BOTO3 = "rds_iam needs boto3, which is not installed; install pgheadroom with its extra: aws"

# They log at DEBUG what they sign and are answered: the token, and the keys that make others.
for _library in ("boto3", "botocore", "s3transfer", "urllib3"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)


async def made_password(credentials: Credentials, params: Mapping[str, str]) -> str | None:
    """The password that `password_command` or `rds_iam` gives; None where neither is set.

    Args:
        credentials: with its deadline, `password_timeout`.
        params: the libpq parameters that the DSN gave; a token is for their host, port and user.

    Raises:
        SourceError: there is none, in one sentence without what was said.
    """
    seconds = credentials.password_timeout
    if credentials.password_command is not None:
        return await _written(credentials.password_command, seconds)
    if credentials.rds_iam is not None:
        return await _signed(credentials.rds_iam, params, seconds)
    return None


def has_boto3() -> bool:
    """Whether the extra `aws` is installed."""
    return importlib.util.find_spec("boto3") is not None


async def _written(command: Sequence[str], seconds: float) -> str:
    """The first line that `command` writes."""
    try:
        async with asyncio.timeout(seconds):
            line, status = await _run(command)
    except TimeoutError:
        raise _failed(f"password_command did not end within {seconds:g} s") from None
    except (OSError, ValueError) as error:
        # ValueError: a word of it has a NUL in it.
        said = getattr(error, "strerror", None) or "not a command"
        raise _failed(f"password_command cannot be run: {said}") from None
    if status != 0:
        raise _failed(f"password_command ended with status {status}")
    try:
        password = line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise _failed("password_command wrote no UTF-8 text") from None
    if not password:
        raise _failed("password_command wrote nothing")
    return password


async def _run(command: Sequence[str]) -> tuple[bytes, int]:
    # A session of its own, so that what a shell started ends with it.
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL,
        start_new_session=True,
        limit=_LONGEST,
        env=given_environment(),
    )
    try:
        return await _first_line(process), await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _first_line(process: Process) -> bytes:
    if process.stdout is None:
        return b""
    try:
        return await process.stdout.readline()
    except ValueError:
        raise _failed(f"password_command wrote a line of more than {_LONGEST} bytes") from None


async def _signed(rds: RdsIam, params: Mapping[str, str], seconds: float) -> str:
    if not has_boto3():
        raise SourceError(Failure(Reason.AUTH, NO_BOTO3))
    host, user = params.get("host", ""), params.get("user") or os.environ.get("PGUSER", "")
    port = int(params.get("port") or os.environ.get("PGPORT") or _PORT)
    try:
        async with asyncio.timeout(seconds):
            return await _in_thread(lambda: _token(rds, host, port, user))
    except TimeoutError:
        said = f"no AWS credentials to sign a token with were found within {seconds:g} s"
        raise SourceError(Failure(Reason.AUTH, said, _AWS)) from None


def _token(rds: RdsIam, host: str, port: int, user: str) -> str:
    """A token, valid for 15 minutes; it is signed here, and AWS is asked only for credentials.

    https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html
    """
    # An extra, and slow to import.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        token: str = _client(rds, _files()).generate_db_auth_token(
            DBHostname=host, Port=port, DBUsername=user, Region=rds.region
        )
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        # Its kind, such as NoCredentialsError or AccessDenied; the text may hold more than that.
        said = f"no token could be signed: {_kind(error)}"
        raise SourceError(Failure(Reason.AUTH, said, _AWS)) from error
    return token


def _kind(error: Exception) -> str:
    """The name of an error; of an answer of AWS, the code in it."""
    answer = getattr(error, "response", None)
    code = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else None
    return str(code or type(error).__name__)[:80]


@functools.lru_cache(maxsize=16)
def _client(rds: RdsIam, _files: tuple[tuple[int, int], ...]) -> Any:  # noqa: ANN401  boto3 has no types
    """A client: 70 ms to make, 0.1 ms to sign with.

    It renews the credentials of a role by itself; those in a file are read once, so another state
    of the files needs another client.
    """
    import boto3  # noqa: PLC0415  as above

    return boto3.Session(profile_name=rds.profile, region_name=rds.region).client("rds")


def _files() -> tuple[tuple[int, int], ...]:
    """The state of the AWS configuration files, (0, 0) for one that is not there.

    https://docs.aws.amazon.com/sdkref/latest/guide/file-location.html
    """
    found = []
    for name, default in _AWS_FILES.items():
        path = Path(os.environ.get(name) or default).expanduser()
        try:
            stat = path.stat()
        except OSError:
            found.append((0, 0))
        else:
            found.append((stat.st_mtime_ns, stat.st_ino))
    return tuple(found)


async def _in_thread(function: Callable[[], str]) -> str:
    """What `function` returns, from a thread of its own.

    The loop's shared threads also resolve host names; a hanging metadata service must not use them
    up, nor hold up the end of the process.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[str] = loop.create_future()

    def settle(value: str, error: Exception | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)

    def run() -> None:
        value, failed = "", None
        try:
            value = function()
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to who waits
            failed = error
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, value, failed)

    threading.Thread(target=run, name="rds-iam", daemon=True).start()
    return await result


def _failed(said: str) -> SourceError:
    return SourceError(
        Failure(Reason.AUTH, said, "run it by hand, as the user that pgheadroom runs as")
    )
