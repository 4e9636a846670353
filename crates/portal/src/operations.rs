//! The operations listener: metrics in the OpenMetrics text format, health and readiness.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use crate::door;

/// What this crate asks of a node.
pub trait Node: Send + Sync + 'static {
    /// All metrics as OpenMetrics text.
    fn metrics(&self) -> String;
    /// Whether the node's own threads answer.
    fn liveness(&self) -> Liveness;
    /// Whether a new call could be recorded now.
    fn readiness(&self) -> Readiness;
}

/// Answer to `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// Every thread turned its loop recently.
    Alive,
    /// The named thread has not for longer than it may.
    Stuck(String),
}

/// Answer to `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// A new call can be recorded.
    Ready,
    /// It can not, for these reasons, each a sentence for a person.
    NotReady(Vec<String>),
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, node: Arc<dyn Node>) {
    door::open(listener, router(node)).await;
}

fn router(node: Arc<dyn Node>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(node)
}

async fn metrics(State(node): State<Arc<dyn Node>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], node.metrics()).into_response()
}

async fn healthz(State(node): State<Arc<dyn Node>>) -> Response {
    match node.liveness() {
        Liveness::Alive => answer(StatusCode::OK, json!({"status": "alive"})),
        Liveness::Stuck(thread) => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"status": "stuck", "thread": thread}),
        ),
    }
}

async fn readyz(State(node): State<Arc<dyn Node>>) -> Response {
    match node.readiness() {
        Readiness::Ready => answer(StatusCode::OK, json!({"status": "ready"})),
        Readiness::NotReady(reasons) => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"status": "not ready", "reasons": reasons}),
        ),
    }
}

fn answer(status: StatusCode, body: serde_json::Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    struct Fixed(Liveness, Readiness);

    impl Node for Fixed {
        fn metrics(&self) -> String {
            "duolog_available 1\n# EOF\n".into()
        }
        fn liveness(&self) -> Liveness {
            self.0.clone()
        }
        fn readiness(&self) -> Readiness {
            self.1.clone()
        }
    }

    async fn ask(node: Fixed, path: &str) -> (u16, String) {
        let request = Request::get(path)
            .body(Body::empty())
            .expect("a plain request");
        let answer = router(Arc::new(node))
            .oneshot(request)
            .await
            .expect("infallible");
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1 << 16)
            .await
            .expect("a short body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn answers_say_what_the_node_says() {
        let well = || Fixed(Liveness::Alive, Readiness::Ready);
        assert_eq!(
            ask(well(), "/healthz").await,
            (200, r#"{"status":"alive"}"#.into())
        );
        assert_eq!(
            ask(well(), "/readyz").await,
            (200, r#"{"status":"ready"}"#.into())
        );
        assert_eq!(
            ask(well(), "/metrics").await.1,
            "duolog_available 1\n# EOF\n"
        );
        assert_eq!(ask(well(), "/other").await.0, 404);
        let ill = || {
            let reasons = vec!["the spool's disk is full".into()];
            Fixed(
                Liveness::Stuck("spool".into()),
                Readiness::NotReady(reasons),
            )
        };
        let (status, body) = ask(ill(), "/readyz").await;
        assert_eq!(status, 503);
        assert!(body.contains("the spool's disk is full"), "{body}");
        let (status, body) = ask(ill(), "/healthz").await;
        assert_eq!(status, 503);
        assert!(body.contains("spool"), "{body}");
    }
}
