//! `[stir]`: with what INVITEs are signed.
//!
//! The key is read when the server starts, as all files are.

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::StirConfig;
use super::section::Section;

/// Each signed INVITE carries it twice.
const LONGEST_URL: usize = 256;

/// Both keys or none.
pub(super) fn stir(mut s: Section<'_, '_>) -> Option<StirConfig> {
    let any = ["key_file", "certificate_url"].into_iter().any(|key| s.has(key));
    for (key, example) in [("key_file", "\"stir-key.pem\""), ("certificate_url", "\"https://…/certificate.pem\"")] {
        if any && !s.has(key) {
            s.missing(key, example);
        }
    }
    let key_file = s.text("key_file").map(|path| PathBuf::from(path.value));
    let certificate_url = s.parsed("certificate_url", certificate_url);
    s.finish();
    Some(StirConfig { key_file: key_file?, certificate_url: certificate_url?.value })
}

/// It stands in quotes and in angle brackets, so it is taken as a URL is written and not as somebody has typed it.
fn certificate_url(text: &str) -> Result<Arc<str>, String> {
    let url = Url::parse(text).ok().filter(|url| {
        let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        bare && url.scheme() == "https" && url.as_str().len() <= LONGEST_URL
    });
    let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    match url {
        Some(url) if url.as_str().chars().all(plain) => Ok(url.as_str().into()),
        Some(_) | None => {
            Err(format!("expected https://HOST/PATH of the certificate, of at most {LONGEST_URL} characters"))
        }
    }
}
