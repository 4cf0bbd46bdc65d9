//! The hosted pages a payer sees in a browser: checkout (`/c/pay/…`), invoices (`/i/…`) and
//! the customer portal (`/p/session/…`).

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::ApiError;
use crate::kind::Kind;
use crate::params::Params;
use crate::resources::checkout_sessions::{self, Payer};
use crate::resources::portal::{self, Action};
use crate::resources::{billing, invoices};
use crate::world::World;
use crate::{control, time};

/// The cards a payer can choose from.
const CARDS: [(&str, &str); 4] = [
    ("pm_card_visa", "4242 4242 4242 4242: pays"),
    ("pm_card_visa_chargeDeclined", "4000 0000 0000 0002: is declined"),
    ("pm_card_chargeCustomerFail", "4000 0000 0000 0341: attaches, then is declined"),
    ("pm_card_authenticationRequired", "4000 0027 6000 3184: asks for authentication"),
];

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/c/pay/{id}", get(checkout).post(pay))
        .route("/i/{id}", get(invoice).post(pay_invoice))
        .route("/p/session/{id}", get(customer_portal).post(manage))
}

async fn checkout(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    match checkout_sessions::retrieve(&begin(&app, &id), &id) {
        Ok(session) => checkout_page(&session, "").into_response(),
        Err(error) => refused(&error),
    }
}

async fn pay(State(app): State<Arc<App>>, Path(id): Path<String>, body: Bytes) -> Response {
    let payer = match payer(&body) {
        Ok(payer) => payer,
        Err(error) => return refused(&error),
    };
    let mut world = begin(&app, &id);
    match checkout_sessions::complete(&mut world, &id, &payer) {
        Ok(session) => {
            let url = session["success_url"].as_str().unwrap_or_default().replace("{CHECKOUT_SESSION_ID}", &id);
            Redirect::to(&url).into_response()
        }
        Err(error) if error.status == 402 => match checkout_sessions::retrieve(&world, &id) {
            Ok(session) => (StatusCode::PAYMENT_REQUIRED, checkout_page(&session, &error.message())).into_response(),
            Err(error) => refused(&error),
        },
        Err(error) => refused(&error),
    }
}

async fn invoice(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    invoice_page(&begin(&app, &id), &id, "")
}

/// Pays with a card, or passes (or fails) the authentication that a card asked for.
async fn pay_invoice(State(app): State<Arc<App>>, Path(id): Path<String>, body: Bytes) -> Response {
    let form = match Params::parse(b"", &body) {
        Ok(form) => form,
        Err(error) => return refused(&error),
    };
    let mut world = begin(&app, &id);
    let done = settle_invoice(&mut world, &id, &form);
    time::catch_up(&mut world);
    control::begin(&mut world, &id);
    match done {
        Ok(()) => invoice_page(&world, &id, ""),
        Err(error) if error.status == 402 => invoice_page(&world, &id, &error.message()),
        Err(error) => refused(&error),
    }
}

fn settle_invoice(world: &mut World, id: &str, form: &Params) -> Result<(), ApiError> {
    form.only(&["authenticate", "card"])?;
    match form.choice("authenticate", &["fail", "pass"])? {
        Some(choice) => {
            let intent = invoices::retrieve(world, id)?["payment_intent"].as_str().unwrap_or_default().to_owned();
            billing::authenticate(world, &intent, choice == "pass").map(drop)
        }
        None => {
            let card = form.required("card")?;
            invoices::pay(world, id, &Params::of(json!({ "payment_method": card }))).map(drop)
        }
    }
}

async fn customer_portal(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    portal_page(&begin(&app, &id), &id)
}

async fn manage(State(app): State<Arc<App>>, Path(id): Path<String>, body: Bytes) -> Response {
    let (action, subscription) = match wish(&body) {
        Ok(wish) => wish,
        Err(error) => return refused(&error),
    };
    let mut world = begin(&app, &id);
    match portal::act(&mut world, &id, subscription.as_deref(), &action) {
        Ok(_) => portal_page(&world, &id),
        Err(error) => refused(&error),
    }
}

fn payer(body: &[u8]) -> Result<Payer, ApiError> {
    let form = Params::parse(b"", body)?;
    form.only(&["authenticate", "card", "email"])?;
    Ok(Payer {
        card: form.required("card")?,
        email: form.text("email")?,
        authenticates: form.choice("authenticate", &["fail", "pass"])?.as_deref() != Some("fail"),
    })
}

fn wish(body: &[u8]) -> Result<(Action, Option<String>), ApiError> {
    let form = Params::parse(b"", body)?;
    form.only(&["action", "card", "subscription"])?;
    let action = match form.choice("action", &["cancel", "card", "resume"])?.as_deref() {
        Some("cancel") => Action::Cancel { now: None, feedback: None, comment: None },
        Some("resume") => Action::Resume,
        _ => Action::PaymentMethod { card: form.required("card")? },
    };
    Ok((action, form.text("subscription")?))
}

fn begin<'a>(app: &'a App, id: &str) -> std::sync::MutexGuard<'a, World> {
    let mut world = app.world();
    control::begin(&mut world, id);
    world
}

fn checkout_page(session: &Value, problem: &str) -> Html<String> {
    let mut text = String::new();
    for item in session["line_items"]["data"].as_array().into_iter().flatten() {
        let name = item["description"].as_str().unwrap_or_default();
        let _ = write!(text, "<li>{} × {}</li>", item["quantity"], escaped(name));
    }
    let total = format!("{} {}", session["amount_total"], session["currency"].as_str().unwrap_or_default());
    let mut body = format!("<h1>Pay (emulated)</h1><ul>{text}</ul><p>Due now: {} (smallest unit)</p>", escaped(&total));
    if !problem.is_empty() {
        let _ = write!(body, "<p role=\"alert\">{}</p>", escaped(problem));
    }
    if session["status"] == "open" {
        let email = session["customer_email"].as_str().unwrap_or_default();
        let _ = write!(
            body,
            "<form method=\"post\"><label>Email <input name=\"email\" type=\"email\" value=\"{}\"></label> \
             <label>Card <select name=\"card\">{}</select></label> <label>If the bank asks <select \
             name=\"authenticate\"><option value=\"pass\">authenticate</option><option value=\"fail\">fail</option>\
             </select></label> <button>Subscribe</button></form>",
            escaped(email),
            cards()
        );
    } else {
        let _ = write!(body, "<p>This session is {}.</p>", escaped(session["status"].as_str().unwrap_or_default()));
    }
    link(&mut body, &session["cancel_url"], "Back");
    page("Checkout", &body)
}

fn invoice_page(world: &World, id: &str, problem: &str) -> Response {
    let invoice = match invoices::retrieve(world, id) {
        Ok(invoice) => invoice,
        Err(error) => return refused(&error),
    };
    let text = |field: &str| escaped(invoice[field].as_str().unwrap_or_default());
    let mut body = format!(
        "<h1>Invoice {} (emulated)</h1><p>{}: {} {} due (smallest unit)</p>",
        text("number"),
        text("status"),
        invoice["amount_remaining"],
        text("currency")
    );
    if !problem.is_empty() {
        let _ = write!(body, "<p role=\"alert\">{}</p>", escaped(problem));
    }
    let intent = world.find(Kind::PaymentIntent, invoice["payment_intent"].as_str().unwrap_or_default());
    if intent.is_some_and(|intent| intent["status"] == "requires_action") {
        body += "<form method=\"post\"><p>Your bank asks whether it is you.</p><button name=\"authenticate\" \
                 value=\"pass\">It is me</button> <button name=\"authenticate\" value=\"fail\">It is not</button></form>";
    } else if invoice["status"] == "open" {
        let _ = write!(
            body,
            "<form method=\"post\"><label>Card <select name=\"card\">{}</select></label> <button>Pay</button></form>",
            cards()
        );
    }
    page("Invoice", &body).into_response()
}

fn portal_page(world: &World, id: &str) -> Response {
    let session = match portal::session(world, id) {
        Ok(session) => session,
        Err(error) => return refused(&error),
    };
    let customer = session["customer"].as_str().unwrap_or_default();
    let mut body = "<h1>Your subscriptions (emulated)</h1>".to_owned();
    for subscription in portal::subscriptions_of(world, customer) {
        let text = |field: &str| escaped(subscription[field].as_str().unwrap_or_default());
        let ending = subscription["cancel_at_period_end"] == Value::Bool(true);
        let (action, label) = if ending { ("resume", "Don't cancel") } else { ("cancel", "Cancel") };
        let _ = write!(
            body,
            "<form method=\"post\">{} ({}) <input type=\"hidden\" name=\"subscription\" value=\"{0}\"><button \
             name=\"action\" value=\"{action}\">{label}</button></form>",
            text("id"),
            text("status")
        );
    }
    let _ = write!(
        body,
        "<form method=\"post\"><label>Card <select name=\"card\">{}</select></label> <button name=\"action\" \
         value=\"card\">Use this card</button></form>",
        cards()
    );
    link(&mut body, &session["return_url"], "Return");
    page("Customer portal", &body).into_response()
}

fn cards() -> String {
    let option = |(token, label): &(&str, &str)| format!("<option value=\"{token}\">{}</option>", escaped(label));
    CARDS.iter().map(option).collect()
}

fn link(body: &mut String, url: &Value, label: &str) {
    if let Some(url) = url.as_str() {
        let _ = write!(body, "<p><a href=\"{}\">{label}</a></p>", escaped(url));
    }
}

fn page(title: &str, body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><body>{body}</body></html>\n"
    ))
}

fn refused(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, page("Refused", &format!("<p role=\"alert\">{}</p>", escaped(&error.message())))).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_sent_cannot_become_markup() {
        assert_eq!(escaped("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
    }
}
