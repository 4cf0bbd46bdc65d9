//! What two gateways do together, with a broker between them.

use crate::harness::run_on_nats;
use crate::{messages, resume, streams, tickets};

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_with_receipts() {
    run_on_nats(messages::in_order_with_receipts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broadcasts_reach_whom_they_are_for() {
    run_on_nats(messages::to_whom_it_is_for).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_handed_over() {
    run_on_nats(resume::handed_over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_given_up() {
    run_on_nats(resume::given_up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_good_once_over_all() {
    run_on_nats(tickets::good_elsewhere).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_posted_anywhere() {
    run_on_nats(streams::posted_anywhere).await;
}
