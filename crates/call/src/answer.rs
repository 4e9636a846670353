//! The answers this node gives on its own behalf, outside and inside calls.

use duolog_sip::sdp::SdpError;
use duolog_sip::{Request, Response, StatusCode};

use crate::role::b2bua::carry::{ALLOW, SUPPORTED, required};
use crate::settings::Settings;

/// The status with this number; the numbers in this crate are all 100 to 699.
pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::new(code).unwrap_or(StatusCode::SERVER_ERROR)
}

/// A refusal: the status, what RFC 3261 wants beside it, and a reason for a person.
pub(crate) fn refusal(
    settings: &Settings,
    request: &Request,
    code: u16,
    why: Option<&str>,
) -> Response {
    let mut response = Response::to(request, status(code));
    let headers = &mut response.headers;
    headers.push("Server", settings.server_name.as_str());
    match code {
        405 | 501 => headers.push("Allow", ALLOW),
        415 => headers.push("Accept", "application/sdp"),
        // A request that is refused only because another one is on its way may come again soon
        // (RFC 3261 §14.2). A 491 has no such word: each side waits as §14.1 tells it, apart.
        500 => headers.push("Retry-After", pause(request).to_string()),
        420 => headers.push("Unsupported", required(request).join(", ")),
        _ => {}
    }
    if let Some(why) = why {
        headers.push("Warning", warning(399, why));
    }
    response
}

/// Seconds to wait, 0 to 10, other ones for each request (RFC 3311 §5.2).
fn pause(request: &Request) -> u32 {
    let text = request
        .headers
        .values("Call-ID")
        .chain(request.headers.values("CSeq"));
    let sum = text.flat_map(str::bytes).fold(7_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    (sum >> 4) % 11
}

/// 422: the session interval is below ours (RFC 4028 §6).
pub(crate) fn too_small(settings: &Settings, request: &Request, least_s: u32) -> Response {
    let mut response = refusal(settings, request, 422, None);
    response.headers.push("Min-SE", least_s.to_string());
    response
}

/// 488: the media of a session cannot be had, with the reason (RFC 3261 §20.43).
pub(crate) fn not_acceptable(settings: &Settings, request: &Request, why: &SdpError) -> Response {
    let mut response = refusal(settings, request, 488, None);
    let warning = warning(why.warning_code(), &why.to_string());
    response.headers.push("Warning", warning);
    response
}

/// A Warning (RFC 3261 §20.43): the text is a quoted string.
fn warning(code: u16, text: &str) -> String {
    let text = text.replace(['"', '\\'], "'");
    format!("{code} duolog \"{text}\"")
}

/// 503 with the time after which it is worth asking again.
pub(crate) fn unavailable(
    settings: &Settings,
    request: &Request,
    retry_after_s: u32,
    why: &str,
) -> Response {
    let mut response = refusal(settings, request, 503, Some(why));
    response
        .headers
        .push("Retry-After", retry_after_s.to_string());
    response
}

/// 200 to OPTIONS: what this node can do (RFC 3261 §11.2).
pub(crate) fn capabilities(settings: &Settings, request: &Request) -> Response {
    let mut response = Response::to(request, StatusCode::OK);
    let headers = &mut response.headers;
    headers.push("Allow", ALLOW);
    headers.push("Supported", format!("100rel, {SUPPORTED}"));
    headers.push("Accept", "application/sdp");
    headers.push("Accept-Language", settings.language.as_str());
    headers.push("Server", settings.server_name.as_str());
    response
}
