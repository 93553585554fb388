"""A web server that counts what is read of it."""

import http.server
import threading
from collections import Counter
from contextlib import contextmanager


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves what `pages` of its server have, with Range."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        page = self.server.pages.get(self.path)
        self.server.asked[self.path] += 1
        if page is None:
            self.send_error(404)
            return
        first = 0
        asked = self.headers.get("Range")
        if asked:
            first = int(asked.removeprefix("bytes=").partition("-")[0])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(page) - 1}/{len(page)}")
        else:
            self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(page) - first))
        self.end_headers()
        for at in range(first, len(page), 65536):
            data = page[at : at + 65536]
            self.wfile.write(data)
            self.server.sent[self.path] += len(data)

    def log_message(self, *_):
        pass


@contextmanager
def web_server(pages):
    """A server on loopback: `url`, `asked` and `sent` (requests and bytes, by path)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.pages, server.asked, server.sent = pages, Counter(), Counter()
    server.url = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield server
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
