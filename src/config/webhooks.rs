//! `[webhooks]`: how events are sent to those who subscribed.

use std::path::PathBuf;

use super::section::{At, Section};
use super::{WebhooksConfig, bounds};

/// `key_file` is `None` when the file does not name one.
pub(super) struct Read {
    pub config: WebhooksConfig,
    pub key_file: Option<PathBuf>,
}

pub(super) fn webhooks(mut s: Section<'_, '_>) -> At<Read> {
    let at = s.at;
    let allow_http_loopback = s.flag("allow_http_loopback").unwrap_or(false);
    let ca_file = s.text("ca_file").map(|path| path.value.into());
    let key_file = s.text("key_file").map(|path| path.value.into());
    let max_in_flight = s.size("max_in_flight", &bounds::WEBHOOKS_BOUND, bounds::WEBHOOKS);
    let max_in_flight_per_receiver =
        s.size("max_in_flight_per_receiver", &bounds::WEBHOOKS_BOUND, bounds::WEBHOOKS_PER_RECEIVER);
    let max_subscriptions = s.size("max_subscriptions", &bounds::SUBSCRIPTIONS_BOUND, bounds::SUBSCRIPTIONS);
    s.finish();
    let config = WebhooksConfig {
        allow_http_loopback,
        ca_file,
        key_file: PathBuf::new(),
        max_in_flight,
        max_in_flight_per_receiver,
        max_subscriptions,
    };
    At { value: Read { config, key_file }, at }
}
