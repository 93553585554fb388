/* Announces to a tracker on this machine, over and over, and counts what comes back.
 *
 * Each client has one announce under way: as soon as its answer is there, it sends the next.
 * Everything is bounded: the clients, the seconds, the failures; and no address but loopback is
 * ever sent to.  The figures go to standard output as JSON.
 *
 * The peers are always the same ones.  Peer i is in torrent i % torrents, whose infohashes are in
 * a file, and only client i % clients speaks for it.  Over IPv4 each client has an address of its
 * own (127.0.1.1 and on); a port belongs to one peer of a torrent.  So a tracker that tells peers
 * by address sees as many as one that tells them by peer_id.  Three in ten are seeds.
 *
 * Each answer is decoded as far as it goes: its status, its bencode, the length of its peers.
 * One in 64 is compared with the torrent: its peers must be in it, and its counts be those.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    INFOHASH = 20,
    WANTED = 50,
    SAMPLE = 64,          /* of so many answers one is compared with its torrent */
    PORTS = 60000,        /* from FIRST_PORT on */
    FIRST_PORT = 1024,
    MOST_CLIENTS = 250,   /* 127.0.1.1 to 127.0.1.250 */
    MOST_SECONDS = 900,
    MOST_FAILURES = 100,  /* then it gives up */
    DEEPEST = 8,          /* bencode in bencode */
    LONGEST_LATENCY = 1 << 20, /* microseconds; all above count as this */
};
static const uint64_t SECOND = 1000000000;
static const uint64_t PATIENCE = 1000000000;     /* then a datagram is taken for lost */
static const uint64_t CONNECTED = 50000000000;   /* a connection id is good for a minute */

/* -- what is asked for */

static enum { CLOSE, KEEP_ALIVE, UDP, UDP_CONNECT, HEART_BEAT } door;
static const char *const DOORS[] = {
    "http-close", "http-keep-alive", "udp", "udp-connect", "heart-beat", NULL,
};
static bool ipv6, filling;
static unsigned port, clients = 63;
static uint64_t torrents, peers_each = 10, peers;
static double seconds = 5, warm_up = 0.5;
static pid_t server;
static const char *path = "/announce";
static uint8_t (*infohashes)[INFOHASH];

static bool over_udp(void) { return door == UDP || door == UDP_CONNECT; }

/* -- what came of it */

static uint64_t ok, resent, failures, checked, peers_given;
static uint32_t latencies[LONGEST_LATENCY + 1];
static char first_failure[160];
static uint64_t measuring, ending; /* moments: from the one on announces count, then it ends */

__attribute__((format(printf, 1, 2))) static void failed(const char *format, ...) {
    if (failures++) return;
    va_list values;
    va_start(values, format);
    vsnprintf(first_failure, sizeof first_failure, format, values);
    va_end(values);
    for (char *at = first_failure; *at; at++)
        if (*at < ' ' || *at > '~' || *at == '"' || *at == '\\') *at = '.';
}

static void give_up(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static void answered(uint64_t began, uint64_t ended, uint64_t peers_in_it) {
    if (ended < measuring) return;
    uint64_t latency = (ended - began) / 1000;
    latencies[latency < LONGEST_LATENCY ? latency : LONGEST_LATENCY]++;
    peers_given += peers_in_it;
    ok++;
}

static uint64_t latency_of(double part) {
    uint64_t below = 0, latency = 0;
    while (latency < LONGEST_LATENCY && (below += latencies[latency]) < part * ok) latency++;
    return latency;
}

/* -- the peers */

/* The finalizer of splitmix64: neighbouring numbers become unlike ones. */
static uint64_t scrambled(uint64_t number) {
    number += 0x9e3779b97f4a7c15;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
    number = (number ^ number >> 27) * 0x94d049bb133111eb;
    return number ^ number >> 31;
}

static uint64_t any_number(void) {
    static uint64_t count;
    return scrambled(count++);
}

static uint64_t torrent_of(uint64_t peer) { return peer % torrents; }

static unsigned port_of(uint64_t peer) {
    return FIRST_PORT + (peer / torrents * 7919 + torrent_of(peer)) % PORTS;
}

static bool is_seed(uint64_t peer) { return scrambled(peer) % 10 < 3; }

/* An address as the tracker gives it: packed, without a port. */
static size_t address_of(unsigned client, uint8_t packed[16]) {
    if (ipv6) {
        memcpy(packed, &in6addr_loopback, 16);
        return 16;
    }
    memcpy(packed, (uint8_t[]){127, 0, 1, client + 1}, 4);
    return 4;
}

static size_t length_of_each(void) { return ipv6 ? 18 : 6; }

static bool belongs(const uint8_t *given, uint64_t torrent) {
    size_t length = length_of_each() - 2;
    for (uint64_t peer = torrent; peer < peers; peer += torrents) {
        uint8_t address[16];
        address_of(peer % clients, address);
        unsigned given_port = given[length] << 8 | given[length + 1];
        if (given_port == port_of(peer) && !memcmp(given, address, length)) return true;
    }
    return false;
}

/* Compare an answer with the torrent; while it is being filled the tracker knows fewer. */
static bool is_true(uint64_t torrent, const uint8_t *given, size_t length, long seeds,
                    long leeches) {
    if (length > WANTED * length_of_each()) {
        failed("%zu bytes of peers: more than were asked for", length);
        return false;
    }
    for (size_t at = 0; at < length; at += length_of_each())
        if (!belongs(given + at, torrent)) {
            failed("torrent %lu has no such peer", torrent);
            return false;
        }
    long most_seeds = 0;
    for (uint64_t peer = torrent; peer < peers; peer += torrents) most_seeds += is_seed(peer);
    long most_leeches = peers_each - most_seeds;
    bool good = filling ? seeds <= most_seeds && leeches <= most_leeches
                        : seeds == most_seeds && leeches == most_leeches;
    if (!good)
        failed("%ld seeds and %ld leeches of %ld and %ld", seeds, leeches, most_seeds,
               most_leeches);
    return good;
}

/* -- requests */

static char *put_text(char *at, const char *text) { return stpcpy(at, text); }

static char *put_number(char *at, uint64_t number) {
    char digits[20];
    int count = 0;
    do digits[count++] = '0' + number % 10;
    while (number /= 10);
    while (count) *at++ = digits[--count];
    return at;
}

static char *put_escaped(char *at, const uint8_t *bytes, size_t length) {
    static const char hex[] = "0123456789abcdef";
    for (size_t each = 0; each < length; each++) {
        uint8_t byte = bytes[each];
        if ((byte | 32) - 'a' + 0u < 26 || byte - '0' + 0u < 10 || (byte && strchr("-._~", byte)))
            *at++ = byte;
        else
            *at++ = '%', *at++ = hex[byte >> 4], *at++ = hex[byte & 15];
    }
    return at;
}

static char *put_peer_id(char *at, uint64_t peer) {
    at = put_text(at, "-qB4520-");
    uint64_t bits = scrambled(peer + peers);
    for (int each = 0; each < 12; each++, bits >>= 5)
        *at++ = "abcdefghijklmnopqrstuvwxyz234567"[bits & 31];
    return at;
}

/* What qBittorrent 4.5.2 sends. */
static char *put_http(char *at, uint64_t peer) {
    at = put_text(put_text(at, "GET "), path);
    at = put_escaped(put_text(at, "?info_hash="), infohashes[torrent_of(peer)], INFOHASH);
    at = put_peer_id(put_text(at, "&peer_id="), peer);
    at = put_number(put_text(at, "&port="), port_of(peer));
    at = put_number(put_text(at, "&uploaded="), any_number() % 10000000000);
    at = put_number(put_text(at, "&downloaded="), any_number() % 10000000000);
    at = put_number(put_text(at, "&left="), is_seed(peer) ? 0 : 1 + any_number() % 1000000000);
    at = put_text(at, "&corrupt=0&key=");
    for (uint64_t each = 0, bits = scrambled(peer); each < 8; each++, bits >>= 4)
        *at++ = "0123456789ABCDEF"[bits & 15];
    if (filling) at = put_text(at, "&event=started");
    at = put_number(put_text(at, "&numwant="), WANTED);
    at = put_text(at, "&compact=1&no_peer_id=1&supportcrypto=1&redundant=0 HTTP/1.1\r\n"
                      "Host: localhost:");
    at = put_text(put_number(at, port), "\r\nUser-Agent: qBittorrent/4.5.2\r\n"
                                        "Accept-Encoding: gzip\r\nConnection: ");
    return put_text(at, door == CLOSE ? "close\r\n\r\n" : "keep-alive\r\n\r\n");
}

/* What a node of the fleet sends: each client is one. */
static char *put_heart_beat(char *at, unsigned client) {
    char body[128];
    int length = sprintf(body, "{\"node_id\": \"benchmark-%u\", \"addr\": \"127.0.1.%u:%u\"}",
                         client, client + 1, FIRST_PORT);
    at = put_number(put_text(at, "POST /api/v1/heart_beat HTTP/1.1\r\nHost: localhost:"), port);
    at = put_text(at, "\r\nContent-Type: application/json\r\nContent-Length: ");
    return put_text(put_text(put_number(at, length), "\r\n\r\n"), body);
}

static char *put_big_endian(char *at, uint64_t number, int length) {
    while (length--) *at++ = number >> 8 * length;
    return at;
}

static uint32_t number_at(const char *at) {
    uint32_t number;
    memcpy(&number, at, 4);
    return ntohl(number);
}

static char *put_udp_connect(char *at, uint32_t transaction) {
    at = put_big_endian(at, 0x41727101980, 8);
    return put_big_endian(put_big_endian(at, 0, 4), transaction, 4);
}

static char *put_udp(char *at, const char connection[8], uint32_t transaction, uint64_t peer) {
    at = mempcpy(at, connection, 8);
    at = put_big_endian(put_big_endian(at, 1, 4), transaction, 4);
    at = mempcpy(at, infohashes[torrent_of(peer)], INFOHASH);
    at = put_peer_id(at, peer);
    at = put_big_endian(at, any_number() % 10000000000, 8); /* downloaded */
    at = put_big_endian(at, is_seed(peer) ? 0 : 1 + any_number() % 1000000000, 8);
    at = put_big_endian(at, any_number() % 10000000000, 8); /* uploaded */
    at = put_big_endian(at, filling ? 2 : 0, 4);            /* started, or nothing new */
    at = put_big_endian(at, 0, 4);                          /* the address: the sender's */
    at = put_big_endian(at, scrambled(peer), 4);            /* key */
    at = put_big_endian(at, WANTED, 4);
    return put_big_endian(at, port_of(peer), 2);
}

/* -- answers: each check returns whether it is good, and has told what is wrong */

static const char *read_digits(const char *at, const char *end, char until, long *number) {
    const char *start = at;
    for (*number = 0; at < end && *at >= '0' && *at <= '9' && at - start < 18; at++)
        *number = *number * 10 + *at - '0';
    return at > start && at < end && *at == until ? at + 1 : NULL;
}

/* Return where a bencoded value ends, or NULL if it does not. */
static const char *after_value(const char *at, const char *end, int depth) {
    long number;
    if (at >= end || depth > DEEPEST) return NULL;
    if (*at == 'i') return read_digits(at + 1 + (at + 1 < end && at[1] == '-'), end, 'e', &number);
    if (*at == 'l' || *at == 'd') {
        bool keyed = *at == 'd';
        unsigned items = 0;
        for (at++; at && at < end && *at != 'e'; items++) {
            if (keyed && items % 2 == 0 && (*at < '0' || *at > '9')) return NULL;
            at = after_value(at, end, depth + 1);
        }
        return at && at < end && !(keyed && items % 2) ? at + 1 : NULL;
    }
    at = read_digits(at, end, ':', &number);
    return at && number <= end - at ? at + number : NULL;
}

/* Find a value of a dictionary that `after_value` has read to its end. */
static const char *value_of(const char *at, const char *end, const char *key) {
    for (at++; at < end && *at != 'e';) {
        long length;
        const char *name = read_digits(at, end, ':', &length);
        at = name + length;
        if (length == (long)strlen(key) && !memcmp(name, key, length)) return at;
        at = after_value(at, end, 0);
    }
    return NULL;
}

static bool check_bencode(uint64_t peer, const char *body, size_t size, uint64_t *given) {
    const char *end = body + size;
    if (size < 2 || *body != 'd' || after_value(body, end, 0) != end) {
        failed("not a bencoded dictionary: %.*s", (int)size, body);
        return false;
    }
    const char *text = value_of(body, end, ipv6 ? "peers6" : "peers");
    const char *seeds = value_of(body, end, "complete");
    const char *leeches = value_of(body, end, "incomplete");
    long length, complete, incomplete;
    if (!text || !seeds || !leeches || !value_of(body, end, "interval") ||
        value_of(body, end, "failure reason") || !(text = read_digits(text, end, ':', &length)) ||
        length % length_of_each() || !read_digits(seeds + 1, end, 'e', &complete) ||
        !read_digits(leeches + 1, end, 'e', &incomplete)) {
        failed("not an answer to an announce: %.*s", (int)size, body);
        return false;
    }
    *given = length / length_of_each();
    return checked++ % SAMPLE ||
           is_true(torrent_of(peer), (const uint8_t *)text, length, complete, incomplete);
}

static bool check_udp(uint64_t peer, const char *reply, size_t size, uint64_t *given) {
    if (size < 20 || (size - 20) % length_of_each()) {
        failed("%zu bytes are no answer to an announce", size);
        return false;
    }
    *given = (size - 20) / length_of_each();
    return checked++ % SAMPLE || is_true(torrent_of(peer), (const uint8_t *)reply + 20, size - 20,
                                         number_at(reply + 16), number_at(reply + 12));
}

/* -- clients */

struct client {
    int socket;
    unsigned number;
    uint64_t filled;      /* how many of its peers it has announced, when filling */
    uint64_t peer;        /* the one that is announced */
    uint64_t began, sent; /* moments: of the announce, of its last datagram */
    uint64_t connected;   /* when the connection id came; 0: there is none */
    char connection[8];
    uint32_t transaction;
    bool connecting;
    size_t to_write, written, read;
    char request[1024], reply[8192];
};

static struct client all[MOST_CLIENTS];
static unsigned active;
static int events;

static void watch(struct client *client, int operation, uint32_t what) {
    struct epoll_event event = {.events = what, .data.ptr = client};
    if (epoll_ctl(events, operation, client->socket, &event)) give_up("epoll_ctl");
}

static void open_socket(struct client *client) {
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct sockaddr_in6 tracker = own;
    socklen_t length = sizeof own;
    tracker.sin6_port = htons(port);
    if (!ipv6) {
        struct sockaddr_in own4 = {.sin_family = AF_INET};
        struct sockaddr_in tracker4 = {.sin_family = AF_INET, .sin_port = htons(port)};
        uint8_t address[16];
        memcpy(&own4.sin_addr, address, address_of(client->number, address));
        tracker4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        length = sizeof own4;
        memcpy(&own, &own4, length);
        memcpy(&tracker, &tracker4, length);
    }
    int kind = over_udp() ? SOCK_DGRAM : SOCK_STREAM, yes = 1;
    client->socket = socket(ipv6 ? AF_INET6 : AF_INET, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->socket < 0) give_up("socket");
    /* Only connect() chooses the port, or each address had but 28,000 for all its connections. */
    setsockopt(client->socket, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(client->socket, (struct sockaddr *)&own, length)) give_up("bind");
    if (connect(client->socket, (struct sockaddr *)&tracker, length) && errno != EINPROGRESS)
        give_up("connect");
    watch(client, EPOLL_CTL_ADD, EPOLLIN);
}

static void close_socket(struct client *client) {
    if (client->socket >= 0) close(client->socket);
    client->socket = -1;
}

static void begin(struct client *client);

/* Over; `good` tells whether it was answered well. */
static void end(struct client *client, bool good, uint64_t given) {
    if (good) answered(client->began, now(), given);
    begin(client);
}

static void fail(struct client *client, const char *what) {
    failed("%s", what);
    close_socket(client);
    client->connected = 0;
    begin(client);
}

static void write_http(struct client *client) {
    while (client->written < client->to_write) {
        ssize_t count = send(client->socket, client->request + client->written,
                             client->to_write - client->written, MSG_NOSIGNAL);
        if (count < 0) {
            if (errno == EAGAIN) return watch(client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return fail(client, strerror(errno));
        }
        client->written += count;
    }
}

static void send_udp(struct client *client, bool connecting) {
    client->connecting = connecting;
    client->transaction = any_number();
    char *end = connecting ? put_udp_connect(client->request, client->transaction)
                           : put_udp(client->request, client->connection, client->transaction,
                                     client->peer);
    client->sent = now();
    if (send(client->socket, client->request, end - client->request, 0) < 0)
        fail(client, strerror(errno));
}

/* Choose the peer that announces next; returns whether there is one. */
static bool choose(struct client *client) {
    uint64_t own = (peers + clients - 1 - client->number) / clients;
    if (filling && client->filled == own) return false;
    uint64_t which = filling ? client->filled++ : any_number() % own;
    client->peer = client->number + which * clients;
    return true;
}

static void begin(struct client *client) {
    client->began = now();
    if (failures > MOST_FAILURES || client->began >= ending || !choose(client)) {
        close_socket(client);
        active--;
        return;
    }
    if (client->socket < 0) open_socket(client);
    if (over_udp()) {
        bool fresh = client->connected && client->began - client->connected < CONNECTED;
        send_udp(client, door == UDP_CONNECT || !fresh);
        return;
    }
    char *end = door == HEART_BEAT ? put_heart_beat(client->request, client->number)
                                   : put_http(client->request, client->peer);
    client->to_write = end - client->request;
    client->written = client->read = 0;
    write_http(client);
}

/* Take what has come of an HTTP response: true if it is whole. */
static bool read_http(struct client *client) {
    char *reply = client->reply;
    size_t room = sizeof client->reply - 1 - client->read;
    ssize_t count = recv(client->socket, reply + client->read, room, 0);
    if (count < 0 && errno == EAGAIN) return false;
    if (count <= 0) {
        fail(client, count ? strerror(errno) : "closed before the end of its answer");
        return false;
    }
    reply[client->read += count] = 0;
    char *body = memmem(reply, client->read, "\r\n\r\n", 4);
    char *length = body ? strcasestr(reply, "\r\nContent-Length:") : NULL;
    if (body && (!length || length > body)) {
        fail(client, "no Content-Length");
        return false;
    }
    if (!body || client->read < (size_t)(body + 4 - reply) + strtoul(length + 17, NULL, 10)) {
        if (client->read == sizeof client->reply - 1) fail(client, "an answer without end");
        return false;
    }
    return true;
}

static void on_http(struct client *client, uint32_t what) {
    if (what & EPOLLOUT) {
        watch(client, EPOLL_CTL_MOD, EPOLLIN);
        write_http(client);
        return;
    }
    if (!read_http(client)) return;
    char *reply = client->reply, *body = strstr(reply, "\r\n\r\n") + 4;
    size_t size = client->read - (body - reply);
    if (strncmp(reply, "HTTP/1.", 7) || strncmp(reply + 8, " 200 ", 5)) return fail(client, reply);
    char *closing = strcasestr(reply, "\r\nConnection: close");
    if (door == CLOSE || (closing && closing < body)) close_socket(client);
    uint64_t given = 0;
    bool good = door == HEART_BEAT || check_bencode(client->peer, body, size, &given);
    end(client, good, given);
}

static void on_udp(struct client *client) {
    char *reply = client->reply;
    ssize_t size = recv(client->socket, reply, sizeof client->reply, 0);
    if (size < 0) return errno == EAGAIN ? (void)0 : fail(client, strerror(errno));
    if (size < 8 || number_at(reply + 4) != client->transaction) return; /* too late */
    uint32_t action = number_at(reply);
    if (action == 0 && client->connecting && size == 16) {
        memcpy(client->connection, reply + 8, 8);
        client->connected = now();
        return send_udp(client, false);
    }
    if (action != 1 || client->connecting) {
        failed("instead of an answer: %.*s", (int)(size - 8), reply + 8);
        client->connected = 0;
        return begin(client);
    }
    uint64_t given = 0;
    bool good = check_udp(client->peer, reply, size, &given);
    end(client, good, given);
}

/* See to those who have waited too long. */
static void look_after(struct client *client) {
    if (client->socket < 0) return;
    uint64_t time = now();
    if (over_udp() && time - client->sent > PATIENCE) {
        resent++;
        send_udp(client, true);
    } else if (!over_udp() && time - client->began > 5 * PATIENCE)
        fail(client, "no answer within 5 s");
}

/* -- what it costs the server */

struct cost {
    uint64_t at;
    double server, own; /* CPU seconds */
};

static double cpu_of_server(void) {
    char name[64], text[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(name, sizeof name, "/proc/%d/stat", server);
    FILE *file = fopen(name, "r");
    if (!file) give_up(name);
    fread(text, 1, sizeof text - 1, file);
    fclose(file);
    char *fields = strrchr(text, ')'); /* a program's name may hold anything */
    if (!fields || sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                          &system) != 2)
        give_up(name);
    return (double)(user + system) / sysconf(_SC_CLK_TCK);
}

static uint64_t memory_of_server(void) {
    char name[64], line[256];
    unsigned long kib = 0;
    snprintf(name, sizeof name, "/proc/%d/status", server);
    FILE *file = fopen(name, "r");
    if (!file) give_up(name);
    while (fgets(line, sizeof line, file) && sscanf(line, "VmRSS: %lu kB", &kib) != 1) continue;
    fclose(file);
    return kib * 1024;
}

static struct cost cost_so_far(void) {
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    return (struct cost){
        .at = now(),
        .server = cpu_of_server(),
        .own = own.ru_utime.tv_sec + own.ru_stime.tv_sec +
               (own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6,
    };
}

/* -- the run */

/* Have all clients announce until the end; returns what it has cost when measuring began. */
static struct cost run(void) {
    struct epoll_event came[MOST_CLIENTS];
    struct cost first = cost_so_far();
    uint64_t began = first.at, looked = began;
    ending = began + (warm_up + seconds) * SECOND;
    measuring = warm_up ? UINT64_MAX : began;
    active = clients;
    for (unsigned each = 0; each < clients; each++) begin(&all[each]);
    while (active) {
        int count = epoll_wait(events, came, MOST_CLIENTS, 100);
        for (int each = 0; each < count; each++) {
            struct client *client = came[each].data.ptr;
            if (over_udp()) on_udp(client);
            else on_http(client, came[each].events);
        }
        uint64_t time = now();
        if (measuring == UINT64_MAX && time >= began + warm_up * SECOND) {
            first = cost_so_far();
            measuring = first.at;
        }
        if (time - looked > PATIENCE / 10) {
            looked = time;
            for (unsigned each = 0; each < clients; each++) look_after(&all[each]);
        }
    }
    return first;
}

static void read_infohashes(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file || fseek(file, 0, SEEK_END)) give_up(name);
    torrents = ftell(file) / INFOHASH;
    rewind(file);
    infohashes = calloc(torrents, INFOHASH);
    if (!infohashes || !torrents || fread(infohashes, INFOHASH, torrents, file) != torrents)
        give_up(name);
    fclose(file);
}

static void usage(void) {
    fputs("announce_load --door http-close|http-keep-alive|udp|udp-connect|heart-beat\n"
          "    --port PORT --server PID --torrents FILE [--peers EACH] [--clients COUNT]\n"
          "    [--seconds TIME] [--warm-up TIME] [--path PATH] [--fill] [--ipv6]\n",
          stderr);
    exit(2);
}

static void read_options(int count, char **words) {
    static const struct option known[] = {
        {"door", 1, NULL, 'd'},    {"port", 1, NULL, 'p'},    {"server", 1, NULL, 's'},
        {"torrents", 1, NULL, 't'}, {"peers", 1, NULL, 'n'},   {"clients", 1, NULL, 'c'},
        {"seconds", 1, NULL, 'l'}, {"warm-up", 1, NULL, 'w'}, {"path", 1, NULL, 'u'},
        {"fill", 0, NULL, 'f'},    {"ipv6", 0, NULL, '6'},    {NULL, 0, NULL, 0},
    };
    const char *file = NULL, *which = "";
    for (int each; (each = getopt_long(count, words, "", known, NULL)) != -1;) switch (each) {
        case 'd': which = optarg; break;
        case 'p': port = atoi(optarg); break;
        case 's': server = atoi(optarg); break;
        case 't': file = optarg; break;
        case 'n': peers_each = strtoul(optarg, NULL, 10); break;
        case 'c': clients = atoi(optarg); break;
        case 'l': seconds = atof(optarg); break;
        case 'w': warm_up = atof(optarg); break;
        case 'u': path = optarg; break;
        case 'f': filling = true; break;
        case '6': ipv6 = true; break;
        default: usage();
        }
    while (DOORS[door] && strcmp(DOORS[door], which)) door++;
    if (!DOORS[door] || !file || !server || port < 1 || port > 65535 || clients < 1 ||
        clients > MOST_CLIENTS || peers_each < 1 || peers_each > PORTS || strlen(path) > 256 ||
        !(seconds > 0 && warm_up >= 0 && seconds + warm_up <= MOST_SECONDS))
        usage();
    read_infohashes(file);
    peers = torrents * peers_each;
    if (peers < clients) usage();
}

int main(int count, char **words) {
    read_options(count, words);
    events = epoll_create1(EPOLL_CLOEXEC);
    if (events < 0) give_up("epoll_create1");
    for (unsigned each = 0; each < clients; each++)
        all[each] = (struct client){.number = each, .socket = -1};
    uint64_t memory = memory_of_server();
    struct cost first = run(), last = cost_so_far();
    double time = (double)(last.at - first.at) / SECOND, cpu = last.server - first.server;
    printf("{\"ok\": %lu, \"resent\": %lu,\n", ok, resent);
    printf(" \"errors\": %lu, \"first_error\": \"%s\",\n", failures, first_failure);
    printf(" \"seconds\": %.3f, \"rate\": %.1f,\n", time, ok / time);
    printf(" \"server_cpu\": %.2f, \"per_cpu_second\": %.1f, \"generator_cpu\": %.3f,\n", cpu,
           cpu > 0 ? ok / cpu : 0, last.own - first.own);
    printf(" \"memory_before\": %lu, \"memory_after\": %lu,\n", memory, memory_of_server());
    printf(" \"latency_us\": {\"p50\": %lu, \"p90\": %lu, \"p99\": %lu, \"p99.9\": %lu},\n",
           latency_of(0.5), latency_of(0.9), latency_of(0.99), latency_of(0.999));
    printf(" \"peers_per_answer\": %.2f}\n", ok ? (double)peers_given / ok : 0);
    return 0;
}
