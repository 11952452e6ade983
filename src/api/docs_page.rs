//! `/docs`: a page that reads `/openapi.json` to whoever builds on it.
//!
//! Deliberately absent: anything from elsewhere, as with `/try`; and a console that would ask for a key.

use axum::Router;

use super::try_page::{CSS, HTML, SCRIPT, page};

pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", page(HTML, include_str!("docs/index.html")))
        .route("/docs/style.css", page(CSS, include_str!("docs/style.css")))
        .route("/docs/docs.js", page(SCRIPT, include_str!("docs/docs.js")))
}
