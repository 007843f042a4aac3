import asyncio
import http.client
import socket

from exporter.alerting.alerter import Book
from exporter.alerting.board import Board
from exporter.web.port import Port
from exporter.web.server import Web, bind

PORT = Port(Board(), lambda: 0.0, lambda: True, tuple, Book, list, "1.2.3")


def get(address):
    line = http.client.HTTPConnection(address, timeout=5)
    try:
        line.request("GET", "/healthz")
        return line.getresponse().headers
    finally:
        line.close()


def test_an_answer_is_not_held_back_for_an_acknowledgement():
    with bind("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        listener.settimeout(5)
        line, _ = listener.accept()
        with line:
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


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
