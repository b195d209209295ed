//! What Microsoft Graph says where it does not do what it is asked, and what to do about it.

use serde::Deserialize;

use super::http::Answer;
use crate::problem::Problem;

/// An answer that says no (Microsoft Graph, "Error responses and resource types").
#[derive(Debug, Default, Deserialize)]
struct Trouble {
    #[serde(default)]
    error: Reason,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reason {
    code: String,
    message: String,
    #[serde(rename = "innerError")]
    inner: Inner,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Inner {
    #[serde(rename = "request-id")]
    request_id: String,
}

/// What the person does next where a request may have been done all the same.
pub(super) const LOOK: &str =
    "It may or may not have been stored: look what is there with `agent-cli published`, then publish again.";

/// The problem with an answer that is no success. A `writing` request may have changed something.
pub(super) fn problem(answer: &Answer, writing: bool) -> Problem {
    let Reason { code, message, inner } = serde_json::from_slice::<Trouble>(&answer.body).unwrap_or_default().error;
    let status = answer.status;
    let name = if code.is_empty() { format!("status {status}") } else { format!("{code}, status {status}") };
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    let mut problem = Problem::failed(format!("Microsoft Graph refuses it ({name}){message}"));
    if !inner.request_id.is_empty() {
        problem = problem.next(format!("Its request id, for whoever looks into it there: {}", inner.request_id));
    }
    let claims = |text: &str| text.contains("insufficient_claims");
    let wants_claims = claims(&code) || claims(&message) || answer.challenge.as_deref().is_some_and(claims);
    let problem = problem.next(next(status, &code, wants_claims, answer.retry_after.as_deref()));
    if writing && status >= 500 { problem.next(LOOK) } else { problem }
}

fn next(status: u16, code: &str, wants_claims: bool, retry_after: Option<&str>) -> String {
    let has = |word| code.to_ascii_lowercase().contains(word);
    let next = match status {
        401 | 403 if wants_claims => {
            "Conditional Access asks for more: sign in again as it wants (`az logout`, `az login`), from a device and network \
             it takes; else ask your administrator."
        }
        401 => "The access token is not taken: sign in again (`az login`).",
        _ if has("quota") || has("limit") => {
            "An account takes two entries of an application, with 2 KB each. Ask your administrator to remove one that is not \
             needed, or give the key a shorter comment."
        }
        403 => {
            "Your account may not change its own entry, or the token was not given for it (User.ReadWrite): ask your \
             administrator."
        }
        404 => {
            "What was to be changed is not there. Look with `agent-cli published`, and at the account that `az account show` names."
        }
        409 => "It was changed by somebody else meanwhile: look with `agent-cli published`, then publish again.",
        429 | 503 => {
            let when = retry_after.map_or_else(|| "later".to_owned(), |after| format!("after {after} (Retry-After)"));
            return format!("It has too much to do: publish again {when}.");
        }
        300..=399 => {
            "It sends us on to another address, where no access token of yours is sent. Look at publish.graph_url in the settings."
        }
        500.. => "Publish again later.",
        _ => "Look at the account that `az account show` names, and at publish.graph_url in the settings.",
    };
    next.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after: None, challenge: None, body: body.into() }
    }

    #[test]
    fn what_it_says_is_shown_with_its_code_and_request_id() {
        let body = r#"{"error": {"code": "Authorization_RequestDenied", "message": "Insufficient \u001b[2Jprivileges.",
                       "innerError": {"date": "2026-01-01", "request-id": "e3b0"}}}"#;
        let text = problem(&answer(403, body), true).to_string();
        let expected = "Microsoft Graph refuses it (Authorization_RequestDenied, status 403): Insufficient \\u{1b}[2Jprivileges.\n  \
                        Its request id, for whoever looks into it there: e3b0\n  Your account may not";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn what_is_no_error_in_its_form_is_one_all_the_same() {
        for body in ["", "<html>", "{}", "[]", r#"{"error": "no"}"#, r#"{"error": {"code": 7}}"#] {
            let text = problem(&answer(502, body), true).to_string();
            assert!(text.starts_with("Microsoft Graph refuses it (status 502)\n") && text.ends_with(LOOK), "{text}");
            assert!(!problem(&answer(502, body), false).to_string().contains(LOOK));
        }
    }

    #[test]
    fn conditional_access_is_told_from_a_lack_of_rights() {
        let by_code = answer(403, r#"{"error": {"code": "insufficient_claims"}}"#);
        let challenge = Some(r#"Bearer error="insufficient_claims", claims="e30=""#.to_owned());
        let by_header = Answer { challenge, ..answer(401, "") };
        for answer in [by_code, by_header] {
            assert!(problem(&answer, true).to_string().contains("Conditional Access"));
        }
        assert!(!problem(&answer(403, ""), true).to_string().contains("Conditional Access"));
    }
}
