//! `[cluster]`: one of several nodes on one PostgreSQL.

use std::sync::Arc;

use super::section::Section;
use super::trunks::id;
use super::{ClusterConfig, bounds};

/// `shared`: whether the store is one that several nodes can use.
pub(super) fn cluster(mut s: Section<'_, '_>, shared: bool) -> ClusterConfig {
    if s.is_there() && !shared {
        let message = "a SQLite file belongs to one node; remove [cluster], or set store.url to a PostgreSQL database";
        s.wrong(s.at, "node", message);
    }
    let node = s.parsed_or("node", bounds::NODE, id);
    let url = s.parsed("url", node_url);
    let lease = s.seconds("lease_seconds", &bounds::LEASE_BOUND, bounds::LEASE);
    s.finish();
    ClusterConfig {
        node: node.map_or_else(|| bounds::NODE.into(), |node| node.value),
        url: url.map(|u| u.value),
        lease,
    }
}

/// `http://host[:port]`, kept without a slash at its end. Nodes are neighbours on a private network.
fn node_url(text: &str) -> Result<Arc<str>, &'static str> {
    let expected = "expected how other nodes reach [api] of this one, such as \"http://10.0.0.1:8080\"";
    let text = text.strip_suffix('/').unwrap_or(text);
    let parsed = url::Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.path() == "/");
    let bare = parsed.is_some_and(|url| {
        url.has_host() && url.username().is_empty() && url.query().is_none() && url.fragment().is_none()
    });
    if bare && text.starts_with("http://") { Ok(text.into()) } else { Err(expected) }
}
