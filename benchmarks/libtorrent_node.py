"""One libtorrent client for swarm.py: a seed, or a leech that begins when it is told to.

It prints `ready`; a leech begins at the signal SIGUSR1, and prints `done` when it holds all,
verified. At the next SIGUSR1 it writes what it still keeps in memory, and prints `sent` and how
many bytes of pieces it sent.
"""

import argparse
import signal
import sys
from pathlib import Path

import libtorrent as lt

_KIB = 1024
_MIB = 1024 * _KIB
_TICK = 100  # milliseconds
_FAILURES = (lt.torrent_error_alert, lt.file_error_alert, lt.listen_failed_alert)

# For machines of one network that trust each other: nothing announced to anyone else, no
# encryption, no limit that a home's uplink needs, and buffers of the size that was fastest here.
_SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_ip_notifier": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "in_enc_policy": int(lt.enc_policy.pe_disabled),
    "out_enc_policy": int(lt.enc_policy.pe_disabled),
    "connection_speed": 1000,
    "torrent_connect_boost": 200,
    "connections_limit": 2000,
    "listen_queue_size": 256,
    "min_reconnect_time": 1,
    "smooth_connects": False,
    "peer_turnover": 0,
    "unchoke_slots_limit": -1,
    "active_limit": -1,
    "active_downloads": -1,
    "active_seeds": -1,
    "send_buffer_watermark": _MIB,
    "send_buffer_low_watermark": 128 * _KIB,
    "send_buffer_watermark_factor": 200,
    "send_not_sent_low_watermark": _MIB,
    "max_peer_recv_buffer_size": 4 * _MIB,
    "max_out_request_queue": 2000,
    "max_allowed_in_request_queue": 4000,
    "request_queue_time": 2,
    "strict_end_game_mode": False,
    "auto_sequential": False,
    "mixed_mode_algorithm": 0,  # prefer TCP
    "rate_limit_ip_overhead": False,
    "aio_threads": 2,
    "hashing_threads": 1,
    "max_queued_disk_bytes": 64 * _MIB,
    "file_pool_size": 500,
    "tick_interval": _TICK,
    "alert_mask": lt.alert.category_t.error_notification
    | lt.alert.category_t.status_notification
    | lt.alert.category_t.storage_notification,
}


def main() -> None:
    """Be a seed or a leech, as told."""
    arguments = _arguments()
    # Before there are threads, so that the signal finds none of them unprepared.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    interface = {
        "listen_interfaces": f"{arguments.address}:0",
        "outgoing_interfaces": arguments.address,
    }
    session = lt.session(_SETTINGS | interface)
    wish = lt.load_torrent_file(str(arguments.torrent))
    wish.save_path = str(arguments.directory)
    wish.trackers = [arguments.tracker]
    wish.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if arguments.seed:
        wish.flags |= lt.torrent_flags.seed_mode
        torrent = session.add_torrent(wish)
        print("ready", flush=True)
    else:
        print("ready", flush=True)
        signal.sigwait({signal.SIGUSR1})
        torrent = session.add_torrent(wish)
        _wait_for(session, lt.torrent_finished_alert)
        print("done", flush=True)
    signal.sigwait({signal.SIGUSR1})
    torrent.flush_cache()
    _wait_for(session, lt.cache_flushed_alert)
    print("sent", torrent.status().total_payload_upload, flush=True)
    signal.pause()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("torrent", type=Path)
    parser.add_argument("directory", type=Path, help="where the file is, or is to be")
    parser.add_argument("address", help="where to listen, and where to connect from")
    parser.add_argument("tracker", help="its announce URL")
    parser.add_argument("--seed", action="store_true", help="the file is there")
    return parser.parse_args()


def _wait_for(session: lt.session, wanted: type) -> None:
    """Wait for an alert; ends the program if something goes wrong first."""
    while True:
        session.wait_for_alert(_TICK)
        for alert in session.pop_alerts():
            if isinstance(alert, _FAILURES):
                sys.exit(f"{alert.what()}: {alert.message()}")
            if isinstance(alert, wanted):
                return


if __name__ == "__main__":
    main()
