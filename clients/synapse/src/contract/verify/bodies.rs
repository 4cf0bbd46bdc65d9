//! What every request kind must do with bodies that are broken, unknown in parts, or late.

use contracts::Class;
use serde_json::{Value, json};

use super::asking::{Answer, Asked, Deadline, Run, request};
use super::book::Offence;

/// Asks `kind` with every sort of body. `body` is one that is safe to send any number of times.
pub(super) async fn check(run: &Run<'_>, kind: &'static str, body: &Value) {
    let promise = request(kind);
    let plain = run.ask(kind, body).await;
    let answered = match &plain.answer {
        Answer::Unasked(why) => Err(Offence::unasked("an answer", why)),
        Answer::Silent(_) => Err(Offence::new("an answer", plain.shape())),
        _ if plain.failed().is_ok() => Err(Offence::new("an answer", plain.shape())),
        _ => Ok(()),
    };
    if run.book.judge(&promise, "it is answered", answered).is_none() {
        return;
    }
    let mut more = body.clone();
    more["x_verify_unknown"] = json!({"added": "by a newer asker"});
    let asked = run.ask(kind, &more).await;
    run.book.judge(&promise, "an unknown field changes nothing", same(&plain, &asked));
    let cut = body.to_string();
    let cut = cut.as_bytes()[..cut.len() - 1].to_vec();
    let asked = run.ask_raw(kind, cut.into(), Deadline::Ample).await;
    run.book.judge(&promise, "a body that is no JSON fails for good", asked.failed());
    let asked = run.ask(kind, &json!([1, 2, 3])).await;
    // An empty struct is also read from a list by some readers; what has fields is not.
    if body.as_object().is_some_and(|fields| !fields.is_empty()) {
        run.book.judge(&promise, "a body of another type fails for good", asked.failed());
        retyped(run, kind, body).await;
    }
    let asked = run.ask_raw(kind, body.to_string().into(), Deadline::Passed).await;
    run.book.judge(&promise, "after its deadline nothing is done", asked.too_late());
}

/// What is safe to ask of any kind, known to a scenario or not: bodies that can't be done. `body` is never sent whole.
pub(super) async fn check_broken(run: &Run<'_>, kind: &'static str, body: &Value) {
    let promise = request(kind);
    let text = body.to_string();
    let asked = run.ask_raw(kind, text.as_bytes()[..text.len() - 1].to_vec().into(), Deadline::Ample).await;
    run.book.judge(&promise, "a body that is no JSON fails for good", asked.failed());
    let asked = run.ask(kind, &json!("text")).await;
    run.book.judge(&promise, "a body of another type fails for good", asked.failed());
}

/// A required field left out, and a field as another type.
async fn retyped(run: &Run<'_>, kind: &'static str, body: &Value) {
    let promise = request(kind);
    let Some(fields) = body.as_object() else { return };
    if let Some(name) = fields.keys().find(|name| is_required(kind, name)) {
        let mut without = body.clone();
        without.as_object_mut().map(|fields| fields.remove(name));
        let asked = run.ask(kind, &without).await;
        run.book.judge(&promise, "a body without a required field fails for good", asked.failed());
    }
    let Some((name, value)) = fields.iter().next() else { return };
    let mut other = body.clone();
    other[name] = if value.is_number() { json!("text") } else { json!(7) };
    let asked = run.ask(kind, &other).await;
    run.book.judge(&promise, "a field of another type fails for good", asked.failed());
}

fn is_required(kind: &str, name: &str) -> bool {
    let entries = contracts::catalogue().into_iter();
    let mut of_kind = entries.filter(|entry| entry.class == Class::Request && entry.kind == kind);
    let schema = of_kind.next().map(|entry| (entry.schema)().to_value()).unwrap_or_default();
    schema["required"].as_array().is_some_and(|required| required.iter().any(|one| one == name))
}

fn same(plain: &Asked, asked: &Asked) -> Result<(), Offence> {
    if plain.shape() == asked.shape() {
        return Ok(());
    }
    if let Answer::Unasked(why) = &asked.answer {
        return Err(Offence::unasked(plain.shape(), why));
    }
    Err(Offence::new(format!("{}, as without the field", plain.shape()), asked.shape()))
}
