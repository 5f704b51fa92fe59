"""What every client is made to do. The one rule: an exchange is data; how a client sends it is the client's affair.

An exchange holds `name`, `app`, `method`, `path` (below the API's base), and where needed `headers`, `body`, `follow`.
Beside that, for the judge: `status` that both ways must give, `changing` members of a JSON answer that are new every
time, `echo` for answers that repeat the request's headers, and `own` for an answer of Marketgate itself.
A body is one of {"json": value}, {"bytes": file}, {"stream": file}, {"multipart": file, "type": …, "filename": …}.
"""

import random

MEGABYTE = 1_000_000
QUERY = "q=a+b%2Bc%2Fd%20e&eq=x=y==&amp=%26%3D%3F&empty=&flag&u=%E2%9C%93&q=again&plus=+"
FIXED = "0b6f5d6e-6ee8-4d33-9b77-4f5d1f0a7c11"
WALMART = {"WM_SVC.NAME": "Walmart Marketplace", "WM_QOS.CORRELATION_ID": FIXED, "Accept": "application/json"}


def files(directory):
    """The bodies that are sent: every byte value, CR LF and what looks like a boundary among them."""
    noise = random.Random(42)
    binary = directory / "binary.dat"
    binary.write_bytes(bytes(range(256)) + b"\r\n--boundary--\r\n" + noise.randbytes(2 * MEGABYTE) + b"\r\n")
    feed = directory / "feed.json"
    items = ",\n".join(f'{{"sku":"SKU-{n}","name":"n\u00e4me {n}"}}' for n in range(4000))
    feed.write_text(f'{{"MPItem":[{items}]}}\r\n', encoding="utf-8")
    return str(binary), str(feed)


def exchanges(directory, simulator_url, sku, cursor):
    """All exchanges, in order."""
    binary, feed = files(directory)
    return [
        *_reads(simulator_url),
        *_writes(binary),
        *_refusals(),
        *_walmart(feed, sku, cursor),
    ]


def _other(name, method, path, status=200, **more):
    return {"name": name, "app": "other", "method": method, "path": path, "status": status, **more}


def _reads(simulator_url):
    api = f"{simulator_url}/generic/api"
    return [
        _other("query of + %2B %2F = &", "GET", f"/search?{QUERY}", echo=True, verbatim=True),
        _other("path with trailing slash", "GET", "/things/", echo=True, verbatim=True),
        _other("path of %2F // ; @ :", "GET", "/a%2Fb//c%3Bd;v=1/x@y:z/", echo=True, verbatim=True),
        _other("Accept-Encoding of its own", "GET", "/plain", echo=True),
        _other("Accept-Encoding: br", "GET", "/plain", echo=True, headers={"Accept-Encoding": "br;q=0.7, zstd"}),
        _other("HEAD", "HEAD", "/bytes/12345"),
        _other("204 without a body", "GET", "/status/204", 204),
        _other("20 MB download", "GET", f"/bytes/{20 * MEGABYTE}", length=20 * MEGABYTE),
        _other("3 MB download, chunked", "GET", f"/bytes/{3 * MEGABYTE}?chunked=1", length=3 * MEGABYTE),
        _other("event stream", "GET", "/sse?count=5&interval_ms=20"),
        _other("redirect within the API", "GET", f"/redirect?to={api}/landed?x=1%2B2&code=307", 307),
        _other("redirect to elsewhere", "GET", "/redirect?to=https://example.com/x?y=1&code=302", 302),
        _other("redirect followed", "GET", f"/redirect?to={api}/landed", follow=True, echo=True),
    ]


def _writes(binary):
    document = {"title": "Größe \u2603", "price": 12.5, "tags": ["+", "%2F", "&="], "none": None}
    upload = {"multipart": binary, "type": "application/octet-stream", "filename": "binary.dat"}
    return [
        _other("POST JSON", "POST", "/things/", echo=True, body={"json": document}),
        _other("PUT 2 MB", "PUT", "/things/1", echo=True, body={"bytes": binary}),
        _other("PATCH JSON", "PATCH", "/things/1", echo=True, body={"json": {"a": 1}}),
        _other("DELETE", "DELETE", "/things/1?reason=a+b", echo=True, verbatim=True),
        _other("POST without a body", "POST", "/things/1/publish", echo=True),
        _other("multipart upload", "POST", "/upload", echo=True, body=upload),
        _other("chunked upload", "POST", "/upload", echo=True, body={"stream": binary}),
    ]


def _refusals():
    refused = [
        _other(f"{status} of the API", "GET", f"/status/{status}", status)
        for status in (400, 401, 403, 409, 422, 429, 500, 503)
    ]
    refused.append(_other("401 to a POST", "POST", "/status/401", 401, body={"json": {"a": 1}}))
    own = {"status": 400, "code": "no_such_app"}
    return [*refused, {"name": "400 of Marketgate", "app": "nowhere", "method": "GET", "path": "/v3/items", "own": own}]


def _walmart(feed, sku, cursor):
    def walmart(name, method, path, status=200, **more):
        headers = WALMART | more.pop("headers", {})
        return {"name": name, "app": "walmart", "method": method, "path": path, "status": status,
                "headers": headers, **more}

    amount = {"sku": sku, "quantity": {"unit": "EACH", "amount": 7}}
    upload = {"multipart": feed, "type": "application/json", "filename": "feed.json"}
    return [
        walmart("Walmart items", "GET", "/v3/items?limit=3"),
        walmart("Walmart items as XML", "GET", "/v3/items?limit=3", headers={"Accept": "application/xml"}),
        walmart("Walmart nextCursor", "GET", f"/v3/items?limit=3&nextCursor={cursor}", verbatim=True),
        walmart("Walmart inventory PUT", "PUT", f"/v3/inventory?sku={sku}", body={"json": amount}),
        walmart("Walmart 404 to a DELETE", "DELETE", "/v3/items/NO-SUCH-SKU", 404),
        walmart("Walmart feed upload", "POST", "/v3/feeds?feedType=MP_ITEM", body=upload, changing=["feedId"],
                file="additionalAttributes.file"),
        walmart("Walmart 404", "GET", "/v3/items/NO-SUCH-SKU", 404),
        walmart("Walmart 405", "POST", "/v3/inventory?sku=x", 405, body={"json": {}}),
        walmart("Walmart 400", "GET", "/v3/items?limit=none", 400),
    ]
