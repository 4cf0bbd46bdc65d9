//! Questions to one owner, imperative, one file per owner.

pub mod billing;
pub mod presence;
pub mod signaling;
pub mod subscription;

pub(crate) fn entries() -> Vec<crate::Entry> {
    [subscription::entries(), billing::entries(), presence::entries(), signaling::entries()].concat()
}
