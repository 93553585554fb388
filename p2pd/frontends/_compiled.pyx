# cython: language_level=3, cdivision=True
"""The compiled twin of the peer table and of both announce doors.

It answers what is common and well formed; all else it gives to the pure Python doors, so that
there is one place for every failure's text. The reactor's thread holds the interpreter's lock
throughout: system calls here do not wait. Nothing in this file is needed, only faster.
"""

import errno
import hashlib
import os
import socket
import struct
from dataclasses import replace

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from p2pd.frontends.announce_http import HttpDoor
from p2pd.frontends.announce_udp import UdpDoor
from p2pd.frontends.datagrams import MOST
from p2pd.protocol.udp import EPOCH
from p2pd.tracker.portions import Portion, Saved, pack, unpack
from p2pd.tracker.records import PeerRecord, SwarmRecord
from twisted.logger import Logger

_MOST_BYTES = (1 << 64) - 1
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# Constants of Linux that the socket module does not have.
_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE = 10, 3

_log = Logger()


# Keyed hashes, so that nobody can choose what collides.

cdef struct Key:
    uint64_t low
    uint64_t high

cdef struct Sip:
    uint64_t a
    uint64_t b
    uint64_t c
    uint64_t d


cdef inline uint64_t turned(uint64_t word, int by) noexcept nogil:
    return (word << by) | (word >> (64 - by))


cdef inline void sip_round(Sip* s) noexcept nogil:
    s.a += s.b
    s.c += s.d
    s.b = turned(s.b, 13) ^ s.a
    s.d = turned(s.d, 16) ^ s.c
    s.a = turned(s.a, 32) + s.d
    s.c += s.b
    s.b = turned(s.b, 17) ^ s.c
    s.d = turned(s.d, 21) ^ s.a
    s.c = turned(s.c, 32)


cdef inline uint64_t siphash(const Key* key, const uint8_t* data, size_t size) noexcept nogil:
    """SipHash-2-4."""
    cdef Sip s
    cdef uint64_t word
    cdef size_t at = 0
    cdef int k
    s.a = key.low ^ <uint64_t>0x736F6D6570736575
    s.b = key.high ^ <uint64_t>0x646F72616E646F6D
    s.c = key.low ^ <uint64_t>0x6C7967656E657261
    s.d = key.high ^ <uint64_t>0x7465646279746573
    while True:
        if at + 8 <= size:
            memcpy(&word, data + at, 8)
        else:
            word = 0
            memcpy(&word, data + at, size - at)
            word |= <uint64_t>size << 56
        s.d ^= word
        sip_round(&s)
        sip_round(&s)
        s.a ^= word
        if at + 8 > size:
            break
        at += 8
    s.c ^= 0xFF
    for k in range(4):
        sip_round(&s)
    return s.a ^ s.b ^ s.c ^ s.d


cdef Key new_key(bytes secret) except *:
    cdef Key key
    key.low, key.high = struct.unpack("=QQ", hashlib.blake2b(secret, digest_size=16).digest())
    return key


# A crowd: the clients of one address family in a swarm. In memory a header, then either rows, or
# (`split`) 16 smaller crowds by the next four bits of the addresses' hashes. Rows stand in
# columns, those first that every announce reads: addresses, stamps, tags, peer ids, amounts.
# Leeches come before seeds.

cdef struct Crowd:
    uint32_t peers
    uint32_t leeches
    uint16_t room
    uint8_t split

cdef struct Row:
    uint8_t address[18]
    uint8_t stamp
    uint8_t peer_id[20]
    float amounts[3]  # uploaded, downloaded, left

cdef enum:
    ROWS = 12  # sizeof(Crowd), where the rows begin
    PARTS = 16  # where the smaller crowds begin
    FAN = 16
    MOST_ROWS = 256  # a crowd with more is split
    FEW_ROWS = 64  # one with less is made whole again
    DEEPEST = 15  # there a hash has no bits left
    ROW = 34  # bytes of a row beside the address


cdef inline uint8_t* addresses_of(Crowd* crowd) noexcept nogil:
    return <uint8_t*>crowd + ROWS


cdef inline uint8_t* stamps_of(Crowd* crowd, int width) noexcept nogil:
    return <uint8_t*>crowd + ROWS + crowd.room * width


cdef inline uint8_t* tags_of(Crowd* crowd, int width) noexcept nogil:
    return <uint8_t*>crowd + ROWS + crowd.room * (width + 1)


cdef inline uint8_t* ids_of(Crowd* crowd, int width) noexcept nogil:
    return <uint8_t*>crowd + ROWS + crowd.room * (width + 2)


cdef inline uint8_t* amounts_of(Crowd* crowd, int width) noexcept nogil:
    return <uint8_t*>crowd + ROWS + crowd.room * (width + 22)


cdef inline Crowd** parts_of(Crowd* crowd) noexcept nogil:
    return <Crowd**>(<uint8_t*>crowd + PARTS)


cdef inline uint8_t tag_of(const uint8_t* peer_id) noexcept nogil:
    """A byte that tells most peer ids apart, whose first halves are alike."""
    return <uint8_t>(peer_id[19] * 31 + peer_id[17] * 7 + peer_id[14])


cdef inline int position(Crowd* crowd, int width, const uint8_t* address) noexcept nogil:
    """Where an address stands in an unsplit crowd, or -1."""
    cdef const uint8_t* row = addresses_of(crowd)
    cdef int k, peers = <int>crowd.peers
    if width == 6:
        for k in range(peers):
            if memcmp(row + 6 * k, address, 6) == 0:
                return k
    else:
        for k in range(peers):
            if memcmp(row + 18 * k, address, 18) == 0:
                return k
    return -1


cdef inline void write_row(Crowd* crowd, int width, int at, const Row* row) noexcept nogil:
    memcpy(addresses_of(crowd) + at * width, row.address, width)
    stamps_of(crowd, width)[at] = row.stamp
    tags_of(crowd, width)[at] = tag_of(row.peer_id)
    memcpy(ids_of(crowd, width) + at * 20, row.peer_id, 20)
    memcpy(amounts_of(crowd, width) + at * 12, row.amounts, 12)


cdef inline void read_row(Crowd* crowd, int width, int at, Row* row) noexcept nogil:
    memcpy(row.address, addresses_of(crowd) + at * width, width)
    row.stamp = stamps_of(crowd, width)[at]
    memcpy(row.peer_id, ids_of(crowd, width) + at * 20, 20)
    memcpy(row.amounts, amounts_of(crowd, width) + at * 12, 12)


cdef inline void copy_row(Crowd* crowd, int width, int source, int target) noexcept nogil:
    cdef Row row
    if source != target:
        read_row(crowd, width, source, &row)
        write_row(crowd, width, target, &row)


cdef void drop_row(Crowd* crowd, int width, int at) noexcept nogil:
    """Take out a row of an unsplit crowd, and close the gap."""
    cdef int last = <int>crowd.peers - 1
    if at < <int>crowd.leeches:
        crowd.leeches -= 1
        copy_row(crowd, width, <int>crowd.leeches, at)
        at = <int>crowd.leeches
    copy_row(crowd, width, last, at)
    crowd.peers -= 1


cdef void add_row(Crowd* crowd, int width, const Row* row, bint seed) noexcept nogil:
    """Put a row into an unsplit crowd that has room."""
    cdef int at = <int>crowd.peers
    if not seed:
        copy_row(crowd, width, <int>crowd.leeches, at)
        at = <int>crowd.leeches
        crowd.leeches += 1
    write_row(crowd, width, at, row)
    crowd.peers += 1


cdef Crowd* resized(Crowd* old, int width, uint32_t room) noexcept nogil:
    """A copy of an unsplit crowd (or none) with that much room; the old one is freed.

    NULL if memory is short; then the old one stays.
    """
    cdef Crowd* new = <Crowd*>malloc(ROWS + room * (width + ROW))
    cdef uint32_t peers
    if new == NULL:
        return NULL
    new.peers = new.leeches = 0
    new.room = <uint16_t>room
    new.split = 0
    if old != NULL:
        peers = old.peers
        new.peers = peers
        new.leeches = old.leeches
        memcpy(addresses_of(new), addresses_of(old), peers * width)
        memcpy(stamps_of(new, width), stamps_of(old, width), peers)
        memcpy(tags_of(new, width), tags_of(old, width), peers)
        memcpy(ids_of(new, width), ids_of(old, width), peers * 20)
        memcpy(amounts_of(new, width), amounts_of(old, width), peers * 12)
        free(old)
    return new


cdef void free_crowd(Crowd* crowd) noexcept nogil:
    cdef int k
    if crowd != NULL:
        if crowd.split:
            for k in range(FAN):
                free_crowd(parts_of(crowd)[k])
        free(crowd)


cdef int put_row(
    Crowd** root, int width, const Row* row, bint seed, const Key* key, int depth
) except -1:
    """Put a row into a crowd, which has no row of that address; the crowd grows or splits."""
    cdef Crowd* crowd = root[0]
    cdef uint32_t room
    if crowd != NULL and crowd.peers >= MOST_ROWS and not crowd.split and depth < DEEPEST:
        split(root, width, key, depth)
        crowd = root[0]
    elif crowd == NULL or (crowd.peers == crowd.room and not crowd.split):
        room = 0 if crowd == NULL else crowd.room
        room += 1 if room < 2 else 2 + room // 16
        if room > 0xFFFF:
            raise MemoryError
        crowd = resized(crowd, width, room)
        if crowd == NULL:
            raise MemoryError
        root[0] = crowd
    if not crowd.split:
        add_row(crowd, width, row, seed)
        return 0
    put_row(part_for(crowd, width, row.address, key, depth), width, row, seed, key, depth + 1)
    crowd.peers += 1
    crowd.leeches += not seed
    return 0


cdef inline Crowd** part_for(
    Crowd* crowd, int width, const uint8_t* address, const Key* key, int depth
) noexcept nogil:
    return &parts_of(crowd)[(siphash(key, address, width) >> (4 * depth)) & (FAN - 1)]


cdef int split(Crowd** root, int width, const Key* key, int depth) except -1:
    """Replace rows by 16 smaller crowds; if memory is short, all stays as it was."""
    cdef Crowd* old = root[0]
    cdef Crowd* new = <Crowd*>calloc(1, PARTS + FAN * sizeof(Crowd*))
    cdef Row row
    cdef int k
    if new == NULL:
        raise MemoryError
    new.split = 1
    try:
        for k in range(<int>old.peers):
            read_row(old, width, k, &row)
            put_row(&new, width, &row, k >= <int>old.leeches, key, depth)
    except MemoryError:
        free_crowd(new)
        raise
    root[0] = new
    free(old)
    return 0


cdef void gather(Crowd* target, Crowd* source, int width) noexcept nogil:
    """Add all rows of a crowd to an unsplit one that has room for them."""
    cdef Row row
    cdef int k
    if source == NULL:
        return
    if source.split:
        for k in range(FAN):
            gather(target, parts_of(source)[k], width)
    else:
        for k in range(<int>source.peers):
            read_row(source, width, k, &row)
            add_row(target, width, &row, k >= <int>source.leeches)


cdef void tidy(Crowd** root, int width) noexcept nogil:
    """Give back memory that a crowd needs no longer, after it has become smaller."""
    cdef Crowd* crowd = root[0]
    cdef Crowd* new
    if crowd.peers == 0:
        free_crowd(crowd)
        root[0] = NULL
    elif crowd.split and crowd.peers < FEW_ROWS:
        new = resized(NULL, width, crowd.peers + 2)
        if new != NULL:
            gather(new, crowd, width)
            free_crowd(crowd)
            root[0] = new
    elif not crowd.split and crowd.peers * 2 + 4 < crowd.room:
        new = resized(crowd, width, crowd.peers + 2)
        if new != NULL:
            root[0] = new


cdef int take_row(
    Crowd** root, int width, const uint8_t* address, Row* row, const Key* key, int depth
) noexcept nogil:
    """Take an address out of a crowd: its row, and 1 for a seed, 0 for a leech; -1: not there."""
    cdef Crowd* crowd = root[0]
    cdef int at, seed
    if crowd == NULL:
        return -1
    if crowd.split:
        seed = take_row(
            part_for(crowd, width, address, key, depth), width, address, row, key, depth + 1
        )
        if seed >= 0:
            crowd.peers -= 1
            crowd.leeches -= not seed
    else:
        at = position(crowd, width, address)
        if at < 0:
            return -1
        seed = at >= <int>crowd.leeches
        read_row(crowd, width, at, row)
        drop_row(crowd, width, at)
    if seed >= 0:
        tidy(root, width)
    return seed


cdef Crowd* place_of(
    Crowd* crowd, int width, const uint8_t* address, const Key* key, int* at
) noexcept nogil:
    """The unsplit crowd that holds an address, and where; NULL if none does."""
    cdef int depth = 0
    while crowd != NULL and crowd.split:
        crowd = part_for(crowd, width, address, key, depth)[0]
        depth += 1
    if crowd == NULL:
        return NULL
    at[0] = position(crowd, width, address)
    return crowd if at[0] >= 0 else NULL


cdef struct Handout:
    uint8_t* to
    uint32_t wanted
    int width
    bint leeches_only
    uint8_t tag
    const uint8_t* peer_id  # whose own records are left out
    uint64_t random


cdef inline uint32_t below(uint64_t* random, uint32_t limit) noexcept nogil:
    """A random number; xorshift is good enough to spread clients."""
    cdef uint64_t x = random[0]
    x ^= x << 13
    x ^= x >> 7
    x ^= x << 17
    random[0] = x
    return <uint32_t>(((x >> 32) * limit) >> 32)


cdef void hand_out(Crowd* crowd, Handout* out) noexcept nogil:
    """Write a window of a crowd's addresses, from anywhere on and round its end."""
    cdef uint32_t k, at, start, most
    cdef const uint8_t* tags
    cdef const uint8_t* addresses
    if crowd == NULL or out.wanted == 0:
        return
    most = crowd.leeches if out.leeches_only else crowd.peers
    if most == 0:
        return
    if crowd.split:
        start = below(&out.random, FAN)
        for k in range(FAN):
            hand_out(parts_of(crowd)[(start + k) & (FAN - 1)], out)
        return
    tags = tags_of(crowd, out.width)
    addresses = addresses_of(crowd)
    at = below(&out.random, most) if most > out.wanted else 0
    for k in range(most):
        if tags[at] != out.tag or memcmp(
            ids_of(crowd, out.width) + 20 * at, out.peer_id, 20
        ) != 0:
            if out.width == 6:
                memcpy(out.to, addresses + 6 * at, 6)
            else:
                memcpy(out.to, addresses + 18 * at, 18)
            out.to += out.width
            out.wanted -= 1
            if out.wanted == 0:
                return
        at += 1
        if at == most:
            at = 0


# The peer table: slots of torrents that stay where they are, found by open addressing.

cdef struct Swarm:
    uint8_t infohash[20]
    uint32_t state
    uint64_t allowed  # the version of the lists by which it was
    uint64_t completed  # of an unused slot: the next unused one
    Crowd* crowds[2]  # IPv4, IPv6

cdef enum:
    USED = 1
    KEPT = 2  # it outlives its last client
    SLAB = 1024  # slots are allocated by so many
    LIFE = 160  # ticks that a silent client is kept; ticks are numbered modulo 256
    LATEST = 90  # ticks after which an unswept record could soon look young again
    PORTION = 2000  # clients; they are restored in some milliseconds

cdef enum:
    COMPLETED = 1
    STARTED = 2
    STOPPED = 3
    PAUSED = 4

cdef struct Client:
    const uint8_t* infohash
    const uint8_t* peer_id
    uint8_t address[18]
    int width
    uint64_t uploaded
    uint64_t downloaded
    uint64_t left
    uint32_t event
    uint32_t wanted

cdef struct Counts:
    uint64_t complete
    uint64_t incomplete
    uint64_t downloaded
    uint32_t size  # of the peers, in bytes


cdef class CompiledTable:
    """`tracker.peer_table.CompactTable`, compiled."""

    cdef public object nodes
    cdef object _changed
    cdef Key _key
    cdef uint64_t _random
    cdef uint64_t* _buckets  # the upper half of the hash, and the slot's number plus one
    cdef uint64_t _mask
    cdef Swarm** _slabs
    cdef uint64_t _slots  # in use or not
    cdef uint64_t _unused  # a slot's number plus one
    cdef uint64_t _torrents, _seeds, _leeches, _completed
    cdef uint64_t _most_peers, _most_torrents
    cdef double _unit
    cdef int64_t _tick, _swept, _circle_began
    cdef uint64_t _circle, _circle_end

    def __cinit__(self):
        self._mask = 1023
        self._buckets = <uint64_t*>calloc(self._mask + 1, sizeof(uint64_t))
        if self._buckets == NULL:
            raise MemoryError

    def __init__(
        self, *, lifetime, now, rng, most_peers=20_000_000, most_torrents=5_000_000
    ):
        self.nodes = {}
        self._changed = set()
        self._key = new_key(os.urandom(16))
        self._random = rng.getrandbits(64) | 1
        self._most_peers = most_peers
        self._most_torrents = most_torrents
        self._unit = lifetime / LIFE
        self._tick = self._swept = self._circle_began = int(now / self._unit)

    def __dealloc__(self):
        cdef uint64_t k
        cdef Swarm* swarm
        for k in range(self._slots):
            swarm = self.slot(k)
            if swarm.state & USED:
                free_crowd(swarm.crowds[0])
                free_crowd(swarm.crowds[1])
        for k in range(self._slots // SLAB):
            free(self._slabs[k])
        free(self._slabs)
        free(self._buckets)

    cdef inline Swarm* slot(self, uint64_t number) noexcept nogil:
        return &self._slabs[number // SLAB][number % SLAB]

    cdef inline uint64_t hash_of(self, const uint8_t* infohash) noexcept nogil:
        return siphash(&self._key, infohash, 20)

    cdef inline uint64_t* bucket(self, uint64_t hashed) noexcept nogil:
        return &self._buckets[hashed & self._mask]

    cdef inline Swarm* likely(self, uint64_t hashed) noexcept nogil:
        """The torrent with that hash, if it is found at the first look."""
        cdef uint64_t entry = self.bucket(hashed)[0]
        if entry == 0 or entry >> 32 != hashed >> 32:
            return NULL
        return self.slot(<uint32_t>entry - 1)

    cdef Swarm* find(self, const uint8_t* infohash) noexcept nogil:
        return self.find_hashed(infohash, self.hash_of(infohash))

    cdef Swarm* find_hashed(self, const uint8_t* infohash, uint64_t hashed) noexcept nogil:
        cdef uint64_t at = hashed & self._mask
        cdef uint64_t entry
        cdef Swarm* swarm
        while True:
            entry = self._buckets[at]
            if entry == 0:
                return NULL
            if entry >> 32 == hashed >> 32:
                swarm = self.slot(<uint32_t>entry - 1)
                if memcmp(swarm.infohash, infohash, 20) == 0:
                    return swarm
            at = (at + 1) & self._mask

    cdef Swarm* add(self, const uint8_t* infohash) except NULL:
        """Make a torrent that is not there."""
        cdef uint64_t hashed = self.hash_of(infohash)
        cdef Swarm* swarm
        if (self._torrents + 1) * 10 > (self._mask + 1) * 7:
            self.rehash()
        if self._unused == 0:
            self.add_slab()
        swarm = self.slot(self._unused - 1)
        self.enter(hashed, self._unused)
        self._unused = swarm.completed
        memset(swarm, 0, sizeof(Swarm))
        memcpy(swarm.infohash, infohash, 20)
        swarm.state = USED
        self._torrents += 1
        return swarm

    cdef inline void enter(self, uint64_t hashed, uint64_t number) noexcept nogil:
        cdef uint64_t at = hashed & self._mask
        while self._buckets[at] != 0:
            at = (at + 1) & self._mask
        self._buckets[at] = (hashed >> 32 << 32) | number

    cdef int rehash(self) except -1:
        cdef uint64_t* old = self._buckets
        cdef uint64_t k, count = self._mask + 1
        cdef uint64_t* new = <uint64_t*>calloc(2 * count, sizeof(uint64_t))
        if new == NULL:
            raise MemoryError
        self._buckets = new
        self._mask = 2 * count - 1
        for k in range(count):
            if old[k] != 0:
                self.enter(
                    self.hash_of(self.slot(<uint32_t>old[k] - 1).infohash),
                    <uint32_t>old[k],
                )
        free(old)
        return 0

    cdef int add_slab(self) except -1:
        cdef uint64_t k, slabs = self._slots // SLAB
        cdef Swarm** grown = <Swarm**>realloc(self._slabs, (slabs + 1) * sizeof(Swarm*))
        if grown == NULL:
            raise MemoryError
        self._slabs = grown
        grown[slabs] = <Swarm*>calloc(SLAB, sizeof(Swarm))
        if grown[slabs] == NULL:
            raise MemoryError
        for k in range(SLAB):
            grown[slabs][k].completed = self._slots + k + 2 if k + 1 < SLAB else 0
        self._unused = self._slots + 1
        self._slots += SLAB
        return 0

    cdef void drop(self, Swarm* swarm) noexcept:
        """Forget a torrent, whose crowds are empty."""
        cdef uint64_t at = self.hash_of(swarm.infohash) & self._mask
        cdef uint64_t gap, home
        while self.slot(<uint32_t>self._buckets[at] - 1) != swarm:
            at = (at + 1) & self._mask
        swarm.state = 0
        swarm.completed = self._unused
        self._unused = <uint32_t>self._buckets[at]
        self._torrents -= 1
        # Those behind it that were displaced move up.
        gap = at
        while True:
            at = (at + 1) & self._mask
            if self._buckets[at] == 0:
                break
            home = self.hash_of(self.slot(<uint32_t>self._buckets[at] - 1).infohash)
            if ((at - home) & self._mask) >= ((at - gap) & self._mask):
                self._buckets[gap] = self._buckets[at]
                gap = at
        self._buckets[gap] = 0

    cdef inline void settle(self, Swarm* swarm) noexcept:
        """Forget a torrent that nothing is known of any more."""
        if not swarm.state & KEPT and swarm.crowds[0] == NULL and swarm.crowds[1] == NULL:
            self.drop(swarm)

    cdef inline void counts(self, const uint8_t* infohash, Swarm* swarm, Counts* counts) except *:
        cdef int family
        cdef Crowd* crowd
        counts.complete = counts.incomplete = counts.downloaded = 0
        if swarm != NULL:
            counts.downloaded = swarm.completed
            for family in range(2):
                crowd = swarm.crowds[family]
                if crowd != NULL:
                    counts.incomplete += crowd.leeches
                    counts.complete += crowd.peers - crowd.leeches
        if self.nodes:
            complete, incomplete = self.nodes.get(
                PyBytes_FromStringAndSize(<const char*>infohash, 20), (0, 0)
            )
            counts.complete += <uint64_t>complete
            counts.incomplete += <uint64_t>incomplete

    cdef int note(
        self, const Client* client, Swarm* swarm, Counts* counts, uint8_t* peers
    ) except -1:
        """Note a client; write what it is told, and the addresses of others to `peers`."""
        cdef Handout out
        cdef Crowd* crowd
        cdef int at
        cdef int family = client.width == 18
        out.peer_id = client.peer_id
        crowd = NULL if swarm == NULL else place_of(
            swarm.crowds[family], client.width, client.address, &self._key, &at
        )
        if crowd != NULL and (at < <int>crowd.leeches) == (client.left != 0) and not (
            client.event
            and (
                client.event == STOPPED
                or memcmp(
                    ids_of(crowd, client.width) + 20 * at + 8, client.peer_id + 8, 12
                ) != 0
            )
        ):
            # Nearly all announces are of this kind: the client is there still.
            stamps_of(crowd, client.width)[at] = <uint8_t>self._tick
            write_amounts(amounts_of(crowd, client.width) + 12 * at, client)
            out.peer_id = ids_of(crowd, client.width) + 20 * at
        else:
            swarm = self.change(client, swarm)
        counts.size = 0
        if client.wanted and client.event != STOPPED and swarm != NULL:
            out.to = peers
            out.wanted = client.wanted
            out.width = client.width
            out.leeches_only = client.left == 0 or client.event == PAUSED
            out.tag = tag_of(out.peer_id)
            out.random = self._random
            hand_out(swarm.crowds[family], &out)
            self._random = out.random
            counts.size = <uint32_t>(out.to - peers)
        self.counts(client.infohash, swarm, counts)
        return 0

    cdef Swarm* change(self, const Client* client, Swarm* swarm) except? NULL:
        """Note a client that comes, goes or has changed; return its torrent, if there is one."""
        cdef int family = client.width == 18
        cdef bint seed = client.left == 0
        cdef int was = -1
        cdef Row row
        if swarm != NULL:
            was = self.take(swarm, family, client.address)
        if client.event == STOPPED:
            if swarm != NULL:
                self.settle(swarm)
                if not swarm.state & USED:
                    return NULL
            return swarm
        if was < 0 and not self.has_room(swarm):
            return swarm
        if swarm == NULL:
            swarm = self.add(client.infohash)
        memcpy(row.address, client.address, client.width)
        memcpy(row.peer_id, client.peer_id, 20)
        row.stamp = <uint8_t>self._tick
        write_amounts(<uint8_t*>row.amounts, client)
        self.put_client(swarm, client.width, &row, seed)
        if client.event == COMPLETED and seed and was != 1:
            self.set_count(swarm, swarm.completed + 1)
        return swarm

    cdef int put_client(self, Swarm* swarm, int width, const Row* row, bint seed) except -1:
        try:
            put_row(&swarm.crowds[width == 18], width, row, seed, &self._key, 0)
        except MemoryError:
            self.settle(swarm)
            raise
        if seed:
            self._seeds += 1
        else:
            self._leeches += 1
        return 0

    cdef int take(self, Swarm* swarm, int family, const uint8_t* address) noexcept:
        """Take out a client: 1 for a seed, 0 for a leech, -1 if it is not there."""
        cdef Row row
        cdef int seed = take_row(
            &swarm.crowds[family], 18 if family else 6, address, &row, &self._key, 0
        )
        self._seeds -= seed == 1
        self._leeches -= seed == 0
        return seed

    cdef inline bint has_room(self, Swarm* swarm) noexcept:
        return self._seeds + self._leeches < self._most_peers and (
            swarm != NULL or self._torrents < self._most_torrents
        )

    cdef int set_count(self, Swarm* swarm, uint64_t completed) except -1:
        if not swarm.state & KEPT or swarm.completed != completed:
            self._changed.add(PyBytes_FromStringAndSize(<char*>swarm.infohash, 20))
            self.store_count(swarm, completed)
        return 0

    cdef void store_count(self, Swarm* swarm, uint64_t completed) noexcept:
        completed = min(completed, <uint64_t>INT64_MAX)
        self._completed += completed - swarm.completed
        swarm.completed = completed
        swarm.state |= KEPT

    def announce(
        self, infohash, address, peer_id, left, uploaded, downloaded, event, wanted
    ):
        """Note a client; return (complete, incomplete, downloaded, up to `wanted` others)."""
        cdef Client client
        cdef Counts counts
        cdef bytes peers
        cdef Swarm* swarm
        cdef bytes held = infohash, where = address, who = peer_id
        if len(held) != 20 or len(who) != 20 or len(where) not in (6, 18):
            raise ValueError("an infohash, an address or a peer id has a wrong size")
        client.infohash = held
        client.peer_id = who
        client.width = <int>len(where)
        memcpy(client.address, <const uint8_t*>where, client.width)
        client.left = min(left, _MOST_BYTES)
        client.uploaded = min(uploaded, _MOST_BYTES)
        client.downloaded = min(downloaded, _MOST_BYTES)
        client.event = event
        swarm = self.find(client.infohash)
        client.wanted = min(max(wanted, 0), self.most_known(swarm, client.width == 18))
        peers = PyBytes_FromStringAndSize(NULL, client.wanted * client.width)
        self.note(&client, swarm, &counts, <uint8_t*>PyBytes_AS_STRING(peers))
        return counts.complete, counts.incomplete, counts.downloaded, peers[: counts.size]

    cdef uint32_t most_known(self, Swarm* swarm, int family) noexcept:
        """How many clients there can be to hand out."""
        if swarm == NULL or swarm.crowds[family] == NULL:
            return 1
        return swarm.crowds[family].peers + 1

    def scrape(self, bytes infohash not None):
        """Return (complete, downloaded, incomplete), zeros for an unknown torrent."""
        cdef Counts counts
        self.counts(checked(infohash), self.find(infohash), &counts)
        return counts.complete, counts.downloaded, counts.incomplete

    def tick(self, now):
        """Tell the table what time it is, in Unix seconds; it never goes back.

        If sweeping is behind, all is swept at once, lest old records should look young again.
        """
        cdef int64_t tick = max(<int64_t>int(now / self._unit), self._tick)
        while tick - self._swept > LATEST:
            self._tick = tick
            if self._seeds + self._leeches:
                self._tick = min(tick, self._swept + LATEST)
            self._circle = self._circle_end = 0
            self.sweep(self._slots or 1)
        self._tick = tick

    def sweep(self, uint64_t most):
        """Look at the next `most` torrents, up to the end of the circle, for silent clients."""
        cdef Swarm* swarm
        cdef int family
        if self._circle >= self._circle_end:
            self._circle = 0
            self._circle_end = self._slots
            self._circle_began = self._tick
        while most and self._circle < self._circle_end:
            swarm = self.slot(self._circle)
            if swarm.state & USED:
                for family in range(2):
                    self.expire(&swarm.crowds[family], 18 if family else 6)
                self.settle(swarm)
                most -= 1
            self._circle += 1
        if self._circle >= self._circle_end:
            self._swept = self._circle_began

    cdef void expire(self, Crowd** root, int width) noexcept:
        """Take out of a crowd who has been silent for too long."""
        cdef Crowd* crowd = root[0]
        cdef Crowd* part
        cdef int k
        if crowd == NULL:
            return
        if crowd.split:
            crowd.peers = crowd.leeches = 0
            for k in range(FAN):
                self.expire(&parts_of(crowd)[k], width)
                part = parts_of(crowd)[k]
                if part != NULL:
                    crowd.peers += part.peers
                    crowd.leeches += part.leeches
        else:
            for k in range(<int>crowd.peers - 1, -1, -1):
                if <uint8_t>(self._tick - stamps_of(crowd, width)[k]) > LIFE:
                    if k < <int>crowd.leeches:
                        self._leeches -= 1
                    else:
                        self._seeds -= 1
                    drop_row(crowd, width, k)
        tidy(root, width)

    def record(self, bytes infohash not None):
        """Return all that is known of a torrent, None for an unknown one."""
        cdef Swarm* swarm = self.find(checked(infohash))
        if swarm == NULL:
            return None
        seeds, leeches = [], []
        for family in range(2):
            for clients in self.leaves(infohash, family):
                for client in clients:
                    (leeches if client.left else seeds).append(self.peer_record(client))
        updated = max((peer.updated for peer in (*seeds, *leeches)), default=0.0)
        return SwarmRecord(swarm.completed, updated, tuple(seeds), tuple(leeches))

    def peer_ids(self, bytes infohash not None, addresses):
        """Return the peer id of each client of a torrent, None for those that are not there."""
        cdef Swarm* swarm = self.find(checked(infohash))
        cdef Crowd* crowd
        cdef bytes address
        cdef int at, width
        ids = []
        for address in addresses:
            width = <int>len(address)
            if width not in (6, 18):
                raise ValueError("an address has 6 or 18 bytes")
            crowd = NULL if swarm == NULL else swarm.crowds[width == 18]
            crowd = place_of(crowd, width, <const uint8_t*>address, &self._key, &at)
            ids.append(
                None
                if crowd == NULL
                else PyBytes_FromStringAndSize(<char*>ids_of(crowd, width) + 20 * at, 20)
            )
        return ids

    def peer_record(self, client):
        """Return what a frontend shows of a client."""
        return PeerRecord(
            peer_id=client.peer_id,
            address=shown(client.address),
            updated=(self._tick - client.age) * self._unit,
            uploaded=int(client.uploaded),
            downloaded=int(client.downloaded),
            left=int(client.left),
        )

    def leaves(self, bytes infohash not None, family):
        """Give the clients of a torrent in lists of a few hundred; it may change meanwhile.

        Then some may be given twice. Lists are in the order of the addresses' hashes.
        """
        path = []
        while True:
            depth, clients = self.leaf(infohash, family, path)
            if clients:
                yield clients
            path = (path + [0] * depth)[:depth]
            while path and path[-1] == FAN - 1:
                path.pop()
            if not path:
                return
            path[-1] += 1

    cdef tuple leaf(self, bytes infohash, int family, list path):
        """Follow a path as far as it leads; return how far, and the clients there."""
        cdef Swarm* swarm = self.find(infohash)
        cdef Crowd* crowd = NULL if swarm == NULL else swarm.crowds[family]
        cdef int width = 18 if family else 6
        cdef int k, depth = 0
        cdef Row row
        while crowd != NULL and crowd.split:
            k = path[depth] if depth < len(path) else 0
            crowd = parts_of(crowd)[k]
            depth += 1
        clients = []
        for k in range(0 if crowd == NULL else <int>crowd.peers):
            read_row(crowd, width, k, &row)
            clients.append(
                Saved(
                    PyBytes_FromStringAndSize(<char*>row.address, width),
                    <uint8_t>(self._tick - row.stamp),
                    PyBytes_FromStringAndSize(<char*>row.peer_id, 20),
                    row.amounts[0],
                    row.amounts[1],
                    row.amounts[2],
                )
            )
        return depth, clients

    def put(self, bytes infohash not None, completed):
        """Create a torrent, or set its count; tell whether it is new. Its peers stay."""
        cdef Swarm* swarm = self.find(checked(infohash))
        cdef bint new = swarm == NULL
        if new:
            swarm = self.add(infohash)
        self.set_count(swarm, swarm.completed if completed is None else completed)
        return bool(new)

    def count(self, bytes infohash not None):
        """Count one completed download that was heard of elsewhere."""
        cdef Swarm* swarm = self.find(checked(infohash))
        if swarm == NULL:
            swarm = self.add(infohash)
        self.set_count(swarm, swarm.completed + 1)

    def remove(self, bytes infohash not None):
        """Forget a torrent and its peers; tell whether it was known."""
        cdef Swarm* swarm = self.find(checked(infohash))
        cdef Crowd* crowd
        cdef int family
        if swarm == NULL:
            return False
        for family in range(2):
            crowd = swarm.crowds[family]
            if crowd != NULL:
                self._leeches -= crowd.leeches
                self._seeds -= crowd.peers - crowd.leeches
                free_crowd(crowd)
                swarm.crowds[family] = NULL
        if swarm.state & KEPT:
            self._completed -= swarm.completed
            self._changed.add(infohash)
        self.drop(swarm)
        return True

    def load(self, counts):
        """Take in torrents as they were stored, and add what was counted meanwhile."""
        cdef Swarm* swarm
        cdef bytes infohash
        for infohash, completed in counts:
            swarm = self.find(checked(infohash))
            if swarm == NULL:
                swarm = self.add(infohash)
            self.store_count(swarm, swarm.completed + <uint64_t>completed)

    def changes(self):
        """Return the counts that changed since the last call; None: the torrent is gone."""
        changed, self._changed = self._changed, set()
        return {infohash: self.kept_count(infohash) for infohash in changed}

    cdef kept_count(self, bytes infohash):
        cdef Swarm* swarm = self.find(infohash)
        return swarm.completed if swarm != NULL and swarm.state & KEPT else None

    def totals(self):
        """Return how many torrents, seeds, leeches and completed downloads there are."""
        return self._torrents, self._seeds, self._leeches, self._completed

    def dump(self):
        """Give the swarms in portions of up to about 100 KiB, for `restore`."""
        cdef uint64_t k = 0
        groups, clients = [], 0
        while k < self._slots:
            infohash = self.swarm_in(k)
            for family in range(2 if infohash else 0):
                for leaf in self.leaves(infohash, family):
                    groups.append((infohash, leaf))
                    clients += len(leaf)
                    if clients >= PORTION:
                        yield self.portion(groups)
                        groups, clients = [], 0
            k += 1
        if groups:
            yield self.portion(groups)

    cdef bytes swarm_in(self, uint64_t number):
        """The infohash of the torrent in a slot, if it has clients; b"" otherwise."""
        cdef Swarm* swarm = self.slot(number)
        if not swarm.state & USED or (swarm.crowds[0] == NULL and swarm.crowds[1] == NULL):
            return b""
        return PyBytes_FromStringAndSize(<char*>swarm.infohash, 20)

    cdef bytes portion(self, list groups):
        return pack(Portion(self._tick * self._unit, self._unit, groups))

    def restore(self, portion):
        """Take in what `dump` gave, less what has aged too much; raise Invalid if damaged.

        What is known of a client already is newer, and stays.
        """
        saved = unpack(portion)
        silent = max(self._tick * self._unit - saved.now, 0.0)
        for infohash, clients in saved.swarms:
            for client in clients:
                age = round((silent + client.age * saved.unit) / self._unit)
                if age <= LIFE:
                    self.restore_client(infohash, client, age)

    cdef int restore_client(self, bytes infohash, client, int age) except -1:
        cdef bytes address = client.address
        cdef bytes peer_id = client.peer_id
        cdef int width = <int>len(address)
        cdef Swarm* swarm = self.find(checked(infohash))
        cdef int at
        cdef Row row
        if swarm != NULL and place_of(
            swarm.crowds[width == 18], width, address, &self._key, &at
        ) != NULL:
            return 0
        if not self.has_room(swarm):
            return 0
        if swarm == NULL:
            swarm = self.add(infohash)
        memcpy(row.address, <const uint8_t*>address, width)
        memcpy(row.peer_id, <const uint8_t*>peer_id, 20)
        row.stamp = <uint8_t>(self._tick - age)
        row.amounts[0] = client.uploaded
        row.amounts[1] = client.downloaded
        row.amounts[2] = client.left
        return self.put_client(swarm, width, &row, client.left == 0)


cdef inline void write_amounts(uint8_t* to, const Client* client) noexcept nogil:
    cdef float amounts[3]
    amounts[0] = <float><double>client.uploaded
    amounts[1] = <float><double>client.downloaded
    amounts[2] = <float><double>client.left
    memcpy(to, amounts, 12)


cdef const uint8_t* checked(bytes infohash) except NULL:
    if len(infohash) != 20:
        raise ValueError("an infohash is 20 bytes")
    return infohash


def shown(bytes address not None):
    """Write a packed address and port as host:port."""
    port = int.from_bytes(address[-2:], "big")
    if len(address) == 6:
        return f"{socket.inet_ntop(socket.AF_INET, address[:-2])}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, address[:-2])}]:{port}"


# What both doors need.

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <string.h>
    #include <netinet/in.h>
    #include <sys/epoll.h>
    #include <sys/socket.h>
    #include <unistd.h>
    #define fetch(address) __builtin_prefetch(address)
    static inline int last_error(void) { return errno; }
    """
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    struct sockaddr_storage:
        unsigned short ss_family
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        in_addr sin_addr
    struct sockaddr_in6:
        in6_addr sin6_addr
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int accept4(int, sockaddr*, socklen_t*, int)
    ssize_t recv(int, void*, size_t, int)
    ssize_t send(int, const void*, size_t, int)
    int recvmmsg(int, mmsghdr*, unsigned int, int, void*)
    int sendmmsg(int, mmsghdr*, unsigned int, int)
    int shut "close"(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)
    uint32_t ntohl(uint32_t)
    uint32_t htonl(uint32_t)
    void fetch(const void*)
    int last_error()
    const int EAGAIN, AF_INET, AF_INET6
    const int MSG_NOSIGNAL, MSG_DONTWAIT, MSG_MORE, SOCK_NONBLOCK, SOCK_CLOEXEC
    const int EPOLL_CTL_ADD
    const uint32_t EPOLLIN, EPOLLRDHUP, EPOLLET


cdef const char* MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef inline int host_of(const sockaddr_storage* sender, const uint8_t** host) noexcept nogil:
    """How many bytes the address of a sender has, and where; IPv4 within IPv6 is IPv4."""
    if sender.ss_family == AF_INET:
        host[0] = <const uint8_t*>&(<const sockaddr_in*>sender).sin_addr
        return 4
    if sender.ss_family != AF_INET6:
        return 0
    host[0] = <const uint8_t*>&(<const sockaddr_in6*>sender).sin6_addr
    if memcmp(host[0], MAPPED, 12) == 0:
        host[0] += 12
        return 4
    return 16


cdef inline uint32_t read_32(const uint8_t* at) noexcept nogil:
    cdef uint32_t word
    memcpy(&word, at, 4)
    return ntohl(word)


cdef inline uint64_t read_64(const uint8_t* at) noexcept nogil:
    return (<uint64_t>read_32(at) << 32) | read_32(at + 4)


cdef inline void write_32(uint8_t* at, uint64_t number) noexcept nogil:
    cdef uint32_t word = htonl(<uint32_t>min(number, <uint64_t>0xFFFFFFFF))
    memcpy(at, &word, 4)


cdef class Policy:
    """What `announcing` and its access policy say, read at the begin of a turn."""

    cdef object announcing
    cdef bint plain  # whether the compiled code may answer at all
    cdef uint64_t version
    cdef object listed
    cdef object banned

    def __init__(self, announcing):
        self.announcing = announcing

    cdef int read(self) except -1:
        announcing = self.announcing
        access = announcing.access
        self.plain = announcing.open and not access.named and announcing.zones is None
        self.version = access.version + 1
        self.listed = access.listed
        self.banned = access.banned
        return 0

    cdef inline bint allows(self, const uint8_t* infohash, Swarm* swarm) except -1:
        """Whether the lists let a torrent in; the table's record of it remembers that."""
        cdef bytes key
        if swarm != NULL and swarm.allowed == self.version:
            return True
        key = PyBytes_FromStringAndSize(<const char*>infohash, 20)
        if (self.listed is not None and key not in self.listed) or key in self.banned:
            return False
        if swarm != NULL:
            swarm.allowed = self.version
        return True


cdef class Seen:
    """What the compiled code counts, for one address family."""

    cdef uint64_t connections
    cdef uint64_t announces

    def added(self, tally):
        """Return a tally and this one together."""
        return replace(
            tally,
            connections=tally.connections + self.connections,
            announces=tally.announces + self.announces,
        )


def added(seen, tallies):
    """Return tallies, for IPv4 and IPv6, with what the compiled code has seen."""
    return tuple(each.added(tally) for each, tally in zip(seen, tallies, strict=True))


# The UDP door.

cdef class ConnectionIds:
    """What `protocol.udp.ConnectionIds` is, with a faster digest."""

    cdef Key _key
    cdef uint64_t _epoch
    cdef object _clock

    def __init__(self, bytes secret, clock):
        self._key = new_key(secret)
        self._clock = clock

    cdef int tick(self) except -1:
        """Read the clock."""
        self._epoch = <uint64_t><int64_t>(self._clock() // EPOCH)
        return 0

    cdef inline uint64_t made(self, const uint8_t* host, int size, uint64_t epoch) noexcept nogil:
        cdef uint8_t message[24]
        memcpy(message, &epoch, 8)
        memcpy(message + 8, host, size)
        return siphash(&self._key, message, 8 + size)

    cdef inline bint proves(
        self, const uint8_t* given, const uint8_t* host, int size
    ) noexcept nogil:
        cdef uint64_t connection
        memcpy(&connection, given, 8)
        return connection == self.made(host, size, self._epoch) or connection == self.made(
            host, size, self._epoch - 1
        )

    def give(self, bytes address not None):
        """Return the id for a packed address, 8 bytes."""
        cdef uint64_t connection
        self.tick()
        connection = self.made(address, min(len(address), 16), self._epoch)
        return PyBytes_FromStringAndSize(<char*>&connection, 8)

    def prove(self, bytes connection not None, bytes address not None):
        """Tell whether an id was given to this address in this epoch or the former."""
        self.tick()
        return len(connection) == 8 and self.proves(connection, address, min(len(address), 16))


cdef enum:
    BATCH = 64
    DATAGRAM = 1536  # what is read of one; more than any request has
    REPLY = 1536
    LARGEST_REPLY = 1200
    BEFORE_PEERS = 20

cdef struct Post:
    # A batch: where datagrams are read to, and where replies are written.
    mmsghdr received[BATCH]
    mmsghdr replies[BATCH]
    iovec rooms[BATCH]
    iovec texts[BATCH]
    sockaddr_storage senders[BATCH]
    uint64_t hashes[BATCH]
    Swarm* swarms[BATCH]
    uint8_t datagrams[BATCH][DATAGRAM]
    uint8_t written[BATCH][REPLY]


cdef class DatagramReplies:
    """Answers datagrams of the common kinds."""

    cdef CompiledTable table
    cdef ConnectionIds ids
    cdef Policy policy
    cdef Seen ipv4, ipv6
    cdef uint32_t intervals[256]
    cdef Post* post

    def __cinit__(self):
        cdef int k
        self.post = <Post*>calloc(1, sizeof(Post))
        if self.post == NULL:
            raise MemoryError
        for k in range(BATCH):
            self.post.rooms[k].iov_base = self.post.datagrams[k]
            self.post.rooms[k].iov_len = DATAGRAM
            self.post.texts[k].iov_base = self.post.written[k]
            self.post.received[k].msg_hdr.msg_name = &self.post.senders[k]
            self.post.received[k].msg_hdr.msg_iov = &self.post.rooms[k]
            self.post.received[k].msg_hdr.msg_iovlen = 1
            self.post.replies[k].msg_hdr.msg_iov = &self.post.texts[k]
            self.post.replies[k].msg_hdr.msg_iovlen = 1

    def __init__(self, announcing, ids):
        self.table = announcing.table
        self.policy = Policy(announcing)
        self.ids = ids
        self.ipv4 = Seen()
        self.ipv6 = Seen()
        self.intervals = announcing.intervals

    def __dealloc__(self):
        free(self.post)

    def seen(self):
        """Return what was counted for IPv4 and for IPv6."""
        return self.ipv4, self.ipv6

    def begin(self):
        """Learn what time it is, and what the policy says."""
        self.ids.tick()
        self.policy.read()

    def one(self, bytes datagram not None, bytes address not None):
        """Return the reply to a datagram, None if it is not of a common kind."""
        cdef const uint8_t* host = address
        cdef uint8_t reply[REPLY]
        cdef int size = <int>len(address)
        cdef int length
        if size == 16 and memcmp(host, MAPPED, 12) == 0:
            host += 12
            size = 4
        cdef uint64_t hashed = 0
        if len(datagram) >= 36:
            hashed = self.table.hash_of(<const uint8_t*>datagram + 16)
        length = self.reply(datagram, len(datagram), hashed, host, size, reply)
        return None if length < 0 else PyBytes_FromStringAndSize(<char*>reply, length)

    def batch(self, int descriptor, answer):
        """Answer a batch of datagrams, uncommon ones by `answer`; tell how many there were."""
        cdef Post* post = self.post
        cdef const uint8_t* host = NULL
        cdef int received, sent, k, size, length, replies = 0, done = 0
        for k in range(BATCH):
            post.received[k].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        received = recvmmsg(descriptor, post.received, BATCH, MSG_DONTWAIT, NULL)
        if received <= 0:
            return 0
        self.fetch_swarms(received)
        for k in range(received):
            size = host_of(&post.senders[k], &host)
            try:
                length = self.reply(
                    post.datagrams[k],
                    post.received[k].msg_len,
                    post.hashes[k],
                    host,
                    size,
                    post.written[replies],
                )
            except MemoryError:
                length = 0
            if length < 0:
                length = self.reply_by(answer, k, host, size, post.written[replies])
            if length > 0:
                post.texts[replies].iov_len = length
                post.replies[replies].msg_hdr.msg_name = &post.senders[k]
                post.replies[replies].msg_hdr.msg_namelen = post.received[k].msg_hdr.msg_namelen
                replies += 1
        while done < replies:
            sent = sendmmsg(descriptor, post.replies + done, replies - done, MSG_DONTWAIT)
            # One that the network does not take is lost, as any datagram may be.
            done += sent if sent > 0 else 1
        return received

    cdef int reply_by(
        self, answer, int k, const uint8_t* host, int size, uint8_t* to
    ) except -1:
        """Let the door in Python answer."""
        cdef bytes reply = answer(
            PyBytes_FromStringAndSize(
                <char*>self.post.datagrams[k], self.post.received[k].msg_len
            ),
            PyBytes_FromStringAndSize(<const char*>host, size),
        )
        if len(reply) > REPLY:
            return 0
        memcpy(to, <const char*>reply, len(reply))
        return <int>len(reply)

    cdef void fetch_swarms(self, int received) noexcept:
        """Ask for the memory that the announces of a batch will need, for all at once."""
        cdef Post* post = self.post
        cdef Crowd* crowd
        cdef int k
        for k in range(received):
            post.hashes[k] = self.table.hash_of(post.datagrams[k] + 16)
            fetch(self.table.bucket(post.hashes[k]))
        for k in range(received):
            post.swarms[k] = self.table.likely(post.hashes[k])
            if post.swarms[k] != NULL:
                fetch(post.swarms[k])
        for k in range(received):
            if post.swarms[k] != NULL:
                crowd = post.swarms[k].crowds[0]
                if crowd != NULL:
                    fetch(crowd)
                    fetch(<uint8_t*>crowd + 64)

    cdef int reply(
        self,
        const uint8_t* datagram,
        size_t length,
        uint64_t hashed,
        const uint8_t* host,
        int size,
        uint8_t* to,
    ) except -2:
        """Write the reply to a connect or a plain announce; -1 if it is neither.

        `hashed` is the hash of the infohash in an announce.
        """
        cdef uint32_t action, most
        cdef Swarm* swarm
        cdef uint64_t connection
        cdef Client client
        cdef Counts counts
        cdef Seen seen = self.ipv6 if size == 16 else self.ipv4
        if length < 16 or length > DATAGRAM or size == 0:
            return -1
        action = read_32(datagram + 8)
        if action == 0 and memcmp(datagram, b"\0\0\x04\x17\x27\x10\x19\x80", 8) == 0:
            connection = self.ids.made(host, size, self.ids._epoch)
            memset(to, 0, 4)
            memcpy(to + 4, datagram + 12, 4)
            memcpy(to + 8, &connection, 8)
            seen.connections += 1
            return 16
        if (
            action != 1
            or length < 98
            or not self.policy.plain
            or (length > 98 and not are_options(datagram + 98, length - 98))
            or (datagram[96] == 0 and datagram[97] == 0)
            or not self.ids.proves(datagram, host, size)
        ):
            return -1
        swarm = self.table.find_hashed(datagram + 16, hashed)
        if not self.policy.allows(datagram + 16, swarm):
            return -1
        client.infohash = datagram + 16
        client.peer_id = datagram + 36
        client.width = size + 2
        memcpy(client.address, host, size)
        memcpy(client.address + size, datagram + 96, 2)
        client.downloaded = read_64(datagram + 56)
        client.left = read_64(datagram + 64)
        client.uploaded = read_64(datagram + 72)
        client.event = read_32(datagram + 80)
        if client.event > STOPPED:
            client.event = 0
        client.wanted = read_32(datagram + 92)
        if client.wanted > <uint32_t>0x7FFFFFFF:
            client.wanted = 50
        most = (LARGEST_REPLY - BEFORE_PEERS) // (size + 2)
        client.wanted = min(client.wanted, most)
        self.table.note(&client, swarm, &counts, to + BEFORE_PEERS)
        write_32(to, 1)
        memcpy(to + 4, datagram + 12, 4)
        write_32(to + 8, self.intervals[below(&self.table._random, 256)])
        write_32(to + 12, counts.incomplete)
        write_32(to + 16, counts.complete)
        seen.announces += 1
        return BEFORE_PEERS + counts.size


cdef bint are_options(const uint8_t* option, size_t size) noexcept nogil:
    """Whether the options of BEP 41 are whole; what they say matters only where keys do."""
    cdef size_t at = 0
    if size > 512:
        return False
    while at < size and option[at] != 0:
        if option[at] == 1:
            at += 1
        elif at + 1 < size and at + 2 + option[at + 1] <= size:
            at += 2 + option[at + 1]
        else:
            return False
    return True


class CompiledUdpDoor(UdpDoor):
    """`announce_udp.UdpDoor`, compiled."""

    def __init__(self, announcing, *, clock, secret=None):
        super().__init__(announcing, clock=clock, over=self._exchange)
        self._ids = ConnectionIds(secret or os.urandom(32), clock)
        self._replies = DatagramReplies(announcing, self._ids)

    def serve(self, sock):
        """Answer what comes to a bound, non-blocking UDP socket."""
        super().serve(sock)
        if sock.family == socket.AF_INET:
            # No reply is ever cut in pieces, so the kernel need not number them.
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)

    def tallies(self):
        """What came by IPv4 and by IPv6."""
        return added(self._replies.seen(), super().tallies())

    def answer(self, datagram, address):
        """Return what to send to a packed address, 4 or 16 bytes, for what came from there."""
        self._replies.begin()
        reply = self._replies.one(datagram, address)
        return super().answer(datagram, address) if reply is None else reply

    def _exchange(self, sock):
        descriptor = sock.fileno()
        uncommon = super().answer

        def exchange(_):
            self._replies.begin()
            answered = 0
            while answered < MOST:
                received = self._replies.batch(descriptor, uncommon)
                if not received:
                    return False
                answered += received
            return True

        return exchange


# The HTTP door.

cdef extern from * nogil:
    """
    static inline uint8_t *put(uint8_t *to, const char *text) {
        size_t size = strlen(text);
        memcpy(to, text, size);
        return to + size;
    }
    """
    uint8_t* put(uint8_t* to, const char* text)

cdef enum:
    IN_QUERY = 1  # what may stand in a query, but &
    IN_NAME = 2  # what may stand in the name of a header
    IN_VALUE = 4
    NO_DIGIT = 255
    MOST_KNOWN = 256
    PAD = 288  # zeros after what is read, so that no comparison runs out of the buffer
    READ = 8192
    MOST_HEAD = 8192
    MOST_WANTED = 200
    BEFORE_BODY = 128
    RESPONSE = BEFORE_BODY + 256 + 18 * MOST_WANTED
    OUT = 16384
    EVENTS = 128
    GROUP = 16  # connections that are read before any is answered
    ACCEPTS = 64
    AT_ONCE = 512  # events, before other readers of the reactor have their turn

cdef uint8_t KINDS[256]
cdef uint8_t DIGITS[256]  # hexadecimal


cdef void classify() noexcept:
    cdef int k
    for k in range(256):
        KINDS[k] = DIGITS[k] = 0
        if 32 < k < 127 and k != c"&":
            KINDS[k] |= IN_QUERY
        if (k >= 32 or k == 9) and k != 127:
            KINDS[k] |= IN_VALUE
        DIGITS[k] = NO_DIGIT
    for k in b"!#$%&'*+.^_`|~-0123456789":
        KINDS[k] |= IN_NAME
    for k in range(26):
        KINDS[c"a" + k] |= IN_NAME
        KINDS[c"A" + k] |= IN_NAME
    for k in range(10):
        DIGITS[c"0" + k] = k
    for k in range(6):
        DIGITS[c"a" + k] = 10 + k
        DIGITS[c"A" + k] = 10 + k


classify()


cdef inline const uint8_t* read_20(const uint8_t* at, uint8_t* to) noexcept nogil:
    """Read 20 bytes that may be percent-encoded; NULL if there are more, or less."""
    cdef int k
    cdef uint8_t high, low
    for k in range(20):
        if at[0] == c"%":
            high = DIGITS[at[1]]
            low = DIGITS[at[2]]
            if high == NO_DIGIT or low == NO_DIGIT:
                return NULL
            to[k] = high << 4 | low
            at += 3
        elif KINDS[at[0]] & IN_QUERY:
            to[k] = at[0]
            at += 1
        else:
            return NULL
    return NULL if KINDS[at[0]] & IN_QUERY else at


cdef inline const uint8_t* read_number(const uint8_t* at, uint64_t* number) noexcept nogil:
    """Read 1 to 18 digits; NULL if there is anything else."""
    cdef int k
    cdef uint64_t value = 0
    for k in range(18):
        if not c"0" <= at[0] <= c"9":
            break
        value = value * 10 + (at[0] - c"0")
        at += 1
    else:
        k = 18
    number[0] = value
    return NULL if k == 0 or KINDS[at[0]] & IN_QUERY else at


cdef inline uint32_t read_event(const uint8_t* at, size_t size) noexcept nogil:
    if size == 7 and memcmp(at, b"started", 7) == 0:
        return STARTED
    if size == 7 and memcmp(at, b"stopped", 7) == 0:
        return STOPPED
    if size == 9 and memcmp(at, b"completed", 9) == 0:
        return COMPLETED
    if size == 6 and memcmp(at, b"paused", 6) == 0:
        return PAUSED
    return 0


cdef inline const uint8_t* skipped(const uint8_t* at) noexcept nogil:
    while KINDS[at[0]] & IN_QUERY:
        at += 1
    return at


cdef struct Request:
    Client client
    uint8_t ids[40]
    bint close
    bint has_ip


cdef struct Headers:
    # Those of the last request, for most clients of a kind send the same ones.
    int size
    bint close
    uint8_t text[MOST_KNOWN]


cdef enum Field:
    # Each is given once in a plain announce; the first four must be.
    INFO_HASH = 1
    PEER_ID = 2
    PORT = 4
    LEFT = 8
    UPLOADED = 16
    DOWNLOADED = 32
    NUMWANT = 64
    EVENT = 128


cdef const uint8_t* read_query(const uint8_t* at, Request* request, int size) noexcept nogil:
    """Read the query of a plain announce; NULL if it is none. `size` is that of the host."""
    cdef Client* client = &request.client
    cdef const uint8_t* value
    cdef uint64_t number = 0
    cdef int field, fields = 0
    while True:
        field = 0
        value = at
        if at[0] == c"i" and memcmp(at, b"info_hash=", 10) == 0:
            field = INFO_HASH
            at = read_20(at + 10, request.ids)
        elif at[0] == c"i" and memcmp(at, b"ip=", 3) == 0:
            request.has_ip = True
            at = skipped(at)
        elif at[0] == c"p" and memcmp(at, b"peer_id=", 8) == 0:
            field = PEER_ID
            at = read_20(at + 8, request.ids + 20)
        elif at[0] == c"p" and memcmp(at, b"port=", 5) == 0:
            field = PORT
            at = read_number(at + 5, &number)
            if number == 0 or number > 65535:
                return NULL
            client.address[size] = <uint8_t>(number >> 8)
            client.address[size + 1] = <uint8_t>number
        elif at[0] == c"l" and memcmp(at, b"left=", 5) == 0:
            field = LEFT
            at = read_number(at + 5, &client.left)
        elif at[0] == c"u" and memcmp(at, b"uploaded=", 9) == 0:
            field = UPLOADED
            at = read_number(at + 9, &client.uploaded)
        elif at[0] == c"d" and memcmp(at, b"downloaded=", 11) == 0:
            field = DOWNLOADED
            at = read_number(at + 11, &client.downloaded)
        elif at[0] == c"n" and memcmp(at, b"numwant=", 8) == 0:
            field = NUMWANT
            at = read_number(at + 8, &number)
            client.wanted = <uint32_t>min(number, <uint64_t>MOST_WANTED)
        elif at[0] == c"e" and memcmp(at, b"event=", 6) == 0:
            field = EVENT
            at = skipped(at)
            client.event = read_event(value + 6, at - value - 6)
        elif at[0] == c"c" and memcmp(at, b"compact=0", 9) == 0:
            return NULL
        else:
            at = skipped(at)
        if at == NULL or fields & field:
            return NULL
        fields |= field
        if at[0] != c"&":
            break
        at += 1
    return at if (fields & 15) == 15 else NULL


cdef inline bint same(const uint8_t* at, const char* lower, size_t size) noexcept nogil:
    """Whether a text is that one, in upper or lower case."""
    cdef size_t k
    for k in range(size):
        if at[k] != lower[k] and (at[k] | 32) != lower[k]:
            return False
    return True


cdef const uint8_t* read_headers(const uint8_t* at, Request* request) noexcept nogil:
    """Read headers and the blank line; NULL if they say more than whether to close."""
    cdef const uint8_t* name
    cdef const uint8_t* value
    cdef size_t size
    while at[0] != c"\r":
        name = at
        while KINDS[at[0]] & IN_NAME:
            at += 1
        size = at - name
        if size == 0 or at[0] != c":":
            return NULL
        value = at + 1
        at = value
        while KINDS[at[0]] & IN_VALUE:
            at += 1
        if at[0] != c"\r" or at[1] != c"\n":
            return NULL
        if size == 10 and same(name, b"connection", 10):
            while value[0] == c" ":
                value += 1
            if at - value == 5 and same(value, b"close", 5):
                request.close = True
            elif not (at - value == 10 and same(value, b"keep-alive", 10)):
                return NULL
        elif (
            (size == 14 and same(name, b"content-length", 14))
            or (size == 17 and same(name, b"transfer-encoding", 17))
            or (size == 15 and same(name, b"x-forwarded-for", 15))
            or (size == 9 and same(name, b"x-real-ip", 9))
        ):
            return NULL
        at += 2
    return at + 2 if at[1] == c"\n" else NULL


cdef inline const uint8_t* read_known(
    const uint8_t* at, Request* request, Headers* known
) noexcept nogil:
    """Read headers, at a glance if they are those of the request before."""
    cdef const uint8_t* end
    cdef bint close = request.close
    if known.size and memcmp(at, known.text, known.size) == 0:
        request.close |= known.close
        return at + known.size
    request.close = False
    end = read_headers(at, request)
    if end != NULL and end - at <= MOST_KNOWN:
        known.size = <int>(end - at)
        known.close = request.close
        memcpy(known.text, at, known.size)
    request.close |= close
    return end


cdef size_t read_request(
    const uint8_t* head, Request* request, int size, Headers* known
) noexcept nogil:
    """Read a plain announce; return how long it is, 0 if it is none, or not whole.

    After what was received stand `PAD` zeros.
    """
    cdef const uint8_t* at = head
    if memcmp(at, b"GET /announce?", 14) != 0:
        return 0
    request.close = request.has_ip = False
    request.client.uploaded = request.client.downloaded = 0
    request.client.event = 0
    request.client.wanted = 50
    request.client.infohash = request.ids
    request.client.peer_id = request.ids + 20
    request.client.width = size + 2
    at = read_query(at + 14, request, size)
    if at == NULL:
        return 0
    if memcmp(at, b" HTTP/1.1\r\n", 11) != 0:
        if memcmp(at, b" HTTP/1.0\r\n", 11) != 0:
            return 0
        request.close = True
    at = read_known(at + 11, request, known)
    return 0 if at == NULL or at - head > MOST_HEAD else at - head


cdef inline uint8_t* put_number(uint8_t* to, uint64_t number) noexcept nogil:
    cdef uint8_t digits[20]
    cdef int k = 20
    while True:
        k -= 1
        digits[k] = <uint8_t>(c"0" + number % 10)
        number //= 10
        if number == 0:
            break
    memcpy(to, digits + k, 20 - k)
    return to + 20 - k


cdef class Responses:
    """Answers plain announces by HTTP."""

    cdef CompiledTable table
    cdef Policy policy
    cdef Seen ipv4, ipv6
    cdef bint tells
    cdef uint32_t intervals[256]
    cdef uint64_t min_interval
    cdef object door, began
    cdef dict clients, since, partial
    cdef Headers known
    cdef uint8_t received[GROUP][READ + PAD]
    cdef ssize_t sizes[GROUP]
    cdef uint8_t out[GROUP][OUT]
    cdef int unsent[GROUP]  # bytes that wait in out, for all of the group to be sent at once
    cdef bint closing[GROUP]

    def __init__(self, announcing, sources):
        self.table = announcing.table
        self.policy = Policy(announcing)
        self.tells = sources.tells
        self.ipv4 = Seen()
        self.ipv6 = Seen()
        self.intervals = announcing.intervals
        self.min_interval = announcing.min_interval

    def seen(self):
        """Return what was counted for IPv4 and for IPv6."""
        return self.ipv4, self.ipv6

    def one(self, bytes request not None, bytes address not None):
        """Return the response to a whole request, None if it is no plain announce."""
        cdef const uint8_t* host = address
        cdef int length = <int>min(len(request), READ + 1), size = <int>len(address)
        cdef int written
        cdef bint close
        cdef Request read
        if length > READ or size not in (4, 16):
            return None
        memcpy(self.received[0], <const uint8_t*>request, length)
        memset(self.received[0] + length, 0, PAD)
        self.policy.read()
        if read_request(self.received[0], &read, size, &self.known) != <size_t>length:
            return None
        if self.serve(0, length, host, size, &written, &close) == 0:
            return None
        return PyBytes_FromStringAndSize(<char*>self.out[0], written)

    cdef int serve(
        self, int k, int length, const uint8_t* host, int size, int* written, bint* close
    ) except -1:
        """Answer the plain announces that were received; return how many bytes they are.

        The responses are in `out`; `close` tells whether the last one ends the connection.
        """
        cdef const uint8_t* received = self.received[k]
        cdef Request request
        cdef Swarm* swarm
        cdef size_t used
        cdef int at = 0, out = 0
        cdef Seen seen = self.ipv6 if size == 16 else self.ipv4
        close[0] = False
        if self.policy.plain:
            memcpy(request.client.address, host, size)
            while at < length and out + RESPONSE <= OUT and not close[0]:
                used = read_request(received + at, &request, size, &self.known)
                if used == 0 or (request.has_ip and self.tells):
                    break
                swarm = self.table.find(request.ids)
                if not self.policy.allows(request.ids, swarm):
                    break
                out += self.respond(self.out[k] + out, &request, swarm, size)
                seen.announces += 1
                at += <int>used
                close[0] = request.close
        written[0] = out
        return at

    cdef int respond(
        self, uint8_t* to, const Request* request, Swarm* swarm, int size
    ) except -1:
        """Write a whole response; return how long it is."""
        cdef Counts counts
        cdef uint8_t* at = to + BEFORE_BODY
        cdef uint8_t* head = to
        cdef uint8_t* peers = to + BEFORE_BODY + 256
        cdef size_t body
        self.table.note(&request.client, swarm, &counts, peers)
        at = put_number(put(at, b"d8:completei"), counts.complete)
        at = put_number(put(at, b"e10:downloadedi"), counts.downloaded)
        at = put(at, b"e11:external ip4:" if size == 4 else b"e11:external ip16:")
        memcpy(at, request.client.address, size)
        at = put_number(put(at + size, b"10:incompletei"), counts.incomplete)
        at = put_number(
            put(at, b"e8:intervali"), self.intervals[below(&self.table._random, 256)]
        )
        at = put_number(put(at, b"e12:min intervali"), self.min_interval)
        at = put(at, b"e5:peers" if size == 4 else b"e5:peers0:6:peers6")
        at = put(put_number(at, counts.size), b":")
        memmove(at, peers, counts.size)
        at = put(at + counts.size, b"e")
        body = at - to - BEFORE_BODY
        head = put(head, b"HTTP/1.1 200 OK\r\n")
        if request.close:
            head = put(head, b"Connection: close\r\n")
        head = put(head, b"Content-Type: text/plain\r\nContent-Length: ")
        head = put(put_number(head, body), b"\r\n\r\n")
        memmove(head, to + BEFORE_BODY, body)
        return <int>(head - to + body)

    def turn(self, door):
        """Accept, read and answer what has arrived; give what is uncommon to the door."""
        cdef epoll_event events[EVENTS]
        cdef dict listening = door._listening
        cdef int epoll = door.fileno()
        cdef int count, first, last, k, events_taken = 0
        self.door = door
        self.clients = door._clients
        self.since = door._since
        self.partial = door._partial
        self.began = door._now
        self.policy.read()
        while events_taken < AT_ONCE:
            with nogil:
                count = epoll_wait(epoll, events, EVENTS, 0)
            if count <= 0:
                break
            events_taken += count
            for first in range(0, count, GROUP):
                last = min(first + GROUP, count)
                self.read_group(events + first, last - first)
                for k in range(first, last):
                    self.unsent[k - first] = 0
                    try:
                        if events[k].data.fd in listening:
                            self.accept(events[k].data.fd, k - first)
                        else:
                            self.take(&events[k], k - first)
                    except Exception:
                        _log.failure("a connection failed")
                for k in range(first, last):
                    if self.unsent[k - first] and not self.send(events[k].data.fd, k - first):
                        door._close(events[k].data.fd)

    cdef void read_group(self, const epoll_event* events, int count) noexcept:
        """Read what some connections have sent, and ask for the memory that will be needed.

        From a listening socket there is nothing to read.
        """
        cdef uint64_t hashes[GROUP]
        cdef Swarm* swarm
        cdef Crowd* crowd
        cdef uint8_t infohash[20]
        cdef int k
        for k in range(count):
            self.sizes[k] = self.read(events[k].data.fd, k)
            hashes[k] = 0
            if (
                self.sizes[k] > 0
                # Most clients begin with it.
                and memcmp(self.received[k], b"GET /announce?info_hash=", 24) == 0
                and read_20(self.received[k] + 24, infohash) != NULL
            ):
                hashes[k] = self.table.hash_of(infohash)
                fetch(self.table.bucket(hashes[k]))
        for k in range(count):
            swarm = self.table.likely(hashes[k])
            if swarm != NULL:
                fetch(swarm)
        for k in range(count):
            swarm = self.table.likely(hashes[k])
            crowd = NULL if swarm == NULL else swarm.crowds[0]
            if crowd != NULL:
                fetch(crowd)
                fetch(<uint8_t*>crowd + 64)

    cdef ssize_t read(self, int descriptor, int k) noexcept:
        """Read from a socket; -1 if nothing has come yet, 0 if nothing will come any more."""
        cdef ssize_t got = recv(descriptor, self.received[k], READ, MSG_DONTWAIT)
        if got < 0:
            return -1 if last_error() == EAGAIN else 0
        memset(self.received[k] + got, 0, PAD)
        return got

    cdef int take(self, const epoll_event* event, int k) except -1:
        """Answer what a connection has sent."""
        cdef int descriptor = event.data.fd
        number = descriptor
        cdef PyObject* found = PyDict_GetItem(self.clients, number)
        cdef ssize_t got = self.sizes[k]
        cdef int used
        cdef bytes address
        if found == NULL:
            return 0  # closed meanwhile
        address = <bytes>found
        while got > 0:
            used = 0
            if not self.partial or number not in self.partial:
                used = self.answer(k, got, address, <int>len(address))
                if used:
                    self.since[number] = self.began
                if used == got and got < READ and not event.events & EPOLLRDHUP:
                    return 0
                if self.unsent[k] and not self.send(descriptor, k):
                    break
            if used < got and not self.door._received(
                number, PyBytes_FromStringAndSize(<char*>self.received[k] + used, got - used)
            ):
                return 0
            if got < READ and not event.events & EPOLLRDHUP:
                return 0
            got = self.read(descriptor, k)
        if got >= 0:
            self.door._close(number)
        return 0

    cdef int answer(self, int k, ssize_t got, const uint8_t* host, int size) except -1:
        """Answer what was received, as far as it is common; return how many bytes that were."""
        return self.serve(k, <int>got, host, size, &self.unsent[k], &self.closing[k])

    cdef bint send(self, int descriptor, int k) noexcept:
        """Send what is unsent; tell whether the connection goes on."""
        cdef int size = self.unsent[k]
        self.unsent[k] = 0
        # With MSG_MORE the response leaves in one packet with the end of the connection.
        return send(
            descriptor,
            self.out[k],
            size,
            MSG_NOSIGNAL | MSG_DONTWAIT | (MSG_MORE if self.closing[k] else 0),
        ) == size and not self.closing[k]

    cdef int accept(self, int listening, int own) except -1:
        """Take in new connections, and answer what they have asked already."""
        door = self.door
        cdef sockaddr_storage peer
        cdef const uint8_t* host = NULL
        cdef socklen_t length
        cdef epoll_event event
        cdef ssize_t got
        cdef int descriptor, size, k, used, error
        cdef Py_ssize_t most = door._most
        cdef Seen seen
        for k in range(ACCEPTS):
            length = sizeof(peer)
            descriptor = accept4(
                listening, <sockaddr*>&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC
            )
            if descriptor < 0:
                error = last_error()
                if error == EAGAIN:
                    return 0
                if error in _EXHAUSTED:
                    door._pause(OSError(error, os.strerror(error)))
                    return 0
                continue  # that one is gone already
            size = host_of(&peer, &host)
            seen = self.ipv6 if size == 16 else self.ipv4
            seen.connections += 1
            if len(self.clients) >= most and door._is_full():
                shut(descriptor)
                continue
            got = self.read(descriptor, own)
            if got == 0:
                shut(descriptor)
                continue
            got = max(got, 0)
            used = self.answer(own, got, host, size)
            if self.unsent[own] and not self.send(descriptor, own):
                shut(descriptor)
                continue
            if not door._keep(
                descriptor,
                PyBytes_FromStringAndSize(<const char*>host, size),
                PyBytes_FromStringAndSize(<char*>self.received[own] + used, got - used),
            ):
                continue
            event.events = EPOLLIN | EPOLLRDHUP | EPOLLET
            event.data.fd = descriptor
            epoll_ctl(door.fileno(), EPOLL_CTL_ADD, descriptor, &event)
        return 0


class CompiledHttpDoor(HttpDoor):
    """`announce_http.HttpDoor`, compiled."""

    def __init__(
        self, announcing, sources, hand_over, *, clock, most=8192, patience=60.0
    ):
        super().__init__(
            announcing, sources, hand_over, clock=clock, most=most, patience=patience
        )
        self._responses = Responses(announcing, sources)

    def tallies(self):
        """Return what was seen from clients with IPv4 and with IPv6."""
        return added(self._responses.seen(), super().tallies())

    def answer(self, request, address):
        """Return the whole response to a whole head, None if it is not for this door."""
        response = self._responses.one(request, address)
        return super().answer(request, address) if response is None else response

    def doRead(self):
        """Accept, read and answer some of what has arrived; the reactor calls this again."""
        self._now = self._clock()
        self._responses.turn(self)

    _deliver = HttpDoor._send  # what comes here is the exception
