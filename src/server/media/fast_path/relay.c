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
};

// Network order, as in the packet.
struct tuple {
    u32 source, destination;
    u16 source_port, destination_port;
};

struct flow {
    struct bpf_spin_lock lock;
    // What userspace foresaw; not written here.
    u32 ssrc_in, ssrc_out;
    u32 timestamp_offset;
    struct tuple out;
    u32 interface;
    u8 payload_type_in, payload_type_out, is_loopback, reserved;
    u32 jitter, transit, highest_timestamp;
    u64 sequence_offset;
    // The first sequence number that may pass; those before it were somebody else's.
    u64 floor;
    // What came of it. Sequence numbers are without wraps.
    u64 highest, packets, octets, last_ns, highest_ns;
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

// RFC 3550 §A.1; 0 when the packet is for userspace to judge.
INLINE u64 count(struct flow *flow, const struct udp_rtp *rtp, u32 payload, u64 now) {
    u16 sequence = __builtin_bswap16(rtp->sequence);
    u32 timestamp = __builtin_bswap32(rtp->timestamp);
    u64 place = 0;
    lock(&flow->lock);
    u16 ahead = sequence - (u16)flow->highest;
    if (ahead < MAX_DROPOUT)
        place = flow->highest + ahead;
    else if (65536 - ahead <= MAX_MISORDER)
        place = flow->highest - (65536 - ahead);
    if (place < flow->floor)
        place = 0;
    if (place) {
        u32 transit = (u32)(now / 125000) - timestamp;
        int change = transit - flow->transit;
        u32 size = change < 0 ? -change : change;
        if (flow->transit && size < SECOND)
            flow->jitter = jittered(flow->jitter, size);
        flow->transit = transit;
        if (place > flow->highest) {
            flow->highest = place;
            flow->highest_timestamp = timestamp;
            flow->highest_ns = now;
        }
        flow->packets += 1;
        flow->octets += payload;
        flow->last_ns = now;
    }
    unlock(&flow->lock);
    return place;
}

SEC("classifier")
int relay(struct __sk_buff *skb) {
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    if (data + HEADERS + 1 > end || skb->protocol != __builtin_bswap16(0x0800))
        return BPF_OK;
    struct ip ip = *(struct ip *)(data + ETHERNET);
    struct udp_rtp from = *(struct udp_rtp *)(data + ETHERNET + IP);
    u32 length = __builtin_bswap16(ip.length), datagram = __builtin_bswap16(from.length);
    // No options, no fragments, one length; RTP without contributors, extension and padding.
    if (ip.version_length != 0x45 || ip.protocol != 17 || (ip.fragment & __builtin_bswap16(0x3fff)) ||
        length != datagram + IP || datagram <= UDP + RTP || ETHERNET + length > skb->len || from.first != 0x80)
        return BPF_OK;
    struct tuple key = { ip.source, ip.destination, from.source_port, from.destination_port };
    u32 *slot = lookup(&slots, &key);
    struct flow *flow = slot ? lookup(&flows, slot) : 0;
    if (!flow || from.ssrc != flow->ssrc_in || (from.second & 0x7f) != flow->payload_type_in)
        return BPF_OK;
    u64 place = count(flow, &from, datagram - UDP - RTP, clock_ns());
    if (!place)
        return BPF_OK;
    struct tuple out = flow->out;
    struct udp_rtp to = {
        .source_port = out.source_port,
        .destination_port = out.destination_port,
        .length = from.length,
        .checksum = from.checksum,
        .first = 0x80,
        .second = (from.second & 0x80) | flow->payload_type_out,
        .sequence = __builtin_bswap16((u16)(place + flow->sequence_offset)),
        .timestamp = __builtin_bswap32(__builtin_bswap32(from.timestamp) + flow->timestamp_offset),
        .ssrc = flow->ssrc_out,
    };
    u32 interface = flow->interface;
    u8 is_loopback = flow->is_loopback;
    // It has been counted as relayed; half rewritten it may go nowhere.
    if (rewrite(skb, &ip, &from, &to, &out))
        return BPF_DROP;
    // On the loopback it is where it is to go: put back in, it would lose its route, without which the
    // kernel believes no packet from 127/8.
    return is_loopback ? BPF_OK : redirect_neigh(interface, 0, 0, 0);
}

// No helper above asks for a program under the GPL.
char terms[] SEC("license") = "Apache-2.0";
