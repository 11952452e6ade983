//! The words of the protocol itself.
//!
//! A phone may be reached by `sip:contact@…`, or by the `anonymous.invalid` of RFC 3323; what every request has in it
//! says nothing of anybody.

/// All that our writers put into a request beside values, as it stands there, in lower case.
pub const VOCABULARY: &str = "\
ack bye cancel invite options prack register update sip/2.0/udp sip/2.0/tcp sip/2.0/tls \
via max-forwards from to call-id cseq route user-agent authorization proxy-authorization content-length contact expires \
content-type allow supported accept require session-expires min-se p-asserted-identity privacy identity date rack reason \
;branch=z9hg4bk;rport;tag=;transport=udp;user=phone \"anonymous\" <sip:anonymous@anonymous.invalid> application/sdp \
100rel timer ;refresher=uac ;refresher=uas q.850;cause=16 \
digest username= realm= nonce= uri= response= algorithm=sha-512-256-sess opaque= qop=auth-int nc= cnonce= \
;info=<https:>;alg=es256;ppt=shaken \
in ip4 ip6 audio video application message text image rtp/avp rtcp rtcp-mux rtpmap:0 pcmu/8000 pcma/8000 \
telephone-event/8000 fmtp ptime sendrecv sendonly recvonly inactive";
