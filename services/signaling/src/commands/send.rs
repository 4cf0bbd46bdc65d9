use std::sync::Arc;

use bus::Asked;
use contracts::requests::presence::KeyKind;
use contracts::requests::signaling::{Forwarded, SendRefusal, SendV1, Whereabouts};
use contracts::signals::signaling::PeerSignal;
use contracts::{NodeId, PeerId, SignalId};
use futures::future::try_join_all;
use outbox::Unit;
use service::Rejection;

use super::{MAX_DECISIONS, Place, place};
use crate::Signaling;
use crate::delivery::hand_over;
use crate::mailbox::{Content, Full, Letter, Mail};
use crate::session::{Session, Step};
use crate::signal::{self, Checked, KnownKeys, Signed, check_binding};
use crate::store::{Mailbox, Sessions, Stored};

/// Passes a signal on to another peer of the session, or keeps it until that peer is back.
pub(crate) async fn send(
    signaling: Arc<Signaling>,
    asked: Asked,
    ask: SendV1,
) -> Result<Forwarded, Rejection<SendRefusal>> {
    let checked = signal::check(&ask.signal, signaling.config.limits());
    let known = check(&signaling, &asked, &ask, &checked).await?;
    for _ in 0..MAX_DECISIONS {
        let found = signaling.sessions.find(&asked.tenant, &ask.session_id).await?;
        let before = found.ok_or(Rejection::Refused(SendRefusal::UnknownSession))?;
        let targets = before.session.targets(&ask.from, ask.to.as_ref(), &ask.signal).map_err(Rejection::Refused)?;
        check_identity(&signaling, &ask, &targets[0], &checked, &known)?;
        let sending = Sending { signaling: &signaling, asked: &asked, ask: &ask, before: &before, checked: &checked };
        let (step, mut plans) = (sending.step(&targets[0])?, sending.plan(targets).await?);
        if sending.commit(step, &mut plans).await? {
            return sending.hand_over(plans).await;
        }
    }
    Err(Rejection::busy("the session is being changed by many at once; try again"))
}

/// What the sender and its signal have to fulfil; gives what is known of its keys, where it shows a certificate.
async fn check(
    signaling: &Signaling,
    asked: &Asked,
    ask: &SendV1,
    checked: &Checked,
) -> Result<KnownKeys, Rejection<SendRefusal>> {
    let proof = signaling.proofs.verify(&asked.tenant, &ask.from, &ask.proof).await;
    let proof = proof.map_err(|error| Rejection::Refused(SendRefusal::ProofRefused { message: error.to_string() }))?;
    if !checked.violations.is_empty() {
        return Err(Rejection::Refused(SendRefusal::InvalidSignal { violations: checked.violations.clone() }));
    }
    if checked.fingerprint.is_none() {
        return Ok(KnownKeys::default());
    }
    let published = match signaling.peers.lookup(&asked.tenant, &asked.trail, &ask.from).await {
        Ok(own) => own.profile.identity_keys,
        Err(Rejection::Refused(_)) => Vec::new(),
        Err(Rejection::Failed(failure)) => return Err(Rejection::Failed(failure)),
    };
    let signing = published.into_iter().filter(|key| key.kind == KeyKind::Ed25519).map(|key| key.key);
    Ok(KnownKeys { thumbprint: proof.peer_key.clone(), published: signing.collect() })
}

fn check_identity(
    signaling: &Signaling,
    ask: &SendV1,
    to: &PeerId,
    checked: &Checked,
    known: &KnownKeys,
) -> Result<(), Rejection<SendRefusal>> {
    let Some(fingerprint) = &checked.fingerprint else { return Ok(()) };
    let signed = Signed { session_id: &ask.session_id, from: &ask.from, to, fingerprint };
    check_binding(ask.binding.as_ref(), signed, known, signaling.platform.clock.now_ms())
        .map_err(|message| Rejection::Refused(SendRefusal::IdentityMismatch { message }))
}

/// One decision about a signal.
struct Sending<'a> {
    signaling: &'a Signaling,
    asked: &'a Asked,
    ask: &'a SendV1,
    before: &'a Stored,
    checked: &'a Checked,
}

/// How one target gets the signal.
struct Plan {
    to: PeerId,
    id: SignalId,
    road: Road,
}

enum Road {
    /// To this gateway process, now.
    Direct(NodeId),
    /// Into its mailbox; and at once out of it when it is here.
    Keep { mailbox: Box<Mailbox>, here: bool },
    /// To nobody.
    None,
}

impl Sending<'_> {
    fn step(&self, to: &PeerId) -> Result<Step, Rejection<SendRefusal>> {
        let (now_ms, patience) = (self.signaling.platform.clock.now_ms(), self.signaling.config.patience());
        let (session, fingerprint) = (self.before.session.clone(), self.checked.fingerprint.as_deref());
        let step = session.accept(&self.ask.from, to, &self.ask.signal, fingerprint, now_ms, patience);
        step.map_err(Rejection::Refused)
    }

    fn is_bye(&self) -> bool {
        matches!(self.ask.signal, PeerSignal::Bye { .. })
    }

    /// Looks every target up before the session moves on: what nobody takes must not change it.
    async fn plan(&self, targets: Vec<PeerId>) -> Result<Vec<Plan>, Rejection<SendRefusal>> {
        try_join_all(targets.into_iter().map(|to| async {
            let (tenant, sessions) = (&self.asked.tenant, &self.signaling.sessions);
            let looked = place::<SendRefusal>(self.signaling, tenant, &self.asked.trail, &to);
            let (found, mailbox) = futures::join!(looked, sessions.mailbox(tenant, &to));
            let mailbox = mailbox?;
            let road = match found? {
                // Behind what waits already: signals of one sender keep their order.
                Place::Here(node) if mailbox.head.count == 0 => Road::Direct(node),
                Place::Here(_) => Road::Keep { mailbox: Box::new(mailbox), here: true },
                Place::Away => Road::Keep { mailbox: Box::new(mailbox), here: false },
                Place::Unknown | Place::Barred if self.is_bye() => Road::None,
                Place::Unknown | Place::Barred => return Err(Rejection::Refused(SendRefusal::PeerOffline)),
            };
            let id = self.signaling.new_id().parse().expect("a UUID is a valid id");
            Ok(Plan { to, id, road })
        }))
        .await
    }

    fn letter(&self, to: &PeerId) -> Content {
        Content::Signal(Box::new(Letter {
            session_id: self.ask.session_id.clone(),
            from: self.ask.from.clone(),
            polite: Session::is_polite(to, &self.ask.from),
            peers: self.before.session.shown_peers(),
            signal: self.ask.signal.clone(),
            binding: self.ask.binding.clone(),
        }))
    }

    fn keep(&self, unit: &mut Unit, plan: &Plan, mailbox: Mailbox) -> Result<(), Full> {
        let (now_ms, rules) = (self.signaling.platform.clock.now_ms(), self.signaling.config.mailbox_rules());
        let mail = Mail { id: plan.id.clone(), content: self.letter(&plan.to), expires_at_ms: now_ms + rules.ttl_ms };
        mailbox.append(unit, (&self.asked.tenant, &plan.to), &mail, &rules, now_ms)
    }

    /// Writes what the signal does to its session, and what is kept of it, in one transaction; false when either was
    /// changed meanwhile.
    async fn commit(&self, step: Step, plans: &mut [Plan]) -> Result<bool, Rejection<SendRefusal>> {
        let (mut unit, tenant) = (Unit::new(), &self.asked.tenant);
        for plan in plans {
            let Road::Keep { mailbox, .. } = &plan.road else { continue };
            match self.keep(&mut unit, plan, (**mailbox).clone()) {
                Ok(()) => {}
                Err(Full) if self.is_bye() => plan.road = Road::None,
                Err(Full) => {
                    metrics::counter!("synapse_signaling_mailbox_refused_total").increment(1);
                    return Err(Rejection::Refused(self.signaling.config.mailbox_full()));
                }
            }
        }
        match step {
            Step::End(fact) => {
                Sessions::remove(&mut unit, tenant, self.before);
                unit.publish(tenant, self.before.session.sequence + 1, &self.asked.trail, &fact);
            }
            Step::Forward(now) if now.is_nearly(&self.before.session, self.signaling.config.patience()) => {}
            Step::Forward(now) => Sessions::update(&mut unit, tenant, self.before, &now),
        }
        Ok(unit.is_empty() || self.signaling.sessions.commit(unit).await?)
    }

    async fn hand_over(&self, plans: Vec<Plan>) -> Result<Forwarded, Rejection<SendRefusal>> {
        let outcomes = try_join_all(plans.iter().map(|plan| self.go(plan))).await?;
        // Of several, the worst.
        let outcome = [Whereabouts::Expired, Whereabouts::Queued].into_iter().find(|worst| outcomes.contains(worst));
        let outcome = outcome.unwrap_or(Whereabouts::Delivered);
        let (config, clock) = (&self.signaling.config, &self.signaling.platform.clock);
        let kept_until_ms = (outcome == Whereabouts::Queued).then(|| clock.now_ms() + config.mailbox_ttl_ms);
        let first = plans.into_iter().next().expect("a signal has a target");
        Ok(Forwarded { to: first.to, outcome: Some(outcome), signal_id: Some(first.id), kept_until_ms })
    }

    async fn go(&self, plan: &Plan) -> Result<Whereabouts, Rejection<SendRefusal>> {
        let (signaling, tenant) = (self.signaling, &self.asked.tenant);
        let outcome = match &plan.road {
            Road::None => Whereabouts::Expired,
            Road::Keep { here, .. } => {
                if *here {
                    signaling.wakes.wake(tenant, &plan.to);
                }
                Whereabouts::Queued
            }
            Road::Direct(node) => {
                let (letter, way) = (self.letter(&plan.to), (&plan.to, node));
                // A gateway that can't be told is one that does not take it.
                let taken = hand_over(signaling, tenant, &self.asked.trail, way, &plan.id, &letter).await;
                if taken.unwrap_or(false) { Whereabouts::Delivered } else { self.keep_late(plan).await? }
            }
        };
        let name = match outcome {
            Whereabouts::Delivered => "delivered",
            Whereabouts::Queued => "queued",
            Whereabouts::Expired | Whereabouts::Unknown => "expired",
        };
        metrics::counter!("synapse_signaling_signals_total", "outcome" => name).increment(1);
        Ok(outcome)
    }

    /// Keeps what the other peer's gateway did not take.
    async fn keep_late(&self, plan: &Plan) -> Result<Whereabouts, Rejection<SendRefusal>> {
        let (signaling, tenant) = (self.signaling, &self.asked.tenant);
        for _ in 0..MAX_DECISIONS {
            let mut unit = Unit::new();
            let mailbox = signaling.sessions.mailbox(tenant, &plan.to).await?;
            if self.keep(&mut unit, plan, mailbox).is_err() {
                if self.is_bye() {
                    return Ok(Whereabouts::Expired);
                }
                return Err(Rejection::Refused(signaling.config.mailbox_full()));
            }
            if signaling.sessions.commit(unit).await? {
                return Ok(Whereabouts::Queued);
            }
        }
        Err(Rejection::busy("the peer's mailbox is being changed by many at once; try again"))
    }
}
