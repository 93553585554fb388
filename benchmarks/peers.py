"""What p2pd is compared with: other programs that do the same work."""

import grp
import hashlib
import os
import pwd
import shutil
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from measure import Meter, children, peak_memory
from processes import Failed, Process, free_port, running
from result import Result

_TIMEOUT = 600.0
_START_TIMEOUT = 10.0
_WORKERS = 2
_CONFIG = """\
daemon off;
user {user} {group};
worker_processes {workers};
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""
_LEECH = """\
curl -q -sS --fail --noproxy '*' -o "$1" "$2" && openssl dgst -sha256 -r "$1"
"""


def program(name: str) -> str:
    """Return the path of a program, also of one for administrators; raises Failed without it."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise Failed(f"{name} is not installed: see benchmarks/README.rst for the packages")
    return path


def nginx_and_curl(file: Path, leeches: int, directory: Path) -> Result:
    """Serve the file with nginx, fetch it with as many curls, each followed by its SHA-256."""
    digest = _sha256(file)
    copies = [directory / f"copy-{number}" for number in range(leeches)]
    with ExitStack() as stack:
        nginx, url = _nginx(stack, file.parent, directory)
        workers = children(nginx.pid)
        meter = Meter([nginx.pid, *workers])
        fetching = [
            stack.enter_context(
                running(
                    ["sh", "-c", _LEECH, "sh", str(copy), f"{url}/{file.name}"],
                    copy.with_suffix(".log"),
                )
            )
            for copy in copies
        ]
        printed = [one.finish(_TIMEOUT) for one in fetching]
        usage = meter.read()
        if any(text.split()[0] != digest for text in printed):
            raise Failed(f"a digest is not {digest}: {printed}")
        return Result(
            usage=usage,
            peak_memory=max(map(peak_memory, workers)),
            seed_sent=leeches * file.stat().st_size,
            copies=copies,
        )


def _nginx(stack: ExitStack, root: Path, directory: Path) -> tuple[Process, str]:
    """Start nginx in the foreground, with nothing of the system's configuration."""
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            user=pwd.getpwuid(os.geteuid()).pw_name,
            group=grp.getgrgid(os.getegid()).gr_name,
            workers=_WORKERS,
            port=port,
            root=root,
        ),
        "utf-8",
    )
    command = [program("nginx"), "-p", str(directory), "-c", str(config), "-e", "stderr"]
    process = stack.enter_context(running(command, directory / "nginx.log"))
    deadline = time.monotonic() + _START_TIMEOUT
    while not (accepts(port) and len(children(process.pid)) == _WORKERS):
        if time.monotonic() > deadline:
            raise Failed(f"nginx did not start:\n{process.printed}")
        time.sleep(0.02)
    return process, f"http://127.0.0.1:{port}"


def accepts(port: int) -> bool:
    """Tell whether anybody listens on a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), _START_TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
