"""What may differ between a direct call and the same call through Marketgate. The one rule: everything that is not
named here must be the same.
"""

import hashlib
import json
import re

# Their values are about the moment; that they are there is not.
MOMENTS = {"date", "x-next-replenishment-time"}
# About one connection only (RFC 9110 section 7.6.1).
PER_CONNECTION = {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "trailer"}
# Taken from replies: they would act on the caller for the marketplace's origin.
TAKEN_FROM_REPLIES = {"set-cookie"}
# Addresses: those below the API's base lead back through Marketgate.
ADDRESSES = {"location", "content-location", "operation-location"}
# The credential is Marketgate's own, and 100-continue is a matter of each hop.
TAKEN_FROM_REQUESTS = PER_CONNECTION | {"authorization", "wm_sec.access_token", "expect", "marketgate-app"}


def differences(exchange, direct, proxied, surface):
    """Every difference between two ways of one exchange, in words; none is what is wanted."""
    found = [*_expected(exchange, direct, "direct"), *_expected(exchange, proxied, "through Marketgate")]
    found += _compare("status", direct.status, proxied.status)
    found += _compare_headers(exchange, direct, proxied, surface)
    found += _compare("body", direct.body_for(exchange), proxied.body_for(exchange))
    found += _compare_arrivals(exchange, direct, proxied)
    return found


def own_answer(exchange, proxied):
    """What is wrong with an answer of Marketgate's own."""
    found = _compare("status", exchange["own"]["status"], proxied.status)
    found += _compare("content type", "application/problem+json", proxied.header("content-type"))
    try:
        problem = json.loads(proxied.body)
    except ValueError:
        return [*found, f"the body is no JSON: {proxied.body[:200]!r}"]
    found += _compare("code", exchange["own"]["code"], problem.get("code"))
    found += _compare("status member", exchange["own"]["status"], problem.get("status"))
    missing = [name for name in ("type", "title", "detail", "action", "request_id") if not problem.get(name)]
    found += [f"the problem document has no {name}" for name in missing]
    if not (proxied.header("proxy-status") or "").startswith("marketgate; error="):
        found.append(f"Proxy-Status is {proxied.header('proxy-status')!r}")
    if proxied.arrivals:
        found.append("it reached the marketplace all the same")
    return found


class Answer:
    """One answer as a client saw it, with what the simulator saw of the request."""

    def __init__(self, result, body, arrivals):
        self.status = result["status"]
        self.headers = sorted((name.lower(), value) for name, value in result["headers"])
        self.sent = result["sent"]
        self.body = body
        self.arrivals = arrivals

    def header(self, name):
        return next((value for known, value in self.headers if known == name), None)

    def body_for(self, exchange):
        """The body in a form that can be compared: byte for byte, unless it repeats or makes up something."""
        if exchange.get("echo"):
            return _shown(self._echo())
        if "changing" in exchange:
            return _shown(_without(json.loads(self.body), exchange["changing"]))
        return self.body

    def _echo(self):
        document = json.loads(self.body)
        document["headers"] = _crossing(document["headers"], TAKEN_FROM_REQUESTS)
        return json.loads(self.neutral(json.dumps(document)))

    def neutral(self, text):
        """The boundary that a client makes up anew for each upload, and the digest that depends on it, by name."""
        boundary = re.search(r"boundary=(\S+)", self.sent["content_type"] or "")
        if boundary:
            text = text.replace(boundary[1], "BOUNDARY").replace(self.sent["sha256"], "DIGEST")
        return text


def _expected(exchange, answer, way):
    found = [f"{way}: {line}" for line in _compare("status", exchange["status"], answer.status)]
    if "length" in exchange and len(answer.body) != exchange["length"]:
        found.append(f"{way}: {len(answer.body)} bytes instead of {exchange['length']}")
    length = answer.header("content-length")
    if length is not None and exchange["method"] != "HEAD" and int(length) != len(answer.body):
        found.append(f"{way}: Content-Length {length}, but {len(answer.body)} bytes of body")
    if not answer.arrivals:
        return [*found, f"{way}: the simulator has no record of it"]
    for arrival in answer.arrivals:
        found += [f"{way}: {line}" for line in _expected_arrival(exchange, answer, arrival)]
    return found


def _expected_arrival(exchange, answer, arrival):
    """The bytes that the client sent are the bytes that arrived."""
    found = _compare("method at the marketplace", exchange["method"], arrival["method"])
    if not exchange.get("follow"):
        found += _compare("length of the body at the marketplace", answer.sent["length"], arrival["body_length"])
        found += _compare("digest of the body at the marketplace", answer.sent["sha256"], arrival["body_sha256"])
    if exchange.get("verbatim") and not arrival["target"].endswith(exchange["path"]):
        found.append(f"target at the marketplace: {arrival['target']!r} does not end with {exchange['path']!r}")
    if "file" in exchange:
        with open(exchange["body"]["multipart"], "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        document = json.loads(answer.body)
        for name in exchange["file"].split("."):
            document = document[name]
        found += _compare("digest of the uploaded file", digest, document["sha256"])
        found += _compare("name of the uploaded file", exchange["body"]["filename"], document["filename"])
    return found


def _compare_headers(exchange, direct, proxied, surface):
    dropped = PER_CONNECTION | TAKEN_FROM_REPLIES | {"proxy-status"}
    if exchange.get("echo"):
        # An echo of other request headers is of another length; that it fits its body is checked for each way.
        dropped = dropped | {"content-length"}
    kept = [pair for pair in direct.headers if not pair[0].startswith("access-control-")]
    here, there = _crossing(kept, dropped), _crossing(proxied.headers, dropped)
    expected = [[name, _address(value, surface) if name in ADDRESSES else value] for name, value in here]
    found = _compare("headers", expected, there)
    for name in TAKEN_FROM_REPLIES:
        if proxied.header(name) is not None:
            found.append(f"{name} came through")
    told = proxied.header("proxy-status")
    wanted = f"received-status={proxied.status}" if proxied.status == 401 else None
    if (told is None) != (wanted is None) or (wanted and wanted not in told):
        found.append(f"Proxy-Status is {told!r}")
    return found


def _address(address, surface):
    """An address below the API's base comes back through the same route, an absolute one as the caller reaches the gate."""
    if address.startswith(surface["api"]):
        return surface["gate"] + surface["prefix"] + address.removeprefix(surface["api"])
    return address


def _compare_arrivals(exchange, direct, proxied):
    if not direct.arrivals or not proxied.arrivals:
        return []
    found = []
    # A 401 is asked for once more with a fresh token, if there may be one.
    most = len(direct.arrivals) + (1 if exchange["status"] == 401 else 0)
    if not len(direct.arrivals) <= len(proxied.arrivals) <= most:
        found.append(f"arrived {len(proxied.arrivals)} times, directly {len(direct.arrivals)} times")
    for expected, arrived in zip(direct.arrivals, proxied.arrivals):
        for member in ("target", "authority", "version", "trailers", "body_length"):
            found += _compare(f"{member} at the marketplace", expected[member], arrived[member])
        here, there = (
            way.neutral(_shown(_crossing(record["headers"], TAKEN_FROM_REQUESTS)))
            for way, record in ((direct, expected), (proxied, arrived))
        )
        found += _compare("request headers at the marketplace", here, there)
        if arrived["violations"]:
            found.append(f"violations at the marketplace: {arrived['violations']}")
    return found


def _crossing(headers, dropped):
    crossing = ([name, "SOME TIME" if name in MOMENTS else value] for name, value in headers if name not in dropped)
    return sorted(crossing)


def _without(document, names):
    return {name: "NEW" if name in names else value for name, value in document.items()}


def _shown(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _compare(what, expected, seen):
    if expected == seen:
        return []
    return [f"{what}: expected {_short(expected)}, seen {_short(seen)}"]


def _short(value):
    if isinstance(value, bytes) and len(value) > 300:
        return f"{len(value)} bytes {hashlib.sha256(value).hexdigest()}"
    return repr(value)
