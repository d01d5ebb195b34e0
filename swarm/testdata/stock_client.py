"""A stock BitTorrent client for the interoperability tests of package swarm.

    stock_client.py seed  IP DIR TORRENT          seeds DIR/NAME/...
    stock_client.py seed-content IP DIR TORRENT   the same, of DIR/NAME/NAME alone
    stock_client.py fetch IP DIR SOURCE PEER...   fetches into DIR/NAME/...
    stock_client.py time-content IP DIR TORRENT PEER
    stock_client.py dht   IP                      is a node of the DHT, no more

Options, anywhere: --tracker=URL, --dht=IP:PORT (a node to begin with), --local
(service discovery); without them a client has no such way of finding peers.

SOURCE is a magnet link or a torrent file, PEER is IP:PORT. "seed" prints
"port N" when it seeds, and so does "dht", "fetch" prints "done" when it has everything; both then
wait for the end of their standard input. "time-content" fetches DIR/NAME/NAME
alone and prints "done SECONDS CPU_SECONDS", from the connection on.
"""

import sys
import time

import libtorrent as lt


def session(ip, options):
    loopback = {
        "dht_bootstrap_nodes": options.get("dht", ""),
        "dht_restrict_routing_ips": False,
        "dht_restrict_search_ips": False,
        "dht_prefer_verified_node_ids": False,
        "dht_enforce_node_id": False,
        "dht_announce_interval": 5,
        "dht_ignore_dark_internet": False,
    } if "dht" in options else {}
    return lt.session(loopback | {
        "listen_interfaces": ip + ":0",
        "outgoing_interfaces": ip,
        "enable_dht": "dht" in options,
        "enable_lsd": "local" in options,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "allow_multiple_connections_per_ip": True,
        "alert_mask": lt.alert.category_t.error_notification,
    })


def wait(ready, what, pause=0.02):
    deadline = time.monotonic() + 50
    while not ready():
        if time.monotonic() > deadline:
            sys.exit("waited in vain for " + what)
        time.sleep(pause)


def main():
    options = dict(a[2:].partition("=")[::2] for a in sys.argv if a.startswith("--"))
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    verb, ip = args[:2]
    ses = session(ip, options if verb != "dht" else {"dht": ""})
    if verb == "dht":
        wait(ses.listen_port, "the listening port")
        print("port", ses.listen_port(), flush=True)
        sys.stdin.read()
        return
    folder, source = args[2:4]
    if source.startswith("magnet:"):
        params = lt.parse_magnet_uri(source)
    else:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(source)
    params.save_path = folder
    if "tracker" in options:
        params.trackers = [options["tracker"]]
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if verb.endswith("-content"):
        files = params.ti.files()  # padding included
        params.file_priorities = [
            0 if files.file_path(i).endswith(".parity") else 4 for i in range(files.num_files())]
    handle = ses.add_torrent(params)
    if verb.startswith("seed"):
        wait(lambda: (handle.status().is_finished if verb == "seed-content" else handle.status().is_seeding)
             and ses.listen_port(), "the check of the files")
        print("port", ses.listen_port(), flush=True)
    else:
        wait(ses.listen_port, "the listening port")
        began, busy = time.monotonic(), time.process_time()
        for peer in args[4:]:
            host, port = peer.rsplit(":", 1)
            handle.connect_peer((host, int(port)))
        if verb == "time-content":
            wait(lambda: handle.status().is_finished, "the download", 0.002)
            print("done", time.monotonic() - began, time.process_time() - busy, flush=True)
            sys.stdin.read()
            return
        wait(lambda: handle.status().is_seeding, "the download: " + str(handle.status().state))
        ses.remove_torrent(handle)  # closes the files
        del handle, ses  # waits for the disk threads
        print("done", flush=True)
    sys.stdin.read()


main()
