"""Upstreams that behave badly, each on a port of its own."""

import socket
import threading

EARLY = b'{"code":"early"}'


def _serve(answer):
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_contained, args=(answer, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def _contained(answer, connection):
    try:
        with connection:
            answer(connection)
    except OSError:
        pass


def _head(connection):
    read = b""
    while b"\r\n\r\n" not in read:
        read += connection.recv(65536) or b"\r\n\r\n"
    return read


def _drop(connection):
    while connection.recv(65536):
        pass


def silent():
    """Reads all, and answers nothing."""
    return _serve(_drop)


def broken():
    """Ends the connection behind the request's head."""
    return _serve(lambda connection: _head(connection) and None)


def early():
    """Answers 413 before it has read the body."""

    def answer(connection):
        _head(connection)
        head = f"HTTP/1.1 413 Content Too Large\r\nContent-Length: {len(EARLY)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + EARLY)
        _drop(connection)

    return _serve(answer)


def closed():
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
