"""Upstreams that behave badly, and servers to check the clients themselves with; each on a port of its own."""

import re
import socket
import struct
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


def mirror():
    """Reads the whole body and answers how it was framed: `none`, `measured` or `chunked`. The path is the size to expect."""

    def answer(connection):
        with connection.makefile("rb") as stream:
            while head := b"".join(_lines(stream)).lower():
                if b"expect: 100-continue" in head:
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                how, size = _body(head, stream)
                wanted = int(re.search(rb" /(\d+) ", head)[1])
                body = f'{{"code":"{how if size == wanted else "incomplete"}"}}'
                connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    return _serve(answer)


def _lines(stream):
    """Up to the empty line, or the end."""
    while (line := stream.readline()) not in (b"\r\n", b""):
        yield line


def _body(head, stream):
    """Its framing and its size."""
    if b"transfer-encoding: chunked" in head:
        total = 0
        while size := int(stream.readline(), 16):
            total += len(stream.read(size))
            stream.readline()
        stream.readline()
        return "chunked", total
    if length := re.search(rb"\ncontent-length: *(\d+)", head):
        return "measured" if int(length[1]) else "none", len(stream.read(int(length[1])))
    return "none", 0


def resets():
    """Resets the connection after the request's head."""

    def answer(connection):
        _head(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return _serve(answer)


def closed():
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
