import asyncio
import contextlib
import http.client
import os
import resource
import socket

from exporter.alerting.alerter import Book
from exporter.alerting.board import Board
from exporter.web import line
from exporter.web.port import Port
from exporter.web.server import Web, bind
from tests.support.receivers import eventually

PORT = Port(Board(), lambda: 0.0, lambda: True, tuple, Book, list, "1.2.3")


def get(address):
    asking = http.client.HTTPConnection(address, timeout=5)
    try:
        asking.request("GET", "/healthz")
        return asking.getresponse().headers
    finally:
        asking.close()


def test_an_answer_is_not_held_back_for_an_acknowledgement():
    with bind("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        listener.settimeout(5)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_answers_are_dated_and_the_server_ends_when_it_is_told_to():
    async def served():
        web = Web(PORT, bind("127.0.0.1", 0))
        web.start()
        headers = await asyncio.to_thread(get, web.address)
        await web.stop(5.0)
        return headers, web._task

    headers, task = asyncio.run(served())
    assert headers["date"].endswith("GMT")
    assert task.done()
    assert not task.cancelled()


def left_waiting(monkeypatch, patience, most, clients):
    """Which of so many clients that say half of what they want are still connected."""
    monkeypatch.setattr(line, "PATIENCE_SECONDS", patience)
    monkeypatch.setattr(line, "MOST_CLIENTS", most)

    async def served():
        web = Web(PORT, bind("127.0.0.1", 0))
        web.start()
        host, port = web.address.split(":")
        lines = []
        for _ in range(clients):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /healthz HTTP/1.1\r\n")
            lines.append((reader, writer))
            # One after the other, so that it is known who came first.
            assert (await asyncio.to_thread(get, web.address))["date"]
        ends = [asyncio.ensure_future(reader.read()) for reader, _ in lines]
        done, _ = await asyncio.wait(ends, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        others = await asyncio.to_thread(get, web.address)
        assert others["date"]
        await web.stop(5.0)
        await asyncio.gather(*ends, return_exceptions=True)
        for _, writer in lines:
            writer.close()
        return [end in done for end in ends]

    return asyncio.run(served())


def test_a_client_that_does_not_finish_its_question_is_sent_away(monkeypatch):
    assert left_waiting(monkeypatch, 0.3, 100, 1) == [True]


def test_one_client_too_many_takes_the_place_of_the_one_that_waits_longest(monkeypatch):
    # With the one that is answered in between there are never more than three.
    assert left_waiting(monkeypatch, 60, 3, 3) == [True, False, False]


def test_without_a_file_for_another_client_it_waits_and_says_so_once(caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def served():
        web = Web(PORT, bind("127.0.0.1", 0))
        web.start()
        host, port = web.address.split(":")
        client, filled = socket.socket(), []
        with client:
            client.settimeout(10)
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 20, hard))
            try:
                with contextlib.suppress(OSError):
                    while True:
                        filled.append(os.open(os.devnull, os.O_RDONLY))
                await asyncio.to_thread(client.connect, (host, int(port)))
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                await asyncio.to_thread(
                    eventually, lambda: "no client can be let in" in caplog.text, "said"
                )
            finally:
                for each in filled:
                    os.close(each)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            answer = await asyncio.to_thread(client.recv, 15)
        await web.stop(5.0)
        return answer

    assert asyncio.run(served()) == b"HTTP/1.1 200 OK"
    assert len(caplog.records) == 1
