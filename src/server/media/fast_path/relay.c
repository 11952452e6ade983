// The relaying of one direction of a call, before the packet reaches a socket.
//
//   5-tuple known? ─▶ plain RTP of the known stream? ─▶ counted ─▶ rewritten ─▶ redirected
//        no                    no
//        └───────── up to the socket, where userspace judges it as ever ─────────┘
//
// Deliberately absent: any decision about whom to believe. Userspace has made it, and a packet that is
// not exactly what it foresaw is left alone. IPv6 is left alone too.
//
// Compiled by `make bpf`; the object beside this file is what the program carries.
#include <linux/bpf.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define INLINE static inline __attribute__((always_inline))

static void *(*const lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static u64 (*const clock_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*const store)(struct __sk_buff *, u32 at, const void *from, u32 length, u64 flags) =
    (void *)BPF_FUNC_skb_store_bytes;
static long (*const fix_ip)(struct __sk_buff *, u32 at, u64 from, u64 to, u64 flags) = (void *)BPF_FUNC_l3_csum_replace;
static long (*const fix_udp)(struct __sk_buff *, u32 at, u64 from, u64 to, u64 flags) =
    (void *)BPF_FUNC_l4_csum_replace;
static long (*const difference)(void *from, u32, void *to, u32, u32 seed) = (void *)BPF_FUNC_csum_diff;
static long (*const redirect_neigh)(u32 interface, void *hop, int length, u64 flags) =
    (void *)BPF_FUNC_redirect_neigh;
static long (*const lock)(struct bpf_spin_lock *) = (void *)BPF_FUNC_spin_lock;
static long (*const unlock)(struct bpf_spin_lock *) = (void *)BPF_FUNC_spin_unlock;

enum {
    ETHERNET = 14,
    IP = 20,
    UDP = 8,
    RTP = 12,
    HEADERS = ETHERNET + IP + UDP + RTP,
    // As userspace has it: RFC 3550 §A.1.
    MAX_DROPOUT = 3000,
    MAX_MISORDER = 100,
    // A jump of a second is another clock, not jitter.
    SECOND = 8000,
    FLOWS = 16384,
    // What fits Ethernet; longer ones are userspace's to cut.
    LONGEST = 1500,
    // The next program before this interface is asked: another server's, perhaps.
    NOT_OURS = -1,
};

// Network order, as in the packet.
struct tuple {
    u32 source, destination;
    u16 source_port, destination_port;
};

// What userspace foresaw; not written here, so userspace can replace it whole, under the lock.
struct flow {
    struct bpf_spin_lock lock;
    u32 ssrc_in, ssrc_out;
    u32 timestamp_offset;
    // Zero once the flow has been taken back.
    struct tuple in;
    struct tuple out;
    u32 interface;
    u8 payload_type_in, payload_type_out, is_loopback, reserved;
    u64 sequence_offset;
    // The first sequence number that may pass; those before it were somebody else's.
    u64 floor;
};

// What came of a flow; changed under its lock. Sequence numbers are without wraps.
struct counts {
    u64 highest, packets, octets, last_ns, highest_ns;
    u32 jitter, transit, highest_timestamp, reserved;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, FLOWS);
    __type(key, struct tuple);
    __type(value, u32);
} slots SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, FLOWS);
    __type(key, u32);
    __type(value, struct flow);
} flows SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, FLOWS);
    __type(key, u32);
    __type(value, struct counts);
} counted SEC(".maps");

struct ip {
    u8 version_length, service;
    u16 length, id, fragment;
    u8 ttl, protocol;
    u16 checksum;
    u32 source, destination;
} __attribute__((packed));

struct udp_rtp {
    u16 source_port, destination_port, length, checksum;
    u8 first, second;
    u16 sequence;
    u32 timestamp, ssrc;
} __attribute__((packed));

// The whole header of a packet that leaves, with nothing of the one that came.
INLINE long rewrite(struct __sk_buff *skb, const struct ip *ip, const struct udp_rtp *from, struct udp_rtp *to,
                    const struct tuple *out) {
    struct ip new = {
        .version_length = 0x45,
        .length = ip->length,
        .fragment = __builtin_bswap16(0x4000),
        .ttl = 64,
        .protocol = 17,
        .source = out->source,
        .destination = out->destination,
    };
    u32 old_addresses[2] = { ip->source, ip->destination };
    u32 new_addresses[2] = { new.source, new.destination };
    u64 addresses = difference(old_addresses, 8, new_addresses, 8, 0);
    u64 rest = difference((void *)from, sizeof(*from), to, sizeof(*to), 0);
    u64 header = difference(0, 0, &new, sizeof(new), 0);
    // A sum of zero says that there is none, and stays; one that the device is to complete covers only
    // the addresses, and the kernel knows which of the two it is.
    return store(skb, ETHERNET, &new, sizeof(new), BPF_F_RECOMPUTE_CSUM) ||
           fix_ip(skb, ETHERNET + 10, 0, header, 0) ||
           store(skb, ETHERNET + IP, to, sizeof(*to), BPF_F_RECOMPUTE_CSUM) ||
           fix_udp(skb, ETHERNET + IP + 6, 0, addresses, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0) ||
           fix_udp(skb, ETHERNET + IP + 6, 0, rest, BPF_F_MARK_MANGLED_0);
}

// RFC 3550 §A.8, in the same steps as userspace takes.
INLINE u32 jittered(u32 jitter, u32 change) {
    u32 decay = (jitter + 8) >> 4;
    return jitter + change > decay ? jitter + change - decay : 0;
}

INLINE int is_same(const struct tuple *a, const struct tuple *b) {
    return a->source == b->source && a->destination == b->destination && a->source_port == b->source_port &&
           a->destination_port == b->destination_port;
}

// RFC 3550 §A.1; 0 when the packet is for userspace to judge. The flow is copied to where the lock does
// not matter, because it may be another one as soon as the lock is free.
INLINE u64 count(struct flow *flow, struct counts *counts, const struct tuple *key, const struct udp_rtp *rtp,
                 u32 payload, u64 now, struct flow *copy) {
    u16 sequence = __builtin_bswap16(rtp->sequence);
    u32 timestamp = __builtin_bswap32(rtp->timestamp);
    u64 place = 0;
    lock(&flow->lock);
    u16 ahead = sequence - (u16)counts->highest;
    if (ahead < MAX_DROPOUT)
        place = counts->highest + ahead;
    else if (65536 - ahead <= MAX_MISORDER)
        place = counts->highest - (65536 - ahead);
    if (place < flow->floor || !is_same(&flow->in, key) || rtp->ssrc != flow->ssrc_in ||
        (rtp->second & 0x7f) != flow->payload_type_in)
        place = 0;
    if (place) {
        u32 transit = (u32)(now / 125000) - timestamp;
        int change = transit - counts->transit;
        u32 size = change < 0 ? -change : change;
        if (counts->transit && size < SECOND)
            counts->jitter = jittered(counts->jitter, size);
        counts->transit = transit;
        if (place > counts->highest) {
            counts->highest = place;
            counts->highest_timestamp = timestamp;
            counts->highest_ns = now;
        }
        counts->packets += 1;
        counts->octets += payload;
        counts->last_ns = now;
        copy->ssrc_out = flow->ssrc_out;
        copy->timestamp_offset = flow->timestamp_offset;
        copy->out = flow->out;
        copy->interface = flow->interface;
        copy->payload_type_out = flow->payload_type_out;
        copy->is_loopback = flow->is_loopback;
        copy->sequence_offset = flow->sequence_offset;
    }
    unlock(&flow->lock);
    return place;
}

SEC("classifier")
int relay(struct __sk_buff *skb) {
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    if (data + HEADERS + 1 > end || skb->protocol != __builtin_bswap16(0x0800))
        return NOT_OURS;
    struct ip ip = *(struct ip *)(data + ETHERNET);
    struct udp_rtp from = *(struct udp_rtp *)(data + ETHERNET + IP);
    u32 length = __builtin_bswap16(ip.length), datagram = __builtin_bswap16(from.length);
    // No options, no fragments, one length; RTP without contributors, extension and padding.
    if (ip.version_length != 0x45 || ip.protocol != 17 || (ip.fragment & __builtin_bswap16(0x3fff)) ||
        length != datagram + IP || datagram <= UDP + RTP || length > LONGEST ||
        ETHERNET + length > skb->len || from.first != 0x80)
        return NOT_OURS;
    struct tuple key = { ip.source, ip.destination, from.source_port, from.destination_port };
    u32 *slot = lookup(&slots, &key);
    struct flow *flow = slot ? lookup(&flows, slot) : 0;
    struct counts *counts = slot ? lookup(&counted, slot) : 0;
    if (!flow || !counts)
        return NOT_OURS;
    struct flow known = {};
    u64 place = count(flow, counts, &key, &from, datagram - UDP - RTP, clock_ns(), &known);
    if (!place)
        return NOT_OURS;
    struct udp_rtp to = {
        .source_port = known.out.source_port,
        .destination_port = known.out.destination_port,
        .length = from.length,
        .checksum = from.checksum,
        .first = 0x80,
        .second = (from.second & 0x80) | known.payload_type_out,
        .sequence = __builtin_bswap16((u16)(place + known.sequence_offset)),
        .timestamp = __builtin_bswap32(__builtin_bswap32(from.timestamp) + known.timestamp_offset),
        .ssrc = known.ssrc_out,
    };
    // It has been counted as relayed; half rewritten it may go nowhere.
    if (rewrite(skb, &ip, &from, &to, &known.out))
        return BPF_DROP;
    // On the loopback it is where it is to go: put back in, it would lose its route, without which the
    // kernel believes no packet from 127/8.
    return known.is_loopback ? BPF_OK : redirect_neigh(known.interface, 0, 0, 0);
}

// No helper above asks for a program under the GPL.
char terms[] SEC("license") = "Apache-2.0";
