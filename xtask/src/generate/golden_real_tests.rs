//! The committed tree itself, with one type doctored at a time: who would be hurt is known from what services really read.

use contracts::events::presence::OfflineReason;
use contracts::requests::presence::PeerView;
use contracts::{PeerId, catalogue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::history;
use super::*;
use crate::contract::releases;
use crate::workspace_root;

fn day() -> Date {
    "2099-01-01".parse().unwrap()
}

fn last_release() -> String {
    releases(&workspace_root()).unwrap().pop().expect("there is a baseline").version
}

fn bless(entries: &[Entry]) -> Result<Vec<Generated>> {
    let root = workspace_root();
    let history = history::read(&root.join(GOLDEN))?;
    goldens(entries, &history, &Readers::of(&root)?, day())
}

fn with<T: Serialize + serde::de::DeserializeOwned + JsonSchema>(kind: &str) -> Vec<Entry> {
    let mut entries = catalogue();
    let entry = entries.iter_mut().find(|entry| entry.kind == kind).unwrap();
    entry.schema = || schemars::schema_for!(T);
    entry.samples = Vec::new;
    entry.reparse = |value| {
        let parsed: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        serde_json::to_value(parsed).map_err(|error| error.to_string())
    };
    entries
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct WithoutGeneration {
    peer_id: PeerId,
    reason: OfflineReason,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct WithoutPeer {
    generation: u64,
    reason: OfflineReason,
}

#[test]
fn a_required_field_of_an_event_that_no_service_reads_may_go() {
    let files = bless(&with::<WithoutGeneration>("presence.peer_went_offline.v1")).unwrap();
    let kind = "presence.peer_went_offline.v1";
    let next = super::super::revisions(&workspace_root()).unwrap()[kind] + 1;
    assert!(files.iter().any(|file| file.path.ends_with(format!("{kind}/schema.{next}.json"))));
}

#[test]
fn a_field_that_a_service_reads_stays_and_the_refusal_names_both() {
    let error = bless(&with::<WithoutPeer>("presence.peer_went_offline.v1")).unwrap_err().to_string();
    let released = format!("signaling {} reads `peer_id`", last_release());
    for part in ["$.peer_id: [required-removed]", "signaling reads `peer_id`", &released] {
        assert!(error.contains(part), "{error}");
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Changed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<PeerView>,
}

#[test]
fn what_the_gateway_passes_on_to_clients_binds_like_any_reader() {
    let error = bless(&with::<Changed>("presence.changed.v1")).unwrap_err().to_string();
    assert!(error.contains("$.peer: [required-made-optional]") && error.contains("gateway reads `peer`"), "{error}");
}

#[test]
fn an_ended_version_stays_while_a_service_of_ours_reads_it() {
    let mut entries = catalogue();
    entries.retain(|entry| entry.kind != "subscription.status_changed.v1");
    let error = bless(&entries).unwrap_err().to_string();
    assert!(error.contains(&format!("still read by webhook, webhook {}", last_release())), "{error}");
}
