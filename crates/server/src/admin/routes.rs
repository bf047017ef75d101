//! What the admin port answers.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
        REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    ANSWER_TIME, AdminPort, BODY_BYTES,
    backup::{self, Pieces},
    deadline::Deadline,
    guard,
    json::{history, status},
    metrics, page, requests,
};
use crate::{Alarm, Report, refusals::Reason};

/// Why a request is refused. The client gets it as JSON, or as text where it asked for text.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// A word for programs.
    pub(super) code: &'static str,
    /// A sentence for people, which says what to do.
    pub(super) text: String,
    /// Another member to ask.
    pub(super) leader: Option<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into(), leader: None }
    }
}

/// What an answer holds.
#[derive(Debug)]
pub(super) enum Answer {
    Text(StatusCode, &'static str, String),
    Json(StatusCode, Value),
    File(Pieces),
    Page(&'static page::File),
}

type Content = Either<Full<Bytes>, Pieces>;

const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers a request.
pub(super) async fn answer(
    port: &AdminPort,
    request: Request<Incoming>,
    remote: SocketAddr,
    deadline: Deadline,
) -> Response<Content> {
    port.handle.counters.admin.add();
    let mut response = match route(port, request, deadline).await {
        Ok(answer) => answer.into_response(),
        Err(problem) => {
            let text = problem.text.clone();
            match problem.status {
                StatusCode::UNAUTHORIZED => port.refused(remote, Reason::Token(text)),
                StatusCode::FORBIDDEN => port.refused(remote, Reason::Page(text)),
                _ => {}
            }
            problem.into_response()
        }
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(CACHE_CONTROL, "no-store");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(CONTENT_SECURITY_POLICY, page::POLICY);
    set(REFERRER_POLICY, "no-referrer");
    response
}

async fn route(
    port: &AdminPort,
    request: Request<Incoming>,
    deadline: Deadline,
) -> Result<Answer, Problem> {
    let path = request.uri().path();
    // A probe knows the member by any name, and learns nothing but whether it works.
    match path {
        "/livez" => return only(&Method::GET, &request, live(port).await),
        "/readyz" => return only(&Method::GET, &request, ready(port).await),
        _ => guard::check_browser(port.address, port.scheme(), request.headers())?,
    }
    if path == "/metrics" {
        return only(&Method::GET, &request, scrape(port).await);
    }
    if let Some(file) = page::file(path) {
        return only(&Method::GET, &request, Ok(Answer::Page(file)));
    }
    if !path.starts_with("/v1/") {
        return Err(unknown(path));
    }
    port.tokens.check(request.headers()).await?;
    if path == "/v1/status" {
        let report = report(port).await;
        return only(
            &Method::GET,
            &request,
            report.map(|report| Answer::Json(StatusCode::OK, status(port, &report))),
        );
    }
    if path == "/v1/history" {
        let report = report(port).await;
        return only(
            &Method::GET,
            &request,
            report.map(|report| Answer::Json(StatusCode::OK, history(port, &report))),
        );
    }
    if path == "/v1/backup" {
        only(&Method::GET, &request, Ok(()))?;
        return backup::begin(port, deadline).await.map(Answer::File);
    }
    let Some(change) = requests::Change::at(path) else { return Err(unknown(path)) };
    only(&Method::POST, &request, Ok(()))?;
    let body = body(request).await?;
    change.carry_out(port, body).await
}

fn unknown(path: &str) -> Problem {
    let text = format!("there is nothing at {}", path.escape_default());
    Problem::new(StatusCode::NOT_FOUND, "path", text)
}

/// Returns the answer if the request has the right method. A HEAD request gets the head of what GET gets.
fn only<T>(
    method: &Method,
    request: &Request<Incoming>,
    answer: Result<T, Problem>,
) -> Result<T, Problem> {
    let is_head = *method == Method::GET && request.method() == Method::HEAD;
    match request.method() == method || is_head {
        true => answer,
        false => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            if *method == Method::GET { "needs_get" } else { "needs_post" },
            format!("this path takes {method}"),
        )),
    }
}

/// Returns the JSON object in the body of a request; an empty body counts as an empty object.
async fn body(request: Request<Incoming>) -> Result<serde_json::Map<String, Value>, Problem> {
    let too_long = || {
        let text = format!("the body is longer than {BODY_BYTES} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body", text)
    };
    let wrong = |text: String| Problem::new(StatusCode::BAD_REQUEST, "body", text);
    let body = request.into_body();
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(too_long());
    }
    let bytes = match Limited::new(body, BODY_BYTES).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_long()),
        Err(_) => return Err(wrong("the body does not end".to_owned())),
    };
    if bytes.is_empty() {
        return Ok(serde_json::Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(wrong("the body must be a JSON object".to_owned())),
        Err(error) => Err(wrong(format!("the body is not JSON: {error}"))),
    }
}

/// Asks the driver. A member whose driver does not answer must be restarted.
pub(super) async fn report(port: &AdminPort) -> Result<Report, Problem> {
    let stuck = |text: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stuck", text);
    match timeout(ANSWER_TIME, port.handle.report()).await {
        Ok(Some(report)) => Ok(report),
        Ok(None) => Err(stuck("the member has ended")),
        Err(_) => Err(stuck("the member does not answer: restart it, and report this")),
    }
}

/// Says whether the process works. Its disk, its application and the other members do not matter: a restart would not
/// help them.
async fn live(port: &AdminPort) -> Result<Answer, Problem> {
    report(port).await?;
    Ok(Answer::Text(StatusCode::OK, PLAIN, "alive\n".to_owned()))
}

/// Says whether the member does its part: it knows a leader, applies entries, and is not about to end.
async fn ready(port: &AdminPort) -> Result<Answer, Problem> {
    let report = report(port).await?;
    let mut lacks = Vec::new();
    for alarm in [Alarm::NoLeader, Alarm::ApplicationStopped] {
        if alarm.is_raised(&report) {
            lacks.push(alarm.text());
        }
    }
    if report.stopping {
        lacks.push("is about to end");
    }
    match lacks.is_empty() {
        true => Ok(Answer::Text(StatusCode::OK, PLAIN, "ready\n".to_owned())),
        false => {
            let text = format!("not ready: the member {}\n", lacks.join(", and "));
            Ok(Answer::Text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text))
        }
    }
}

async fn scrape(port: &AdminPort) -> Result<Answer, Problem> {
    let report = report(port).await?;
    let text = metrics::text(port, report).map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "a metric cannot be written")
    })?;
    Ok(Answer::Text(StatusCode::OK, metrics::CONTENT_TYPE, text))
}

impl Answer {
    fn into_response(self) -> Response<Content> {
        let text = |text: String| Either::Left(Full::new(Bytes::from(text)));
        let (status, kind, content) = match self {
            Self::Text(status, kind, content) => (status, kind, text(content)),
            Self::Json(status, value) => (status, "application/json", text(format!("{value:#}\n"))),
            Self::Page(file) => {
                let bytes = Bytes::from_static(file.content.as_bytes());
                (StatusCode::OK, file.kind, Either::Left(Full::new(bytes)))
            }
            Self::File(pieces) => {
                (StatusCode::OK, "application/octet-stream", Either::Right(pieces))
            }
        };
        let mut response = Response::new(content);
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

impl Problem {
    fn into_response(self) -> Response<Content> {
        let mut error = json!({ "code": self.code, "message": self.text });
        if let Some(leader) = self.leader {
            error["leader"] = leader.into();
        }
        let answer = Answer::Json(self.status, json!({ "error": error }));
        let mut response = answer.into_response();
        let header = match (self.status, self.code) {
            (StatusCode::UNAUTHORIZED, _) => Some((WWW_AUTHENTICATE, "Bearer")),
            (StatusCode::METHOD_NOT_ALLOWED, "needs_get") => Some((ALLOW, "GET, HEAD")),
            (StatusCode::METHOD_NOT_ALLOWED, _) => Some((ALLOW, "POST")),
            _ => None,
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
