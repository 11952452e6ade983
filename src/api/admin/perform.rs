//! One change, from a request to its answer.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::super::answer::{Data, Problem, stored};
use super::super::fields::Fields;
use super::super::idempotency::{Repeatable, conflict};
use super::super::json::Json;
use super::{AdminApi, Administrator};
use crate::model::Timestamp;
use crate::store::tenants::{Actor, Change, ChangeRefused, FieldProblem, Kind, Tenants};
use crate::store::{Answer, ChangeKey, ChangeOrder, Changed};

/// Makes the answer of the tenants after the change.
pub type Show = Arc<dyn Fn(&Tenants) -> Answer + Send + Sync>;

/// Who asks for a change, and how it is told from its repetition.
pub struct Asked {
    pub by: Administrator,
    pub repeatable: Repeatable,
    pub body: std::collections::BTreeMap<String, Json>,
    pub at: Timestamp,
}

impl Asked {
    pub fn fields(&self) -> Fields {
        Fields::new(self.body.clone())
    }
}

/// What became of it.
pub enum Performed {
    /// Now; the tenants after it.
    Now(Arc<Tenants>),
    /// Before, by the same request.
    Before(Answer),
}

/// Has a change made, and answers with what is there after it.
pub async fn perform(api: &AdminApi, asked: Asked, change: Change, show: Show) -> Result<Response, Problem> {
    Ok(match make(api, asked, change, Arc::clone(&show)).await? {
        Performed::Now(tenants) => stored(show(&tenants), false),
        Performed::Before(answer) => stored(answer, true),
    })
}

/// [`perform`], for one whose answer is another than that of a repetition, which `show` makes.
pub async fn make(api: &AdminApi, asked: Asked, change: Change, show: Show) -> Result<Performed, Problem> {
    let Asked { by: Administrator(key), repeatable, body, at } = asked;
    let by = Actor { name: key.name, request_id: Some(Arc::clone(&repeatable.request_id)) };
    let idempotency = repeatable.key_of(&key.sha256, &body)?.map(|wanted| ChangeKey {
        key: wanted.key,
        body: wanted.body,
        request_id: wanted.request_id,
        answer: Box::new(move |tenants| show(tenants)),
    });
    match api.with_store(move |store| store.change(ChangeOrder { change, by, at, idempotency })).await? {
        Changed::Done { tenants, skipped: _ } => Ok(Performed::Now(tenants)),
        Changed::Replayed(answer) => Ok(Performed::Before(answer)),
        Changed::Conflict { request_id } => Err(conflict(&request_id)),
        Changed::Refused(why) => Err(refused(&why)),
    }
}

/// An answer with `data`; without any when there is nothing to show.
pub fn answer(status: StatusCode, location: Option<String>, data: Option<impl Serialize>) -> Answer {
    // Texts, numbers and lists of them: there is nothing in it that could fail to be written.
    let body = serde_json::to_string(&Data { data }).unwrap_or_default();
    Answer { status: status.as_u16(), location, body }
}

fn refused(why: &ChangeRefused) -> Problem {
    let conflict = |code, message: String| Problem::new(StatusCode::CONFLICT, code, message);
    match why {
        ChangeRefused::NotFound(_) => Problem::not_found(),
        ChangeRefused::Exists(kind) => {
            conflict("already_exists", format!("{why}; change that one, or take another name"))
                .field(field(*kind), "there already")
        }
        ChangeRefused::Taken(kind) => conflict("taken", why.to_string()).field(field(*kind), "of another organization"),
        ChangeRefused::Closed => {
            conflict("organization_closed", format!("{why}; PATCH it with \"closed\": false to open it again"))
        }
        ChangeRefused::Dead => conflict("key_not_active", format!("{why}; issue a new one")),
        ChangeRefused::Rotated(_) => conflict("already_rotated", format!("{why}; rotate that one")),
        ChangeRefused::TooMany { .. } => conflict("too_many", format!("{why}; remove one")),
        ChangeRefused::Invalid(problems) => {
            let problem = Problem::invalid("correct the fields that are named");
            problems.iter().fold(problem, |p, FieldProblem { field, text }| p.field(*field, text.clone()))
        }
    }
}

/// The field of a request that names an object.
fn field(kind: Kind) -> &'static str {
    match kind {
        Kind::Organization | Kind::User | Kind::Key => "id",
        Kind::Number => "number",
        Kind::Price => "prefix",
    }
}

/// What somebody else found wrong with fields of this request.
pub fn note(fields: &mut Fields, problems: Vec<FieldProblem>) {
    problems.into_iter().for_each(|FieldProblem { field, text }| fields.wrong(field, text));
}
