use serde_json::{Value, json};

use crate::error::ApiError;
use crate::kind::Kind;
use crate::params::Params;
use crate::world::World;

/// The parameters every list takes.
pub(crate) const PAGING: [&str; 4] = ["limit", "starting_after", "ending_before", "created"];

/// A page of the objects that pass `keep`, newest first, as a Stripe list object.
///
/// # Errors
/// 400 on a bad limit, time range or cursor.
pub(crate) fn page(
    world: &World,
    kind: Kind,
    url: &str,
    params: &Params,
    keep: impl Fn(&Value) -> bool,
) -> Result<Value, ApiError> {
    let limit = usize::try_from(params.integer_in("limit", 1..=100)?.unwrap_or(10)).unwrap_or(10);
    let created = Range::parse(params)?;
    let (after, before) = (params.text("starting_after")?, params.text("ending_before")?);
    if after.is_some() && before.is_some() {
        let message = "You may only specify one of these parameters: starting_after, ending_before.";
        return Err(ApiError::parameter(None, "ending_before", message));
    }
    for (name, cursor) in [("starting_after", &after), ("ending_before", &before)] {
        if let Some(id) = cursor {
            world.find(kind, id).ok_or_else(|| ApiError::missing_reference(kind.noun(), id, name))?;
        }
    }
    let kept = |object: &&Value| object["deleted"] != json!(true) && created.holds(object) && keep(object);
    let past = |cursor: &str| {
        let cursor = cursor.to_owned();
        move |object: &&Value| object["id"] != cursor.as_str()
    };
    let mut found: Vec<&Value> = match (after, before) {
        (Some(id), _) => world.newest_first(kind).skip_while(past(&id)).skip(1).filter(kept).take(limit + 1).collect(),
        (None, Some(id)) => {
            let older = world.newest_first(kind).rev().skip_while(past(&id)).skip(1);
            older.filter(kept).take(limit + 1).collect()
        }
        (None, None) => world.newest_first(kind).filter(kept).take(limit + 1).collect(),
    };
    let has_more = found.len() > limit;
    found.truncate(limit);
    if params.has("ending_before") {
        found.reverse();
    }
    let data: Vec<Value> = found.into_iter().cloned().collect();
    Ok(json!({ "object": "list", "data": data, "has_more": has_more, "url": url }))
}

/// A page as the second API gives it: newest first, with the address of the next one.
///
/// # Errors
/// 400 on a bad limit or page.
pub(crate) fn v2_page(
    world: &World,
    kind: Kind,
    url: &str,
    params: &Params,
    keep: impl Fn(&Value) -> bool,
) -> Result<Value, ApiError> {
    let limit = usize::try_from(params.integer_in("limit", 1..=100)?.unwrap_or(20)).unwrap_or(20);
    let page = params.text("page")?;
    if let Some(id) = &page {
        world.find(kind, id).ok_or_else(|| ApiError::parameter(None, "page", "This page does not exist."))?;
    }
    let before = |object: &&Value| page.as_deref().is_some_and(|id| object["id"] != id);
    let objects = world.newest_first(kind).skip_while(before).skip(usize::from(page.is_some()));
    let mut found: Vec<Value> = objects.filter(|object| keep(object)).take(limit + 1).cloned().collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more).and_then(|object| object["id"].as_str());
    // Everything else that was asked for is asked for again.
    let next = last.map(|id| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        params.flat().into_iter().filter(|(name, _)| name != "page").for_each(|(name, value)| {
            query.append_pair(&name, &value);
        });
        format!("{url}?{}", query.append_pair("page", id).finish())
    });
    Ok(json!({ "data": found, "next_page_url": next, "previous_page_url": null }))
}

/// A filter on a text field: passes everything when the parameter is absent.
pub(crate) fn equals(params: &Params, name: &str) -> Result<impl Fn(&Value) -> bool + use<>, ApiError> {
    let wanted = params.text(name)?;
    let name = name.to_owned();
    Ok(move |object: &Value| wanted.as_deref().is_none_or(|wanted| object[&name] == wanted))
}

/// A filter on a boolean field.
pub(crate) fn is(params: &Params, name: &str) -> Result<impl Fn(&Value) -> bool + use<>, ApiError> {
    let wanted = params.boolean(name)?;
    let name = name.to_owned();
    Ok(move |object: &Value| wanted.is_none_or(|wanted| object[&name] == wanted))
}

struct Range {
    from: i64,
    to: i64,
}

impl Range {
    fn parse(params: &Params) -> Result<Self, ApiError> {
        let mut range = Self { from: i64::MIN, to: i64::MAX };
        if let Ok(Some(exact)) = params.integer("created") {
            return Ok(Self { from: exact, to: exact });
        }
        let bounds = params.nested("created")?;
        bounds.only(&["gt", "gte", "lt", "lte"])?;
        if let Some(bound) = bounds.integer("gt")? {
            range.from = range.from.max(bound.saturating_add(1));
        }
        if let Some(bound) = bounds.integer("gte")? {
            range.from = range.from.max(bound);
        }
        if let Some(bound) = bounds.integer("lt")? {
            range.to = range.to.min(bound.saturating_sub(1));
        }
        if let Some(bound) = bounds.integer("lte")? {
            range.to = range.to.min(bound);
        }
        Ok(range)
    }

    fn holds(&self, object: &Value) -> bool {
        object["created"].as_i64().is_none_or(|created| (self.from..=self.to).contains(&created))
    }
}
