//! Every gateway at once: it hears what is sent to any of them, notes it, and says whether it took it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bus::{Bus, Envelope, Sender, Trail};
use clock::{Clock, Entropy};
use contracts::signals::signaling::{DeliverV1, Receipt, ReceiptV1, TakenV1};
use contracts::{Contract, NodeId, SignalId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::harness::SOON;

/// The gateways, by the peer that each holds; `elsewhere` holds whoever moves there.
const NODES: [&str; 4] = ["alice", "bob", "carol", "elsewhere"];

/// How the gateway of a peer deals with what comes for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It has it, and says so.
    #[default]
    Takes,
    /// It says that the peer is not connected.
    Refuses,
    /// It has it, and nobody hears of that.
    TakesSilently,
}

/// What comes for one peer.
pub(crate) struct Node(UnboundedReceiver<DeliverV1>);

#[derive(Clone, Default)]
pub(crate) struct Gateways(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    manners: HashMap<String, Manner>,
    nodes: HashMap<String, Vec<UnboundedSender<DeliverV1>>>,
    receipts: Vec<(String, Receipt)>,
    /// What was taken, by its id: a gateway gives a peer nothing twice.
    taken: HashSet<SignalId>,
    /// How often something came again.
    repeats: usize,
}

impl Gateways {
    pub(crate) async fn start(bus: &Bus, clock: &Clock) -> Self {
        let gateways = Self::default();
        let sender = Sender::new("gateway", clock.clone(), Entropy::system());
        let kinds = NODES.into_iter().flat_map(|node| [(node, DeliverV1::KIND), (node, ReceiptV1::KIND)]);
        for (node, kind) in kinds {
            let mut signals = bus.listen(kind, Some(&format!("node-{node}")), None, 1_000).await.unwrap();
            let (gateways, bus, sender) = (gateways.clone(), bus.clone(), sender.clone());
            tokio::spawn(async move {
                while let Some(envelope) = signals.next().await {
                    let Some((reply_to, told)) = gateways.take(node, &envelope) else { continue };
                    let trail = Trail::new("gateway");
                    let _ = bus.tell(&sender, reply_to.as_str(), &envelope.tenant, &trail, &told).await;
                }
            });
        }
        gateways
    }

    /// Notes what came; gives the answer, where there is one.
    fn take(&self, node: &str, envelope: &Envelope) -> Option<(NodeId, TakenV1)> {
        let mut state = self.0.lock().unwrap();
        let manner = state.manners.get(node).copied().unwrap_or_default();
        let answer = |manner: Manner, signal_id: SignalId| match manner {
            Manner::TakesSilently => None,
            manner => Some(TakenV1 { signal_id, taken: manner == Manner::Takes }),
        };
        if envelope.kind == ReceiptV1::KIND {
            let told: ReceiptV1 = serde_json::from_slice(&envelope.data).unwrap();
            if manner != Manner::Refuses {
                state.receipts.push((told.sender.to_string(), told.receipt));
            }
            return Some(told.reply_to).zip(answer(manner, told.receipt_id));
        }
        let deliver: DeliverV1 = serde_json::from_slice(&envelope.data).unwrap();
        let reply = deliver.reply_to.clone().zip(deliver.signal_id.clone());
        let is_new =
            manner == Manner::Refuses || deliver.signal_id.as_ref().is_none_or(|id| state.taken.insert(id.clone()));
        state.repeats += usize::from(!is_new);
        if manner != Manner::Refuses && is_new {
            let nodes = state.nodes.entry(node.to_owned()).or_default();
            nodes.retain(|node| node.send(deliver.clone()).is_ok());
        }
        let (reply_to, id) = reply?;
        Some(reply_to).zip(answer(manner, id))
    }

    /// From now on the gateway of this peer behaves so.
    pub(crate) fn behave(&self, peer: &str, manner: Manner) {
        self.0.lock().unwrap().manners.insert(peer.to_owned(), manner);
    }

    pub(crate) fn node_of(&self, peer: &str) -> Node {
        let (sender, receiver) = unbounded_channel();
        self.0.lock().unwrap().nodes.entry(peer.to_owned()).or_default().push(sender);
        Node(receiver)
    }

    /// How often a signal came that was taken before.
    pub(crate) fn repeats(&self) -> usize {
        self.0.lock().unwrap().repeats
    }

    /// The receipts that a peer was told, in order, each once.
    pub(crate) fn receipts(&self, peer: &str) -> Vec<Receipt> {
        let mut told: Vec<Receipt> = Vec::new();
        for (_, receipt) in self.0.lock().unwrap().receipts.iter().filter(|(sender, _)| sender == peer) {
            if !told.contains(receipt) {
                told.push(receipt.clone());
            }
        }
        told
    }
}

/// The next signal that a gateway is handed.
pub(crate) async fn next(node: &mut Node) -> DeliverV1 {
    tokio::time::timeout(SOON, node.0.recv()).await.expect("a signal").unwrap()
}

/// The next one, if it is there.
pub(crate) fn now(node: &mut Node) -> Option<DeliverV1> {
    node.0.try_recv().ok()
}

/// Whether nothing waits. A gateway has noted what comes for a peer before the sender hears that it was delivered.
pub(crate) fn is_quiet(node: &mut Node) -> bool {
    now(node).is_none()
}
