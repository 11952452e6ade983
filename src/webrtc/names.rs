//! By what a browser knows us: all of it derives from the leg's secret.

use base64ct::{Base64Unpadded, Encoding};
use sha2::{Digest, Sha256};
use str0m::ice::IceCreds;

use crate::media::{BrowserOffer, IceCredentials};
use crate::model::Secret;

pub(super) fn as_str0m(ice: &IceCredentials) -> IceCreds {
    IceCreds { ufrag: ice.ufrag.to_string(), pass: ice.pwd.to_string() }
}

/// RFC 8445 §5.3: at least 24 bits of name and 128 of password, and others for each ICE session. So the
/// browser's own go into them.
pub(super) fn credentials(secret: Secret, offer: &BrowserOffer) -> IceCredentials {
    let digest = Sha256::new()
        .chain_update(b"ice")
        .chain_update(secret.0)
        .chain_update(offer.fingerprint().0)
        .chain_update(offer.ice().ufrag.as_bytes())
        .chain_update(b":")
        .chain_update(offer.ice().pwd.as_bytes())
        .finalize();
    // The alphabet of base64 is that of ICE.
    let text = |bytes: &[u8]| Base64Unpadded::encode_string(bytes).into_boxed_str();
    IceCredentials { ufrag: text(&digest[..9]), pwd: text(&digest[9..30]) }
}

/// Of this leg's secret, and of nothing else that anybody sees.
pub(super) fn derive<const N: usize>(secret: Secret, what: &[u8]) -> [u8; N] {
    let digest = Sha256::new().chain_update(b"browser").chain_update(what).chain_update(secret.0).finalize();
    std::array::from_fn(|at| digest[at])
}
