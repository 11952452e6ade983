//! The secret that a browser shows, digested where it is read.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::super::Api;
use super::super::answer::Problem;
use super::super::auth::bearer_of;
use super::super::forward;
use super::BrowserApi;
use super::answers;
use crate::model::{TokenDigest, TokenKind};
use crate::store::TokenState;
use crate::switch::{BrowserCommand, BrowserReply, BrowserRequest, Command, Reply};

/// Of a call token.
#[derive(Debug, Clone, Copy)]
pub struct Opening(pub TokenDigest);

/// Of the secret of a browser that has connected.
#[derive(Debug, Clone, Copy)]
pub struct Returning(pub TokenDigest);

impl FromRequestParts<Arc<Api>> for Opening {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let digest = digest(&parts.headers, TokenKind::Call)?;
        browsers(api)?.rates.opening(digest, (api.clock)())?;
        Ok(Self(digest))
    }
}

impl FromRequestParts<Arc<Api>> for Returning {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let digest = digest(&parts.headers, TokenKind::Return)?;
        browsers(api)?.rates.returning(digest, (api.clock)())?;
        Ok(Self(digest))
    }
}

fn digest(headers: &HeaderMap, kind: TokenKind) -> Result<TokenDigest, Problem> {
    let secret = bearer_of(headers).ok_or_else(answers::token_invalid)?;
    TokenDigest::of(kind, secret).ok_or_else(answers::token_invalid)
}

/// The routes are there only with it.
pub fn browsers(api: &Api) -> Result<&BrowserApi, Problem> {
    api.browser.as_ref().ok_or_else(Problem::not_found)
}

pub async fn find(api: &Api, digest: TokenDigest) -> Result<Option<TokenState>, Problem> {
    api.read(move |store| store.find_token(digest)).await
}

impl Returning {
    /// Hands a command to the call of this secret. One that the switch does not know is over, or was never there.
    pub async fn ask(self, api: &Api, command: BrowserCommand) -> Result<BrowserReply, Problem> {
        match self.try_ask(api, command).await? {
            Some(reply) => Ok(reply),
            None => match find(api, self.0).await? {
                Some(_) => Err(answers::token_expired()),
                None => Err(answers::token_invalid()),
            },
        }
    }

    /// `None` when no switch knows the secret.
    pub async fn try_ask(self, api: &Api, command: BrowserCommand) -> Result<Option<BrowserReply>, Problem> {
        match ask(api, self.0, command).await? {
            BrowserReply::Unknown => not_here(api, self.0).await.map(|()| None),
            reply => Ok(Some(reply)),
        }
    }
}

/// Sends a request on whose call another node has.
pub async fn not_here(api: &Api, digest: TokenDigest) -> Result<(), Problem> {
    if api.store.cluster().is_none() {
        return Ok(());
    }
    let Some(state) = find(api, digest).await? else { return Ok(()) };
    match api.elsewhere(state.call).await? {
        Some(peer) => Err(forward::elsewhere(peer)),
        None => Ok(()),
    }
}

/// Hands a browser's command to the switch. A hang-up is answered with the status of its call.
pub async fn ask(api: &Api, secret: TokenDigest, command: BrowserCommand) -> Result<BrowserReply, Problem> {
    let command = Command::Browser(Box::new(BrowserRequest { secret, command }));
    match super::super::dial::ask(api, command).await? {
        Reply::Browser(reply) => Ok(reply),
        Reply::Hangup { call, status } => Ok(BrowserReply::Dialing { call, status }),
        Reply::Dialed { .. }
        | Reply::Replayed(_)
        | Reply::Conflict { .. }
        | Reply::Refused(_)
        | Reply::Unavailable(_)
        | Reply::NotLive
        | Reply::Route(_)
        | Reply::Draining => Err(Problem::internal()),
    }
}
