"""A session of libtorrent as a process of its own, for what it keeps of trackers is the process's.

Usage: python libtorrent_session.py PORT

Reads lines of JSON: [metainfo in hex, directory]. Prints one for each failure that a tracker is
the reason of: [infohash in hex, text].
"""

import json
import sys
import threading

import libtorrent as lt


def main(port):
    session = lt.session(
        {
            "listen_interfaces": f"127.0.0.1:{port},[::1]:{port}",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "allow_multiple_connections_per_ip": True,
            "smooth_connects": False,
            "enable_outgoing_utp": False,
            # Transmission takes one handshake at a time from an address.
            "min_reconnect_time": 1,
            "max_failcount": 99,
            "unchoke_interval": 1,
            "alert_mask": lt.alert.category_t.tracker_notification,
        }
    )
    threading.Thread(target=tell, args=(session,), daemon=True).start()
    for line in sys.stdin:
        metainfo, directory = json.loads(line)
        parameters = lt.add_torrent_params()
        parameters.ti = lt.torrent_info(lt.bdecode(bytes.fromhex(metainfo)))
        parameters.save_path = directory
        flags = lt.torrent_flags
        parameters.flags &= ~(flags.auto_managed | flags.paused)  # no waiting in a queue
        session.add_torrent(parameters)


def tell(session):
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.tracker_error_alert):
                text = alert.failure_reason() or alert.error.message()
                print(json.dumps([str(alert.handle.info_hash()), text]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
