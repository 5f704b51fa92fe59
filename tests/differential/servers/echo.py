"""The application behind gunicorn: it shows what arrived, or answers as the path tells it to.

It speaks the same language as application.rs and echo.js; application.rs describes it.
"""

import re

PATTERN = bytes(range(256))
PIECE = 1000
PLACE = re.compile(r"(?:/base)?/([a-z]*)/?([^?]*)")


def pieces(content, streamed):
    return [content[at : at + PIECE] for at in range(0, len(content), PIECE)] if streamed else [content]


def fields(environ):
    for key, value in environ.items():
        if key.startswith("HTTP_") or (key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value):
            yield f"{key.removeprefix('HTTP_').lower().replace('_', '-')}: {value}\n"


def shown(environ, body):
    line = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {environ['SERVER_PROTOCOL']}\n"
    return (line + "".join(fields(environ)) + "\n\n").encode("latin-1") + body


def follow(script, start_response):
    head, tail = script.split("\n\n")
    status, *lines = head.split("\n")
    kind, length = tail.split("\n")[0].split(" ")
    answered = [tuple(line.split(": ", 1)) for line in lines]
    if kind == "length":
        answered.append(("Content-Length", length))
    start_response(status, answered)
    content = (PATTERN * (int(length) // 256 + 1))[: int(length)]
    return [] if kind == "none" else pieces(content, kind == "chunked")


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    page, rest = PLACE.match(environ["RAW_URI"]).groups()
    if page == "reply":
        content = follow(bytes.fromhex(rest).decode("latin-1"), start_response)
    else:
        answer = shown(environ, body)
        answered = [("X-Echo", "1"), ("Content-Type", "application/octet-stream")]
        if page != "flow":
            answered.append(("Content-Length", str(len(answer))))
        start_response("200 OK", answered)
        content = pieces(answer, page == "flow")
    return [] if environ["REQUEST_METHOD"] == "HEAD" else content
