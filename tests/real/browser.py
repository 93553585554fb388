"""A browser without a window, and sites whose pages it opens."""

import http.client
import json
import os
import queue
import signal
import subprocess
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

PAGES = Path(__file__).parent / "pages"
PATIENCE = 60.0  # seconds; only a failing test waits as long


class Site:
    """An origin of its own: it serves the scripts in `pages/`, and hears what they find.

    All else is passed on as it came to the address `behind`, if there is one: so does a proxy,
    and so it goes where the name of a site, once its page is loaded, leads to another machine.
    """

    def __init__(self, host):
        self.behind = ""
        self.findings = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Visit, self))
        self.origin = f"http://{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def page(self, script, **arguments):
        """The URL of a page that runs a script."""
        return f"{self.origin}/page?{urlencode({'script': script, **arguments})}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Visit(BaseHTTPRequestHandler):
    """One request to a site."""

    def __init__(self, site, *arguments):
        self._site = site
        super().__init__(*arguments)

    def do_GET(self):
        url = urlsplit(self.path)
        script = PAGES / Path(url.path).name
        if url.path == "/page":
            (name,) = parse_qs(url.query)["script"]
            page = f'<!doctype html><script type="module" src="{name}.mjs"></script>'
            self._say(page.encode(), {"Content-Type": "text/html"})
        elif script.suffix == ".mjs" and script.is_file():
            self._say(script.read_bytes(), {"Content-Type": "text/javascript"})
        else:
            self._pass_on()

    def do_POST(self):
        if self.path == "/findings":
            self._site.findings.put(json.loads(self._body()))
            self._say(b"", {})
        else:
            self._pass_on()

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _pass_on(self):
        if not self._site.behind:
            self.send_error(404)
            return
        connection = http.client.HTTPConnection(self._site.behind, timeout=PATIENCE)
        try:
            # `Host` goes with the other headers, as it came.
            connection.putrequest(self.command, self.path, skip_host=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(self._body())
            answer = connection.getresponse()
            given = {name: answer.headers.get(name, "") for name in ("Content-Type", "Set-Cookie")}
            self._say(answer.read(), given, answer.status)
        finally:
            connection.close()

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _pass_on

    def _say(self, body, headers, status=200):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Browser:
    """Chromium, a new one for each page; names below `.example` are this machine's."""

    OPTIONS = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-extensions",
        "--disable-sync",
        "--no-default-browser-check",
        "--no-first-run",
        "--no-proxy-server",
        "--remote-debugging-port=0",
        "--host-resolver-rules=MAP *.example 127.0.0.1",
    )

    def __init__(self, program, directory):
        self._program = program
        self._directory = directory
        self._opened = 0

    def open(self, site, script, *, heard_by=None, **arguments):
        """Open a page of a site; what its script finds, or that of the page it leads to."""
        self._opened += 1
        home = self._directory / f"browser-{self._opened}"
        home.mkdir()
        url = site.page(script, **arguments)
        command = [self._program, *self.OPTIONS, f"--user-data-dir={home}", url]
        with (home / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {"HOME": str(home)},
                start_new_session=True,
            )
        try:
            return (heard_by or site).findings.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError((home / "output").read_text(errors="replace")) from None
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
