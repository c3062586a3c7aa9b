"""Asks an application for pages, what they link to, and reports, until it is sent SIGTERM. Prints
what came of it as one line of JSON, and ends with 1 if any request failed."""

import html.parser
import http.client
import http.cookiejar
import json
import signal
import sys
import threading
import time
import urllib.parse
import urllib.request

base = sys.argv[1]
stop = threading.Event()
lock = threading.Lock()
counts, failures, releases, slowest = {}, [], [], 0.0


def note(what, began, problem=None):
    global slowest
    with lock:
        counts[what] = counts.get(what, 0) + 1
        slowest = max(slowest, time.monotonic() - began)
        if problem:
            failures.append(f"{what}: {problem}")


class Links(html.parser.HTMLParser):
    """What a page needs to be seen."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        place = attributes.get("src") if tag in ("script", "img") else None
        place = attributes.get("href") if tag == "link" else place
        if place and not place.startswith("data:"):
            self.found.append(place)


class Browser:
    """Keeps connections for some requests, as browsers do."""

    def __init__(self):
        self.connections = {}

    def get(self, what, url):
        parts, began = urllib.parse.urlsplit(url), time.monotonic()
        connection, used = self.connections.pop(parts.netloc, (None, 0))
        connection = connection or http.client.HTTPConnection(parts.netloc, timeout=20)
        try:
            connection.request("GET", parts.path or "/")
            answer = connection.getresponse()
            body = answer.read()
            note(what, began, None if answer.status == 200 else f"{answer.status} {url}")
        except Exception as error:
            note(what, began, f"{error!r} {url}")
            return b""
        if used < 20:
            self.connections[parts.netloc] = (connection, used + 1)
        else:
            connection.close()
        return body


def pages():
    browser = Browser()
    while not stop.is_set():
        links = Links()
        links.feed(browser.get("page", base + "/").decode())
        sheets = [link for link in links.found if link.endswith(".css")]
        with lock:
            if sheets and (not releases or releases[-1] != sheets[0]):
                releases.append(sheets[0])
        for link in links.found:
            browser.get("asset", urllib.parse.urljoin(base + "/", link))


def reports():
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def ask(what, path, body=None, **headers):
        began = time.monotonic()
        request = urllib.request.Request(urllib.parse.urljoin(base, path), body, headers)
        try:
            with opener.open(request, timeout=20) as answer:
                body = answer.read()
        except Exception as error:
            note(what, began, f"{error!r} {path}")
            return None
        note(what, began)
        return body

    while not stop.is_set():
        data = ask("upload", "/data", b"city,sold\nRome,1\nOslo,2\n", **{"Content-Type": "text/csv"})
        if not data:
            continue
        wanted = {"data": json.loads(data)["data"], "group_by": "city", "sum": "sold"}
        kind = {"Content-Type": "application/json"}
        asked = ask("report asked for", "/get_report", json.dumps(wanted).encode(), **kind)
        if not asked:
            continue
        poll = json.loads(asked)["poll"]
        while True:
            status = ask("poll", poll + "&wait=1s")
            status = json.loads(status) if status else {"status": "lost"}
            if status["status"] != "wait":
                break
        if status["status"] == "ready":
            ask("report", status["url"])
        else:
            note("report", time.monotonic(), str(status))


# before the threads, which inherit it
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
threads = [threading.Thread(target=pages) for _ in range(3)] + [threading.Thread(target=reports)]
for thread in threads:
    thread.start()
signal.sigwait({signal.SIGTERM})
stop.set()
for thread in threads:
    thread.join()
print(json.dumps({
    "requests": sum(counts.values()),
    "failed": len(failures),
    "slowest_ms": round(slowest * 1000),
    "by_kind": counts,
    "stylesheets": releases,
    "failures": failures[:10],
}))
sys.exit(1 if failures else 0)
