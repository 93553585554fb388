"""Which BitTorrent client a peer id tells of (BEP 20)."""

import re

_AZUREUS = re.compile(rb"-([0-9A-Za-z~]{2})[0-9A-Za-z.]{4}-")
_SHADOW = re.compile(rb"([A-Z])[0-9A-Za-z.-]{5}---")
_MAINLINE = re.compile(rb"M[0-9]{1,2}-[0-9]{1,2}-[0-9]{1,2}-")

_BY_CODE = {
    "7T": "aTorrent",
    "AG": "Ares",
    "A~": "Ares",
    "AR": "Arctic",
    "AT": "Artemis",
    "AV": "Avicora",
    "AX": "BitPump",
    "AZ": "Azureus",
    "BB": "BitBuddy",
    "BC": "BitComet",
    "BE": "BitTorrent SDK",
    "BF": "Bitflu",
    "BG": "BTGetit",
    "BI": "BiglyBT",
    "BL": "BitLord",
    "BP": "BitTorrent Pro",
    "BR": "BitRocket",
    "BS": "BTSlave",
    "BT": "BitTorrent",
    "BW": "BitWombat",
    "BX": "Bittorrent X",
    "CD": "Enhanced CTorrent",
    "CT": "CTorrent",
    "DE": "Deluge",
    "DP": "Propagate",
    "EB": "EBit",
    "ES": "electric sheep",
    "FC": "FileCroc",
    "FD": "Free Download Manager",
    "FT": "FoxTorrent",
    "FW": "FrostWire",
    "FX": "Freebox BitTorrent",
    "GS": "GSTorrent",
    "HL": "Halite",
    "HN": "Hydranode",
    "JT": "jsTorrent",
    "KG": "KGet",
    "KT": "KTorrent",
    "LH": "LH-ABC",
    "LP": "Lphant",
    "LT": "libtorrent",
    "LW": "LimeWire",
    "MO": "MonoTorrent",
    "MP": "MooPolice",
    "MR": "Miro",
    "MT": "MoonlightTorrent",
    "NX": "Net Transport",
    "PC": "CacheLogic",
    "PD": "Pando",
    "PI": "PicoTorrent",
    "qB": "qBittorrent",
    "QD": "QQDownload",
    "QT": "Qt 4 Torrent",
    "RT": "Retriever",
    "SB": "Swiftbit",
    "SD": "Xunlei",
    "SM": "SoMud",
    "SN": "ShareNET",
    "SS": "SwarmScope",
    "ST": "SymTorrent",
    "SZ": "Shareaza",
    "TL": "Tribler",
    "TN": "Torrent.NET",
    "TR": "Transmission",
    "TS": "Torrentstorm",
    "TT": "TuoTu",
    "UL": "uLeecher!",
    "UM": "µTorrent for Mac",
    "UT": "µTorrent",
    "UW": "µTorrent Web",
    "VG": "Vagaa",
    "WT": "BitLet",
    "WW": "WebTorrent",
    "WD": "WebTorrent Desktop",
    "XL": "Xunlei",
    "XT": "XanTorrent",
    "XX": "Xtorrent",
    "ZT": "ZipTorrent",
    "lt": "rTorrent",
}
_BY_LETTER = {
    "A": "ABC",
    "O": "Osprey Permaseed",
    "Q": "BTQueue",
    "R": "Tribler",
    "S": "Shadow",
    "T": "BitTornado",
    "U": "UPnP NAT Bit Torrent",
}


def client_name(peer_id: bytes) -> str | None:
    """Return the name of the client that made a peer id, None if it is not known."""
    if found := _AZUREUS.match(peer_id):
        return _BY_CODE.get(found[1].decode())
    if _MAINLINE.match(peer_id):
        return "Mainline"
    if found := _SHADOW.match(peer_id):
        return _BY_LETTER.get(found[1].decode())
    return "aria2" if peer_id.startswith(b"A2-") else None
